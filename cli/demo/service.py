"""The service and the follower as processes of their own, at the demo's instant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from features.kernel import cursors
from features.kernel.ledger import Ledger
from features.kernel.processes import answers, child, free_port
from features.kernel.settings import Settings

__all__ = ["running_service"]


@contextmanager
def running_service(settings: Settings, *, redis_url: str, now: datetime, log: Path) -> Iterator[str]:
    """Run `kairos serve` and `kairos ingest` at the instant `now` and yield the base URL; stop both when left.

    Raises:
        Unavailable: one of them did not become ready; the message ends with its log.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    chosen = replace(settings, redis_url=redis_url, port=port)
    env = chosen.environment() | {"KAIROS_NOW": now.isoformat()}

    def running(verb: str, ready: Callable[[], bool], log: Path) -> AbstractContextManager[object]:
        return child([sys.executable, "-m", "kairos", verb], name=f"kairos {verb}", ready=ready, env=env, log=log)

    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.of(settings))
        before = cursors.read(ledger)
        follower_log = log.with_name(f"follower-{log.name}")
        stack.enter_context(running("ingest", lambda: cursors.read(ledger) != before, follower_log))
        stack.enter_context(running("serve", lambda: answers(f"{url}/readyz"), log))
        yield url
