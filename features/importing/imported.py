"""What came of reading a file by a recipe: events or labelled snapshots, and the fate of every row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import polars as pl

from features.frames import EVENT_SCHEMA
from features.importing.raw import EXAMPLES, Corrections
from features.importing.reasons import BUILT_IN
from features.importing.source import REASON, ROW, TEXT, VALUES

__all__ = ["Imported", "SnapshotColumn", "SnapshotInfo"]

_KEYS = ("id", "as_of", "label", "treatment")


@dataclass(frozen=True, slots=True)
class SnapshotColumn:
    """One feature of a labelled snapshot. `phrase` reads as a reason, with `{value}` in it."""

    name: str
    dtype: Literal["float32", "category"]
    unit: str
    phrase: str


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What a model of a labelled snapshot has to know beside the table itself."""

    problem: str
    """Name of the problem the label answers, e.g. `lead_scoring`."""
    question: str
    target: str
    """The file's column the label came from; `positive` is its value that means yes."""
    positive: str
    horizon_days: int
    """Days after `as_of` by which the label is settled."""
    columns: tuple[SnapshotColumn, ...]
    """The features, in the table's order."""
    categories: dict[str, tuple[str, ...]]
    """Of each category column the values that occur, sorted."""
    excluded: dict[str, str]
    """Columns of the file that are no features, each with the reason."""
    baseline: tuple[str, ...]
    """Columns of the simple model to beat."""
    arms: tuple[str, ...] = ()
    """What was done in an experiment, the control first; empty where the table is of none."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A file read by a recipe. Every row is in `used` or in `counts`, under a name; their sum is `rows_read`.

    Args:
        recipe: name of the recipe.
        kind: which of `events` and `table` is filled.
        rows_read: rows of the file.
        used: rows used, by what they were and became ("cancellation as refund"). Several rows may make one event.
        counts: rows refused, by reason; a reason that never held stands there with 0.
        events: columns `features.frames.EVENT_SCHEMA`, sorted by `received_at`, which equals `occurred_at`; empty for
            snapshots.
        table: columns `id` (string), `as_of` (UTC, microseconds), `label` (Int8, 0 or 1), `treatment` (string) if the
            recipe names one, then the features: Float32 or string, null where missing; in the file's order. Empty for
            events.
        snapshot: what a model has to know of `table`; None for events.
        unused_columns: columns of the file that the recipe does not name.
        format: of the source, csv, parquet, ndjson or sql.
        refused: the rows not used: number, reason, values at fault (JSON), then the file's own columns as they stood.
        corrections: values that were changed to be usable.

    Raises:
        AssertionError: a row is unaccounted for: a mistake in Kairos, not in the file.
    """

    recipe: str
    kind: Literal["events", "snapshot"]
    rows_read: int
    used: dict[str, int]
    counts: dict[str, int]
    events: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EVENT_SCHEMA))
    table: pl.DataFrame = field(default_factory=pl.DataFrame)
    snapshot: SnapshotInfo | None = None
    unused_columns: tuple[str, ...] = ()
    format: str = "csv"
    refused: pl.DataFrame = field(default_factory=pl.DataFrame)
    corrections: Corrections = field(default_factory=Corrections)

    def __post_init__(self) -> None:
        refused = sum(self.counts.values())
        if self.rows_used + refused != self.rows_read:
            raise AssertionError(f"{self.rows_used} rows used + {refused} refused of {self.rows_read} read")

    @property
    def rows_used(self) -> int:
        """Rows that became an event, a part of one, or a snapshot."""
        return sum(self.used.values())

    @property
    def named_counts(self) -> dict[str, int]:
        """`counts` worth showing: the recipe's own reasons always, those every recipe has where they held."""
        return {reason: rows for reason, rows in self.counts.items() if rows or reason not in BUILT_IN}

    def examples(self, reason: str) -> list[dict[str, Any]]:
        """The first few rows refused under a reason: `row` and `values` by column, or `text` if it has no columns."""
        if self.refused.is_empty():
            return []
        few = self.refused.filter(pl.col(REASON) == reason).select(ROW, VALUES, TEXT).head(EXAMPLES)
        return [
            {"row": row, "text": text[:200]} if text else {"row": row, "values": msgspec.json.decode(values or "{}")}
            for row, values, text in few.iter_rows()
        ]

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns of `table` that are features; none for events."""
        return tuple(name for name in self.table.columns if name not in _KEYS)
