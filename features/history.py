"""The columnar event history: the ledger's events as Parquet, for everything that reads all of them.

A part holds the events of a stretch of the ledger, and its name says of which: `events-<first>-<last>.parquet`. So
bringing the history up to date reads what is new and nothing else. It can be thrown away: `rebuild` makes it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
from sqlalchemy import func, select

from features.frames import EVENT_SCHEMA, events_frame
from features.kernel import tables
from features.kernel.cursors import events_after
from features.kernel.errors import NotFound
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings

__all__ = ["last", "read", "rebuild", "refreshed", "since", "update"]

PART = 1_000_000
"""Events of a part beyond which another is begun."""
_AT_ONCE = 50_000


def read(settings: Settings) -> pl.DataFrame:
    """All events of the history, columns `features.frames.EVENT_SCHEMA`, in the ledger's order.

    Raises:
        NotFound: there is no history.
    """
    parts = _parts(settings)
    if not parts:
        folder = str(settings.history)
        raise NotFound("is not there", field="event history", value=folder, remedy="import or send events first")
    return pl.concat([pl.read_parquet(each.path) for each in parts])


def rebuild(settings: Settings, ledger: Ledger) -> int:
    """Make the history anew from the ledger.

    Returns:
        Events written.
    """
    for each in settings.history.glob("events*.parquet"):
        each.unlink(missing_ok=True)
    return update(settings, ledger)


def update(settings: Settings, ledger: Ledger) -> int:
    """Add what the ledger has beyond the history; all of it, where the history is none of this ledger's.

    Returns:
        Events written.
    """
    parts = _parts(settings)
    if parts and _rows(parts) != _count(ledger, parts[-1].last):  # of another ledger, or somebody was forgotten
        return rebuild(settings, ledger)
    written, last = 0, parts[-1] if parts else None
    for first, until, events in since(ledger, last.last if last else 0):
        written += events.height
        if last is not None and (held := pl.read_parquet(last.path)).height < PART:
            last = _write(settings, last.first, until, pl.concat([held, events]), instead=last)
        else:
            last = _write(settings, first, until, events)
    if not written and not parts:
        _write(settings, 0, 0, pl.DataFrame(schema=EVENT_SCHEMA))
    return written


def refreshed(settings: Settings, ledger: Ledger) -> pl.DataFrame:
    """All events of the ledger, through the history, which is brought up to date.

    Raises:
        NotFound: the ledger holds no events.
    """
    if ledger.mark(tables.events) == 0:
        raise NotFound("are not there", field="events", value=settings.ledger, remedy="import or send events first")
    update(settings, ledger)
    return read(settings)


def last(settings: Settings) -> int:
    """The ledger's sequence up to which the history goes; 0 where there is none."""
    parts = _parts(settings)
    return parts[-1].last if parts else 0


def since(ledger: Ledger, seq: int) -> Iterator[tuple[int, int, pl.DataFrame]]:
    """What the ledger has beyond a sequence, in parts of at most `PART`: first and last sequence, and the events."""
    while True:
        frames: list[pl.DataFrame] = []
        first = seq
        while len(frames) * _AT_ONCE < PART and (rows := events_after(ledger, seq, _AT_ONCE)):
            first, seq = (first if frames else rows[0][0]), rows[-1][0]
            frames.append(events_frame(row[1:] for row in rows))
        if not frames:
            return
        yield first, seq, pl.concat(frames)


class _Part(NamedTuple):
    first: int
    last: int
    path: Path


def _parts(settings: Settings) -> list[_Part]:
    """The parts in the ledger's order. One that another contains was about to be replaced by it: it is left out."""
    paths = [(each, each.stem.split("-")) for each in settings.history.glob("events-*-*.parquet")]
    found = [_Part(int(first), int(last), path) for path, (_, first, last) in paths]
    kept: list[_Part] = []
    for each in sorted(found, key=lambda part: (part.first, -part.last)):
        if not kept or each.last > kept[-1].last:
            kept.append(each)
    return kept


def _rows(parts: list[_Part]) -> int:
    return int(pl.scan_parquet([each.path for each in parts]).select(pl.len()).collect().item())


def _count(ledger: Ledger, upto: int) -> int:
    table = tables.events
    with ledger.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table).where(table.c.seq <= upto)).scalar() or 0


def _write(settings: Settings, first: int, last: int, events: pl.DataFrame, instead: _Part | None = None) -> _Part:
    settings.history.mkdir(parents=True, exist_ok=True)
    path = settings.history / f"events-{first:012}-{last:012}.parquet"
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    events.write_parquet(temporary)
    temporary.replace(path)
    if instead is not None and instead.path != path:
        instead.path.unlink(missing_ok=True)
    return _Part(first, last, path)
