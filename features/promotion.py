"""A run of the offline store: computed out of readers' sight, checked as a whole, and only then put where they look.

A run that breaches what is expected of it, or that fails half-way, leaves the former state as it was. Each file takes
its place by one rename; a run that is killed between two of them is completed by running it again.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl

from features import offline_files as files
from features import quality
from features.compute import all_views, compute, population
from features.frames import spine_of
from features.population import months_of
from features.quality import Report
from features.view import FeatureView
from features.windows import known_from

__all__ = ["Gate", "Run", "alone", "promote", "rehearse"]

Gate = Callable[[Report], None]
"""What decides on a run by its report: it raises to stop it. `quality.require` stops at any breach."""

STAGING = ".run"
REHEARSED = 20_000
"""Customers whose features are computed to judge events before they are stored."""


def promote(
    offline: Path,
    views: Mapping[str, FeatureView],
    parts: Iterable[Mapping[str, pl.DataFrame]],
    newest: Mapping[str, datetime] | None = None,
    gate: Gate = quality.require,
) -> dict[str, int]:
    """Write a run: all of it once it is checked, or nothing.

    Args:
        offline: the store's folder.
        views: what it stores.
        parts: the run's frames by view, as `compute` gives them, part by part.
        newest: see `quality.inspect`; None: freshness is not looked at.
        gate: decides on the run.

    Returns:
        Rows written by view; entities with nothing known at an instant have none.

    Raises:
        QualityBreach: the gate stopped the run; the store is as it was.
    """
    with alone(offline):
        run = Run(offline, views)
        try:
            for frames in parts:
                run.add(frames)
            gate(quality.inspect(run.frames(), views, run.as_of, newest))
            return run.promote()
        finally:
            run.discard()


def rehearse(
    events: pl.DataFrame, views: Mapping[str, FeatureView] | None = None, customers: int = REHEARSED
) -> Report:
    """What the views would come to of events that are not stored yet, after the last of them; nothing is written.

    Args:
        events: columns `features.frames.EVENT_SCHEMA`.
        views: those of `features/views`, if None.
        customers: of so many at most, taken at even steps of their sorted ids.
    """
    chosen = all_views() if views is None else views
    if events.is_empty():
        return Report(None, ())
    as_of = events.select(known_from().max()).item()
    people = events["customer_id"].unique().sort()
    sample = people.gather_every(-(-len(people) // customers))
    spine = spine_of(sample, as_of)
    accounts = events.filter(pl.col("customer_id").is_in(sample.implode()))["account_id"].drop_nulls().unique()
    wanted = pl.col("customer_id").is_in(sample.implode()) | pl.col("account_id").is_in(accounts.implode())
    everyone = population(events, months_of(spine), chosen)
    return quality.inspect(compute(events.filter(wanted), spine, everyone, chosen), chosen, as_of)


class Run:
    """The rows of one run, beside what readers see. Hold `alone(offline)` from the first to the last call.

    Args:
        offline: the store's folder; what an earlier run left unfinished in it is thrown away.
        views: what the run computes.
    """

    def __init__(self, offline: Path, views: Mapping[str, FeatureView]) -> None:
        self._offline, self._views, self._staging = offline, views, offline / STAGING
        self._pieces: dict[tuple[str, datetime], list[Path]] = {}
        self.discard()

    @property
    def as_of(self) -> datetime | None:
        """The newest instant that has rows."""
        return max((instant for _, instant in self._pieces), default=None)

    def add(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Keep a part of the run; rows in which nothing is known are left out: they read the same without."""
        for name, frame in frames.items():
            view = self._views[name]
            rows = files.stored(view, frame).sort(view.key)
            for (instant,), piece in rows.partition_by("event_timestamp", as_dict=True).items():
                assert isinstance(instant, datetime)
                pieces = self._pieces.setdefault((name, instant), [])
                path = self._staging / name / f"{len(pieces):04}-{files.name_of(instant)}"
                path.parent.mkdir(parents=True, exist_ok=True)
                piece.write_parquet(path)
                pieces.append(path)

    def frames(self) -> dict[str, pl.LazyFrame]:
        """The run's rows by view, not read yet."""
        held: dict[str, list[Path]] = {name: [] for name in self._views}
        for (name, _), pieces in self._pieces.items():
            held[name] += pieces
        return {
            name: pl.scan_parquet(pieces) if pieces else pl.LazyFrame(schema=files.schema(self._views[name]))
            for name, pieces in held.items()
        }

    def promote(self) -> dict[str, int]:
        """Put every file in its place; another population at the same instant keeps its rows.

        Returns:
            Rows written by view.
        """
        written = dict.fromkeys(self._views, 0)
        ready = []
        for name, instant in self._pieces:
            rows, whole = self._whole(name, instant)
            written[name] += rows
            ready.append((whole, self._place(name, instant)))
        for whole, place in ready:
            place.parent.mkdir(parents=True, exist_ok=True)
            whole.replace(place)
        return written

    def discard(self) -> None:
        """Throw away what is staged."""
        shutil.rmtree(self._staging, ignore_errors=True)

    def _place(self, name: str, instant: datetime) -> Path:
        return self._offline / name / files.name_of(instant)

    def _whole(self, name: str, instant: datetime) -> tuple[int, Path]:
        """The run's rows at an instant, and the one file of them and of those who are in none of its pieces."""
        pieces, place, key = self._pieces[name, instant], self._place(name, instant), self._views[name].key
        if len(pieces) == 1 and not place.exists():
            return int(pl.scan_parquet(pieces[0]).select(pl.len()).collect().item()), pieces[0]
        rows = pl.concat([pl.read_parquet(each) for each in pieces]).unique(key, keep="last")
        others = pl.read_parquet(place).join(rows, on=key, how="anti") if place.exists() else rows.clear()
        whole = pieces[0].with_name(files.name_of(instant))
        pl.concat([rows, others]).sort(key).write_parquet(whole)
        return rows.height, whole


@contextmanager
def alone(offline: Path) -> Iterator[None]:
    """Nobody else writes the store's files meanwhile, in this process or another; waits until that is so."""
    offline.mkdir(parents=True, exist_ok=True)
    with (offline / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
