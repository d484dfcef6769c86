"""What acting on the answers earns, given what the two mistakes cost: the best threshold, and its profit.

Acting on a yes saves what missing it would have cost; acting on a no costs what a false alarm costs; leaving people
alone is the zero. The threshold is chosen on the validation split and judged on the test split: chosen there, it would
flatter itself. For calibrated answers it lies near fp / (fp + fn) (Elkan, "The foundations of cost-sensitive learning",
2001).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric
from training.evaluation.bootstrap import estimate, metric, weights
from training.evaluation.judged import Judged
from training.evaluation.outcome import row_weights
from training.evaluation.result import Rows
from training.trainingset import Split

__all__ = ["NOBODY", "judge", "threshold"]

Floats = NDArray[np.float64]
Costs = tuple[float, float]

PER = 1_000
"""Rows that profit is told of."""
NOBODY = 1.0
"""The threshold that no answer reaches."""
_SHARES = 40


def judge(judged: Judged, costs: Costs, rng: np.random.Generator) -> tuple[tuple[Metric, ...], Rows]:
    """The figures `profit` (per 1,000 rows, at the chosen threshold) and `best_threshold`, and the table `profit`.

    The baseline's profit is that of the baseline model at fp / (fp + fn). The table's rows, by falling share acted on:
    `threshold`, `contacted`, `profit`, `low`, `high`, and which row is `chosen`; the first acts on everyone, the last
    on nobody.

    Args:
        costs: what a false positive and a false negative cost, in one currency.
    """
    test, answers = judged.data.test, judged.answers
    chosen = _chosen(judged, costs, rng)
    best = chosen.value
    grid = np.unique([0.0, best, NOBODY, *np.quantile(answers, np.linspace(0, 1, _SHARES + 1)[1:], method="lower")])
    place = np.searchsorted(grid, answers, side="right")
    worth, own = _worth(test.y, costs), row_weights(test)

    def profits(drawn: Floats | None) -> Floats:
        weight = own if drawn is None else own * drawn
        summed = np.bincount(place, weight * worth, minlength=len(grid) + 1)[1:]
        earned: Floats = PER * np.cumsum(summed[::-1])[::-1] / weight.sum()
        return earned

    value, low, high = estimate(profits, test.person, rng)
    shares = np.cumsum(np.bincount(place, own, minlength=len(grid) + 1)[1:][::-1])[::-1] / own.sum()
    table = tuple(
        {
            "threshold": float(each),
            "contacted": float(shares[i]),
            "profit": float(value[i]),
            "low": float(low[i]),
            "high": float(high[i]),
            "chosen": bool(each == best),
        }
        for i, each in enumerate(grid)
    )
    at = int(np.searchsorted(grid, best))
    simple = _profit(test, judged.baseline, break_even(costs), costs)
    earned = Metric(name="profit", value=float(value[at]), low=float(low[at]), high=float(high[at]), baseline=simple)
    return (earned, chosen), table


def threshold(split: Split, answers: Floats, costs: Costs, weights: Floats | None = None) -> float:
    """The answer from which on acting earns most on these rows; of equals the one nearest to fp / (fp + fn).

    Args:
        weights: [n] further weights of the rows; 1 each, if None.
    """
    own = row_weights(split) if weights is None else row_weights(split) * weights
    order = np.argsort(-answers, kind="stable")
    earned = np.cumsum((own * _worth(split.y, costs))[order])
    ends = np.flatnonzero(np.r_[np.diff(answers[order]) < 0, True])
    levels, profits = np.r_[NOBODY, answers[order][ends]], np.r_[0.0, earned[ends]]
    best = levels[profits >= profits.max() - 1e-9]
    return float(best[np.argmin(np.abs(best - break_even(costs)))])


def _chosen(judged: Judged, costs: Costs, rng: np.random.Generator) -> Metric:
    """The threshold of the validation split, and how far another draw of its people would move it."""
    split, answers = judged.data.validation, judged.validation
    found = threshold(split, answers, costs)
    drawn = [threshold(split, answers, costs, each) for each in weights(split.person, rng)]
    return metric("best_threshold", found, drawn)


def break_even(costs: Costs) -> float:
    """The probability at which acting neither earns nor costs.

    >>> break_even((1.0, 4.0))
    0.2
    """
    return costs[0] / (costs[0] + costs[1])


def _profit(split: Split, answers: Floats, level: float, costs: Costs) -> float:
    weight = row_weights(split)
    return float(PER * (weight * _worth(split.y, costs))[answers >= level].sum() / weight.sum())


def _worth(y: Floats, costs: Costs) -> Floats:
    """What acting on each row earns."""
    return np.where(y > 0, costs[1], -costs[0])
