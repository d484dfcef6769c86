"""`kairos up`: everything one machine needs, in the foreground: Redis, the service and the learner, until Ctrl-C."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from types import FrameType
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from cli import console
from decisioning.learner import learn
from decisioning.point import all_points
from features import history
from features.frames import spine_of
from features.kernel.clock import now
from features.kernel.errors import KairosError, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.processes import answers, child
from features.kernel.settings import Settings
from features.redis_server import RedisServer
from features.store import FeatureStore

__all__ = ["run"]

_log = logging.getLogger(__name__)


def run(
    learn_every: Annotated[float, typer.Option(help="Seconds between two turns of the learner.", min=0.1)] = 60.0,
) -> None:
    """Start Redis (if KAIROS_REDIS_URL is not set), the service and the learner; Ctrl-C stops all it started.

    An embedded Redis begins empty and is filled from the offline store, if features were ever computed.

    Example:

        kairos up
        KAIROS_PORT=9000 KAIROS_REDIS_URL=redis://cache:6379/0 kairos up --learn-every 300
    """
    settings = Settings.from_env()
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    with ExitStack() as running:
        if settings.redis_url:
            FeatureStore(settings).apply()
        else:
            settings = replace(settings, redis_url=_redis(running))
            _fill(settings)
        service = running.enter_context(_service(settings))
        running.enter_context(_learner(settings, learn_every))
        url = f"http://{settings.host}:{settings.port}"
        console.out.print(f"Kairos is up: {url}/docs · Ctrl-C stops it", markup=False)
        ended = service.wait()
    raise Unavailable(f"the service ended by itself with code {ended}", remedy="see its messages above")


def _as_ctrl_c(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _redis(running: ExitStack) -> str:
    with console.step("Redis, embedded") as at:
        url = running.enter_context(RedisServer()).url
        at.note = url
    return url


def _fill(settings: Settings) -> None:
    """Definitions registered; an embedded Redis, which begins empty, filled with everyone's features as of now."""
    with console.step("Features") as at:
        store, instant = FeatureStore(settings), now()
        store.apply()
        if at_hand := _computed(settings, store, instant):
            at.note = f"{max(at_hand.values()):,} customers online"
        store.close()


def _computed(settings: Settings, store: FeatureStore, instant: datetime) -> dict[str, int]:
    ledger = Ledger(settings.ledger)
    try:
        events = history.refreshed(settings, ledger)
    finally:
        ledger.close()
    if events.height:
        store.backfill(events, spine_of(events["customer_id"].unique().sort(), instant))
    elif not any(each.name != "none.parquet" for each in settings.offline.glob("*/*.parquet")):
        return {}
    return store.materialize(instant)


@contextmanager
def _service(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`kairos serve` as a child, ready to answer; stopped when left."""
    health = f"http://{settings.host}:{settings.port}/healthz"
    command = [sys.executable, "-m", "kairos", "serve"]
    with ExitStack() as running:
        with console.step("Service") as at:
            process = running.enter_context(
                child(
                    command,
                    name="kairos serve",
                    ready=lambda: answers(health),
                    env={"KAIROS_REDIS_URL": settings.redis_url},
                )
            )
            at.note = f"process {process.pid}"
        yield process


@contextmanager
def _learner(settings: Settings, every: float) -> Iterator[None]:
    """Learn from every decision point each `every` seconds, on a thread; its last turn is finished when left."""
    closing, points, ledger = threading.Event(), all_points(), Ledger(settings.ledger)

    def turns() -> None:
        while True:
            for point in points.values():
                try:
                    learn(ledger, point, now())
                except (KairosError, SQLAlchemyError) as error:
                    _log.warning("%s was not learnt from: %s", point.name, error)
            if closing.wait(every):
                return

    thread = threading.Thread(target=turns, name="learner")
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()
        ledger.close()
