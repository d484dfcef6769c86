"""A date later than the row's own time: it was written down when the decision had long been made."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from training.leak import Leak, Sheet, Suspect

__all__ = ["leak"]

MOST = 0.01
"""Share of rows that may be dated later by mistake."""


def _look(sheet: Sheet) -> Iterator[Suspect]:
    if sheet.time is None:
        return
    day = sheet.time.dt.date()
    for name, column in sheet.columns.items():
        if not sheet.timed(name) or column.values.dtype == pl.Time or column.values.dtype == pl.Duration:
            continue
        later = (column.values.cast(pl.Date) > day).fill_null(False)
        share = float(later.sum()) / max(1, len(later) - column.values.null_count())
        if share > MOST:
            example = column.values.filter(later)[0]
            yield Suspect(
                name,
                f"lies after the row's own time in {100 * share:.0f} % of the rows where it is known, "
                f"e.g. {example:%Y-%m-%d}",
            )


leak = Leak(code="recorded_after", title="was recorded after the decision", severity="refuse", look=_look)
