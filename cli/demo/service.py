"""The service as a process of its own, at the demo's instant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from features.kernel.processes import answers, child, free_port
from features.kernel.settings import Settings

__all__ = ["running_service"]


@contextmanager
def running_service(settings: Settings, *, redis_url: str, now: datetime, log: Path) -> Iterator[str]:
    """Run `kairos serve` at the instant `now` and yield its base URL; stop it when left.

    Raises:
        Unavailable: it did not become ready; the message ends with its log.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    chosen = replace(settings, redis_url=redis_url, port=port)
    env = chosen.environment() | {"KAIROS_NOW": now.isoformat()}
    command = [sys.executable, "-m", "kairos", "serve"]
    with child(command, name="kairos serve", ready=lambda: answers(f"{url}/readyz"), env=env, log=log):
        yield url
