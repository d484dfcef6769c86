"""`kairos up`: what one machine needs, in the foreground: Redis, service, follower and learner, until Ctrl-C."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from types import FrameType
from typing import Annotated

import typer
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from cli import console
from decisioning.learner import learn
from decisioning.point import all_points
from features import history
from features.frames import spine_of
from features.kernel import cursors, tables
from features.kernel.clock import now
from features.kernel.cursors import Cursor
from features.kernel.errors import KairosError, QualityBreach, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.processes import answers, child
from features.kernel.settings import Settings
from features.redis_server import RedisServer
from features.store import FeatureStore

__all__ = ["run"]

_LOOK, _PATIENCE = 0.2, 600.0
_log = logging.getLogger(__name__)


def run(
    learn_every: Annotated[float, typer.Option(help="Seconds between two turns of the learner.", min=0.1)] = 60.0,
) -> None:
    """Start Redis (if KAIROS_REDIS_URL is not set), service, follower and learner; Ctrl-C stops all it started.

    An embedded Redis begins empty and is filled with everyone's features as of now. The follower (`kairos ingest`)
    keeps them fresh from then on.

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
        parts = {
            "the service": running.enter_context(_service(settings)),
            "the follower": running.enter_context(_follower(settings)),
        }
        running.enter_context(_learner(settings, learn_every))
        url = f"http://{settings.host}:{settings.port}"
        console.out.print(f"Kairos is up: {url}/docs · Ctrl-C stops it", markup=False)
        name, ended = _first_to_end(parts)
    raise Unavailable(f"{name} ended by itself with code {ended}", remedy="see its messages above")


def _first_to_end(parts: Mapping[str, subprocess.Popen[bytes]]) -> tuple[str, int]:
    while True:
        for name, process in parts.items():
            try:
                return name, process.wait(_LOOK)
            except subprocess.TimeoutExpired:
                continue


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
    with Ledger.of(settings) as ledger:
        mark = ledger.mark(tables.events)
        if mark:
            events = history.refreshed(settings, ledger)
            try:
                store.backfill(events, spine_of(events["customer_id"].unique().sort(), instant))
            except QualityBreach as breach:  # the last good run serves on, and it is not as of now
                console.err.print(f"[yellow]{escape(str(breach))}[/]", soft_wrap=True)
                return store.materialize(instant)
        elif not any(each.name != "none.parquet" for each in settings.offline.glob("*/*.parquet")):
            return {}
        loaded = store.materialize(instant)
        # All that the ledger held is online as of this instant: the follower need not compute it again.
        cursors.move(ledger, Cursor(mark, instant))
    return loaded


def _service(settings: Settings) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """`kairos serve` as a child, ready to answer; stopped when left."""
    health = f"http://{settings.host}:{settings.port}/healthz"
    return _part("Service", "serve", lambda: answers(health), settings)


@contextmanager
def _follower(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`kairos ingest` as a child, following; stopped when left."""
    with Ledger.of(settings) as ledger:
        before = cursors.read(ledger)
        with _part("Follower", "ingest", lambda: cursors.read(ledger) != before, settings) as process:
            yield process


@contextmanager
def _part(title: str, verb: str, ready: Callable[[], bool], settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    command, env = [sys.executable, "-m", "kairos", verb], {"KAIROS_REDIS_URL": settings.redis_url}
    with ExitStack() as running:
        with console.step(title) as at:
            # A follower of a long ledger reads all of it first.
            started = child(command, name=f"kairos {verb}", ready=ready, env=env, patience=_PATIENCE)
            process = running.enter_context(started)
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
