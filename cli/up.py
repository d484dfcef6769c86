"""`kairos up`: everything one machine needs, in the foreground: Redis, the service and the learner, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import FrameType
from typing import Annotated

import httpx
import typer
from sqlalchemy.exc import SQLAlchemyError

from cli import console
from decisioning.learner import learn
from decisioning.point import all_points
from features.kernel.clock import now
from features.kernel.errors import InvalidSetting, KairosError, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.redis_server import RedisServer
from features.store import FeatureStore

__all__ = ["run"]

_log = logging.getLogger(__name__)
_READY_WITHIN = 90.0
_STOPS_WITHIN = 20.0


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
        if not settings.redis_url:
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
    """What the offline store holds into a Redis that begins empty."""
    if not any(each.name != "none.parquet" for each in settings.offline.glob("*/*.parquet")):
        return
    with console.step("Features into Redis") as at:
        store = FeatureStore(settings)
        store.apply()
        customers = store.materialize(now())
        store.close()
        at.note = f"{max(customers.values()):,} customers"


@contextmanager
def _service(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`kairos serve` as a child, ready to answer; stopped when left."""
    with console.step("Service") as at:
        # A session of its own: Ctrl-C reaches us alone, and we stop it while Redis is still there.
        process = subprocess.Popen(
            [sys.executable, "-m", "kairos", "serve"],
            env=os.environ | {"KAIROS_REDIS_URL": settings.redis_url},
            start_new_session=True,
        )
        try:
            _wait_until_up(f"http://{settings.host}:{settings.port}", process)
            at.note = f"process {process.pid}"
        except BaseException:
            _stop(process)
            raise
    try:
        yield process
    finally:
        _stop(process)


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise InvalidSetting(
                f"the service ended at once with code {process.returncode}",
                field="kairos serve",
                remedy="see its message above; is KAIROS_PORT taken?",
            )
        try:
            if httpx.get(f"{url}/healthz", timeout=2.0).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.1)
    raise Unavailable(f"the service did not answer within {_READY_WITHIN:.0f} s", field="kairos serve")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _learner(settings: Settings, every: float) -> Iterator[None]:
    """Learn from every decision point each `every` seconds, on a thread; its last turn is finished when left."""
    closing = threading.Event()

    def turns() -> None:
        ledger = Ledger(settings.ledger)
        while True:
            for point in all_points().values():
                try:
                    learn(ledger, point, now())
                except (KairosError, SQLAlchemyError) as error:
                    _log.warning("%s was not learnt from: %s", point.name, error)
            if closing.wait(every):
                ledger.close()
                return

    thread = threading.Thread(target=turns, name="learner")
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()
