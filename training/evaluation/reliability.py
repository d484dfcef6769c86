"""The reliability curve: what was observed where an answer was given, over all rows and in each segment of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import bounds, estimate
from training.evaluation.outcome import row_weights
from training.evaluation.result import Bins, Rows
from training.evaluation.segments import Segment
from training.trainingset import Split

__all__ = ["by_segment", "rows"]

Floats = NDArray[np.float64]

SEGMENT_BINS = 5
LEAST = 100
"""Rows below which a segment has no curve."""


def rows(bins: Bins, drawn: Sequence[Floats], count: int) -> Rows:
    """A row a bin, lowest answers first: mean answer, observed rate and its interval.

    Args:
        bins: equal-weight bins, [k] each.
        drawn: [draws, k] their observed rates under each draw.
        count: how many rows they hold together.
    """
    low, high = bounds(bins.observed, drawn)
    return tuple(
        {
            "by": "",
            "segment": "all",
            "bin": i + 1,
            "rows": round(count / len(low)),
            "predicted": float(bins.predicted[i]),
            "observed": float(bins.observed[i]),
            "low": float(low[i]),
            "high": float(high[i]),
        }
        for i in range(len(low))
    )


def by_segment(test: Split, answers: Floats, segments: Iterable[Segment], rng: np.random.Generator) -> Rows:
    """The curve of each segment with 100 rows or more, in five bins of about as many rows; equal answers share one."""
    parts = [
        (each, i, rows)
        for each in segments
        if len(each.rows) >= LEAST
        for i, rows in enumerate(_fifths(answers, each.rows), start=1)
    ]
    if not parts:
        return ()
    own = row_weights(test)
    held = [(own[rows], test.y[rows], rows) for _, _, rows in parts]

    def observed(drawn: Floats | None) -> Floats:
        weights = [weight if drawn is None else weight * drawn[rows] for weight, _, rows in held]
        sums = np.array([(weight.sum(), (weight * y).sum()) for weight, (_, y, _) in zip(weights, held, strict=True)])
        rate: Floats = np.divide(sums[:, 1], sums[:, 0], out=np.full(len(sums), np.nan), where=sums[:, 0] > 0)
        return rate

    value, low, high = estimate(observed, test.person, rng)
    return tuple(
        {
            "by": each.by,
            "segment": each.name,
            "bin": i,
            "rows": len(rows),
            "predicted": float(np.average(answers[rows], weights=own[rows])),
            "observed": float(value[k]),
            "low": float(low[k]),
            "high": float(high[k]),
        }
        for k, (each, i, rows) in enumerate(parts)
    )


def _fifths(answers: Floats, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The rows in five parts by answer, lowest first; fewer where many answers are equal."""
    edges = np.unique(np.quantile(answers[rows], np.arange(1, SEGMENT_BINS) / SEGMENT_BINS, method="lower"))
    codes = np.searchsorted(edges, answers[rows], side="left")
    return [rows[codes == each] for each in np.unique(codes)]
