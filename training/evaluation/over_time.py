"""Stability over time: the judged figure at each test cutoff; of rows with many instants, in each stretch of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import estimate
from training.evaluation.judged import Judged
from training.evaluation.outcome import outcome, row_weights
from training.evaluation.result import Rows
from training.trainingset import Split

__all__ = ["part", "stretches", "table"]

Floats = NDArray[np.float64]

MOST = 6
"""Stretches at most."""


def stretches(test: Split) -> list[NDArray[np.intp]]:
    """Rows of each cutoff; of more than six instants, six stretches of about as many rows, cut between instants."""
    instants, codes = np.unique(test.as_of, return_inverse=True)
    if len(instants) > MOST:
        ends = np.cumsum(np.bincount(codes)) / len(test)
        codes = np.minimum((ends * MOST - 1e-9).astype(int), MOST - 1)[codes]
    return [np.flatnonzero(codes == each) for each in np.unique(codes)]


def part(test: Split, rows: NDArray[np.intp]) -> Split:
    """Some rows of a split."""
    beside = {name: getattr(test, name) for name in ("weight", "arm", "propensity")}
    return replace(
        test,
        x=test.x[rows],
        y=test.y[rows],
        person=test.person[rows],
        as_of=test.as_of[rows],
        groups={name: groups[rows] for name, groups in test.groups.items()},
        **{name: None if values is None else values[rows] for name, values in beside.items()},
    )


def table(judged: Judged, rng: np.random.Generator) -> Rows:
    """A row a stretch: mean answer, observed mean, the judged figure and what it gains over the baseline.

    Each with its 95 % interval by person; figures are NaN where a stretch has not what they need (one class only).
    Empty where the rows have no time, or all the same.
    """
    found = [] if judged.data.split == "random" else stretches(judged.data.test)
    return tuple(_row(judged, rows, rng) for rows in found) if len(found) > 1 else ()


def _row(judged: Judged, rows: NDArray[np.intp], rng: np.random.Generator) -> dict[str, object]:
    test = part(judged.data.test, rows)
    value, low, high = estimate(_figures(judged, test, rows), test.person, rng)
    names = ("value", "baseline", "gain", "predicted", "observed")
    bounds = {
        f"{name}_{side}": float(at[i]) for i, name in enumerate(names) for side, at in (("low", low), ("high", high))
    }
    return {
        "as_of": str(test.as_of.min().astype("datetime64[s]")),
        "until": str(test.as_of.max().astype("datetime64[s]")),
        "rows": len(test),
        "figure": judged.figure.name,
        **{name: float(value[i]) for i, name in enumerate(names)},
        **bounds,
    }


def _figures(judged: Judged, test: Split, rows: NDArray[np.intp]) -> Callable[[Floats | None], Floats]:
    score = judged.kind.score
    ours, theirs = (score(test, each[rows], judged.figure.name) for each in (judged.answers, judged.baseline))
    answers, truth = judged.answers[rows], outcome(test)
    own = row_weights(test)
    better = 1.0 if judged.figure.higher_is_better else -1.0

    def figures(drawn: Floats | None) -> Floats:
        weight = own if drawn is None else own * drawn
        mine, simple = ours(drawn), theirs(drawn)
        means = (float(np.average(each, weights=weight)) for each in (answers, truth))
        return np.array([mine, simple, better * (mine - simple), *means])

    return figures
