"""A table as it stands in its source, before any type: no row is lost, and what had to be mended is on record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

__all__ = ["BROKEN_SCHEMA", "Corrections", "Progress", "Raw"]

EXAMPLES = 3
"""Examples kept of each reason."""

BROKEN_SCHEMA: dict[str, type[pl.DataType]] = {"row": pl.Int64, "reason": pl.String, "text": pl.String}
"""Rows that cannot be told into columns: their number, why, and their text as it stood."""

Progress = Callable[[float, float], None]
"""Told how much of how much has been read, in bytes or rows."""


class Corrections:
    """Values that were changed to be usable, by a named reason; rows are counted once a reason.

    >>> noted = Corrections()
    >>> noted.add("trimmed", "name", pl.Series([4, 7]), ["a ", " b"], ["a", "b"])
    >>> noted.counts(), noted.examples("trimmed")[0]
    ({'trimmed': 2}, {'row': 4, 'column': 'name', 'was': 'a ', 'became': 'a'})
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[pl.Series]] = {}
        self._examples: dict[str, list[dict[str, Any]]] = {}

    def add(self, reason: str, column: str, rows: pl.Series, was: Sequence[Any], became: Sequence[Any]) -> None:
        """Note rows (their numbers) of which a column's value was changed; `was` and `became` are parallel to them."""
        if not len(rows):
            return
        self._rows.setdefault(reason, []).append(rows.cast(pl.Int64))
        kept = self._examples.setdefault(reason, [])
        for row, old, new in zip(rows[:EXAMPLES], was, became, strict=False):
            if len(kept) < EXAMPLES:
                kept.append({"row": row, "column": column, "was": old, "became": new})

    def counts(self) -> dict[str, int]:
        """Rows by reason, the most frequent first."""
        found = {reason: pl.concat(rows).n_unique() for reason, rows in self._rows.items()}
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    def examples(self, reason: str) -> list[dict[str, Any]]:
        """A few of a reason: row, column, what it was and what it became."""
        return self._examples.get(reason, [])


@dataclass(frozen=True, slots=True)
class Raw:
    """A table: every row of the source is in `frame` or in `broken`.

    Attributes:
        frame: the rows that have columns; all text where the source has no types (CSV, NDJSON).
        numbers: the number of each row of `frame` in the source, from 1, a header not counted.
        broken: rows without columns, `BROKEN_SCHEMA`.
        format: csv, parquet, ndjson or sql.
        corrections: what was mended on the way.
        former: of a side file of refused rows, the reason of each row of `frame`; None of any other.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    format: str
    broken: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=BROKEN_SCHEMA))
    corrections: Corrections = field(default_factory=Corrections)
    former: pl.Series | None = None

    @property
    def height(self) -> int:
        """Rows of the source, broken ones included."""
        return self.frame.height + self.broken.height

    @classmethod
    def of(cls, frame: pl.DataFrame, form: str) -> Raw:
        """A table none of whose rows is broken."""
        return cls(frame, pl.int_range(1, frame.height + 1, eager=True), form)
