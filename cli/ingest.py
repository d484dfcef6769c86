"""`kairos ingest`: the follower, which keeps online features fresh; with a stream, its consumer, too."""

from __future__ import annotations

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from types import FrameType
from typing import Annotated

import typer

from cli import console
from features.ingest.follower import Follower
from features.ingest.streams import StreamConsumer
from features.kernel.errors import Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.packed.store import PackedStore

__all__ = ["run"]


def run(
    stream: Annotated[str, typer.Option(help="Key of a Redis Stream to take events from.")] = "",
    group: Annotated[str, typer.Option(help="The stream's consumer group.")] = "kairos",
    consumer: Annotated[str, typer.Option(help="This consumer's name in it; a restart should keep it.")] = "",
) -> None:
    """Keep online features fresh: follow the ledger's events and compute anew whom they touch, until Ctrl-C.

    It goes on where it stopped, so it may be stopped or killed at any time; `kairos up` runs one. All events are held
    in memory, about 250 bytes each. To a Redis that is new, or has lost its keys, bring everyone first: kairos features
    materialize.

    With --stream it also takes events from a Redis Stream of KAIROS_REDIS_URL: each entry has one field `event`, the
    JSON of an event as POST /v1/events takes it. An entry is acknowledged once its event is durable; what is no event
    goes to quarantine (kairos quarantine list).

    Example:

        kairos ingest
        kairos ingest --stream events --group kairos --consumer shop-1
        redis-cli XADD events '*' event '{"event_id": "e1", "customer_id": "c1", "type": "page_view", ...}'
    """
    settings = Settings.from_env()
    if not settings.redis_url:
        raise Unavailable(
            "there is no Redis to keep features in",
            field="KAIROS_REDIS_URL",
            remedy="set it, or run kairos up, which starts its own Redis and this",
        )
    raise typer.Exit(128 + _follow(settings, stream, group, consumer or socket.gethostname()))


def _follow(settings: Settings, stream: str, group: str, consumer: str) -> int:
    """Follow until a signal comes; its number."""
    stopped_by, stop = list[int](), threading.Event()

    def end(number: int, _: FrameType | None) -> None:
        stopped_by.append(number)
        stop.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    with Ledger.of(settings) as ledger, closing(PackedStore.of(settings)) as store:
        follower = Follower(ledger, store, timedelta(days=settings.late_days))
        console.err.print("Following the ledger; Ctrl-C stops it", markup=False)
        if stream:
            url, size = settings.redis_url, settings.queue_size
            beside = StreamConsumer(url, stream, group, consumer, ledger=ledger, queue_size=size)
            _run_both(follower, beside, stop)
            console.err.print(f"Taken from {stream}: {beside.counts}", markup=False)
        else:
            follower.run(stop)
    console.err.print(_said(follower), markup=False)
    return stopped_by[0]


def _run_both(follower: Follower, consumer: StreamConsumer, stop: threading.Event) -> None:
    """Both until `stop` is set; whichever ends by a mistake ends the other and is heard of."""
    with ThreadPoolExecutor(1, "stream") as pool:
        consuming = pool.submit(consumer.run, stop)
        consuming.add_done_callback(lambda _: stop.set())
        try:
            follower.run(stop)
        finally:
            stop.set()
    consuming.result()


def _said(follower: Follower) -> str:
    return (
        f"{follower.refreshed:,} customers refreshed, {follower.waiting:,} wait, {follower.late:,} events came too "
        f"late, {follower.failures:,} customers failed, {follower.retries:,} retries"
    )
