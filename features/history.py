"""The columnar event history: the ledger's events as Parquet, for everything that reads all of them.

It can be thrown away: `rebuild` makes it anew from the ledger.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from features.frames import EVENT_SCHEMA, events_frame
from features.kernel import tables
from features.kernel.errors import NotFound
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings

__all__ = ["read", "rebuild", "refreshed", "write"]


def write(settings: Settings, frame: pl.DataFrame) -> int:
    """Add events to the history; one whose `event_id` is there already stays as it is.

    Args:
        frame: columns `features.frames.EVENT_SCHEMA`.

    Returns:
        Events added.
    """
    path = _file(settings)
    fresh = frame.select(pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items())
    fresh = fresh.unique("event_id", keep="first", maintain_order=True)
    if not path.exists():
        _replace(fresh, path)
        return fresh.height
    there = pl.read_parquet(path)
    added = fresh.join(there.select("event_id"), on="event_id", how="anti", maintain_order="left")
    if added.height:
        _replace(pl.concat([there, added]), path)
    return added.height


def read(settings: Settings) -> pl.DataFrame:
    """All events of the history, columns `features.frames.EVENT_SCHEMA`, in the order they were written.

    Raises:
        NotFound: there is no history.
    """
    path = _file(settings)
    if not path.exists():
        raise NotFound("is not there", field="event history", value=str(path), remedy="import events first")
    return pl.read_parquet(path)


def rebuild(settings: Settings, ledger: Ledger) -> int:
    """Make the history anew from the ledger.

    Returns:
        Events written.
    """
    empty = pl.DataFrame(schema=EVENT_SCHEMA)
    frame = pl.concat([empty, *(events_frame(rows) for rows in ledger.events())])
    _replace(frame, _file(settings))
    return frame.height


def refreshed(settings: Settings, ledger: Ledger) -> pl.DataFrame:
    """All events of the ledger, from the history where it is up to date, else after rebuilding it.

    Raises:
        NotFound: the ledger holds no events.
    """
    events = ledger.count(tables.events)
    if events == 0:
        raise NotFound("are not there", field="events", value=settings.ledger, remedy="import or send events first")
    if not _file(settings).exists() or _rows(_file(settings)) != events:
        rebuild(settings, ledger)
    return read(settings)


def _rows(path: Path) -> int:
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def _file(settings: Settings) -> Path:
    return settings.history / "events.parquet"


def _replace(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    frame.write_parquet(temporary)
    temporary.replace(path)
