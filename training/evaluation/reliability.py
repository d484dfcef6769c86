"""The reliability curve: what was observed where an answer was given, over all rows and in each segment of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import bounds, weights
from training.evaluation.figures import Sorted
from training.evaluation.result import Bins, Rows
from training.evaluation.segments import Segment
from training.trainingset import Split

__all__ = ["by_segment", "rows"]

Floats = NDArray[np.float64]

SEGMENT_BINS = 5
LEAST = 100
"""Rows below which a segment has no curve."""


def rows(bins: Bins, drawn: Sequence[Floats], count: int, by: str = "", segment: str = "all") -> Rows:
    """A row a bin, lowest answers first: mean answer, observed rate and its interval.

    Args:
        bins: equal-weight bins, [k] each.
        drawn: [draws, k] their observed rates under each draw.
        count: how many rows they hold together.
    """
    low, high = bounds(bins.observed, drawn)
    return tuple(
        {
            "by": by,
            "segment": segment,
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
    """The curve of each segment with 100 rows or more, in five bins."""
    large = [each for each in segments if len(each.rows) >= LEAST]
    curves = [
        Sorted(test.y[each.rows], answers[each.rows], None if test.weight is None else test.weight[each.rows])
        for each in large
    ]
    drawn: list[list[Floats]] = [[] for _ in large]
    for weight in weights(test.person, rng) if large else ():
        for each, curve, held in zip(large, curves, drawn, strict=True):
            held.append(curve.bins(weight[each.rows], SEGMENT_BINS).observed)
    found: list[dict[str, Any]] = []
    for each, curve, held in zip(large, curves, drawn, strict=True):
        found += rows(curve.bins(None, SEGMENT_BINS), held, len(each.rows), each.by, each.name)
    return tuple(found)
