"""What several test files share: one small turn of the loop, made once for those who need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from features.redis_server import RedisServer

if TYPE_CHECKING:
    from cli.demo.small import SmallLoop


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real `redis-server` for the session."""
    with RedisServer() as server:
        yield server.url


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> SmallLoop:
    """The demo's stations up to the service, on a small market. What a test adds to its home, others see."""
    from cli.demo.small import small_loop  # not before it is asked for: it imports most of Kairos

    return small_loop(tmp_path_factory.mktemp("loop"), redis_url)
