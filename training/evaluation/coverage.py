"""Whether prediction bounds hold the share of single outcomes they promise, on later time than they were learnt on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Interval, Metric
from training.amounts.bounds import held
from training.evaluation.bootstrap import metric, weights
from training.evaluation.result import Rows
from training.trainingset import Split

__all__ = ["judge"]

Floats = NDArray[np.float64]

_TENTHS = 10


def judge(
    interval: Interval, test: Split, answers: Floats, rng: np.random.Generator
) -> tuple[tuple[Metric, ...], dict[str, Rows]]:
    """The metric `coverage` with its interval by person, and the table `coverage` by tenth of the answer, lowest first.

    Equal answers are in one tenth only by the order of rows; a bound that lies on many equal outcomes (nothing spent)
    holds them all, so coverage may well lie above the level.
    """
    inside = held(interval, answers, test.y).astype(np.float64)
    own = np.ones(len(test)) if test.weight is None else test.weight
    drawn = [float(np.average(inside, weights=own * each)) for each in weights(test.person, rng)]
    value = float(np.average(inside, weights=own))
    parts = np.array_split(np.argsort(answers, kind="stable"), _TENTHS)
    rows = tuple(
        {
            "tenth": i,
            "rows": len(part),
            "answer": float(np.average(answers[part], weights=own[part])),
            "low": float(np.interp(np.median(answers[part]), interval.value, interval.low)),
            "high": float(np.interp(np.median(answers[part]), interval.value, interval.high)),
            "held": float(np.average(inside[part], weights=own[part])),
        }
        for i, part in enumerate(parts, start=1)
        if len(part)
    )
    return (metric("coverage", value, drawn),), {"coverage": rows}
