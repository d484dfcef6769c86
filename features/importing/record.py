"""What was read goes into the ledger, in transactions of many events, and the columnar history follows.

What a transaction has taken stays, whatever happens to the next: an import that was interrupted is run again, and what
is there already counts as duplicates. Events dated ahead of the clock go to quarantine, as they do over the API.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from features import history
from features.frames import EVENT_SCHEMA, to_events
from features.importing.raw import Progress
from features.importing.valid import faults
from features.kernel import clock
from features.kernel.bulk import append_event_rows
from features.kernel.errors import InvalidEvent, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.records import Receipt
from features.kernel.settings import Settings

__all__ = ["AT_ONCE", "STATUSES", "ahead", "event_rows", "record", "update_history"]

AT_ONCE = 50_000
"""Events of one transaction."""
STATUSES = ("accepted", "duplicate", "conflict", "quarantined")


def record(events: pl.DataFrame, ledger: Ledger, progress: Progress | None = None) -> dict[str, int]:
    """Append events to the ledger; how many receipts there were of each status.

    Args:
        events: columns `EVENT_SCHEMA`; `properties` as `valid.canonical` makes them.

    Raises:
        InvalidEvent: an event breaks the contract of `features.kernel.events`; nothing was written.
        Unavailable: the ledger took no more (a full disk, say); what it has taken before stays there.
    """
    _require_valid(events)
    early = ahead(events, ledger.skew)
    present, future = events.filter(~early), events.filter(early)
    seen: Counter[str] = Counter()
    try:
        for receipts in _appended(ledger, present, future):
            seen.update(each.status for each in receipts)
            if progress is not None:
                progress(sum(seen.values()), events.height)
    except Unavailable as error:
        taken = f"{sum(seen.values()):,} of {events.height:,} events are in the ledger and stay there"
        raise Unavailable(
            f"{error.message.splitlines()[0]}; {taken}",
            field="ledger",
            remedy="mend that (is the disk full?) and import again: what is there already counts as duplicates",
        ) from error
    return {status: seen[status] for status in STATUSES}


def update_history(settings: Settings, ledger: Ledger) -> int:
    """Bring the columnar history up to date with the ledger; how many events were added to it.

    Raises:
        Unavailable: it cannot be written; every event is in the ledger, though.
    """
    try:
        return history.update(settings, ledger)
    except OSError as error:
        raise Unavailable(
            f"cannot be written: {error.strerror or error}; every event is in the ledger",
            field=str(settings.history),
            remedy="make room; the history is brought up to date by the next command that needs it",
        ) from error


def ahead(events: pl.DataFrame, skew: timedelta) -> pl.Series:
    """Which events are dated further ahead of the clock than clocks differ."""
    return events["occurred_at"] > clock.now() + skew


def event_rows(events: pl.DataFrame) -> list[tuple[object, ...]]:
    """Rows as `append_event_rows` takes them."""
    instants = pl.col("occurred_at", "received_at").dt.timestamp("us")
    return events.select(*EVENT_SCHEMA).with_columns(instants).rows()


def _appended(ledger: Ledger, present: pl.DataFrame, future: pl.DataFrame) -> Iterator[list[Receipt]]:
    for part in present.iter_slices(AT_ONCE):
        yield append_event_rows(ledger, event_rows(part))
    received = pl.lit(clock.now()).cast(pl.Datetime("us", "UTC")).alias("received_at")
    for part in future.iter_slices(AT_ONCE):
        yield ledger.append_events(list(to_events(part.with_columns(received))))


def _require_valid(events: pl.DataFrame) -> None:
    wrong = faults(events)
    for i in wrong.is_not_null().arg_true().head(1):
        _as_event(events.slice(i, 1), wrong[i])


def _as_event(row: pl.DataFrame, field: str) -> None:
    list(to_events(row))  # the kernel says best what is wrong
    raise InvalidEvent("is not valid", field=field, value=row["event_id"][0])
