"""Yes-or-no answers on the test split, later in time than all the model has seen, beside the baseline, with intervals.

Intervals are percentile bootstraps over persons (`training.evaluation.bootstrap`). Model and baseline share every draw,
so that their difference has an interval of its own. Rows count with their weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric
from training.evaluation import deciles, reliability
from training.evaluation.bootstrap import DRAWS, metric, weights
from training.evaluation.figures import HIGHER_IS_BETTER, Sorted, figures
from training.evaluation.result import Evaluation
from training.trainingset import Split

__all__ = ["evaluate"]

Floats = NDArray[np.float64]


class _Draw(NamedTuple):
    figures: dict[str, float]
    gain: float
    observed: Floats


def evaluate(
    test: Split,
    model: Floats,
    baseline: Floats,
    rng: np.random.Generator,
    *,
    judged: str = "auc",
    draws: int = DRAWS,
) -> Evaluation:
    """Figures of the test split, with the tables `deciles` and `reliability`.

    Args:
        test: both classes must occur.
        model: [n] calibrated probabilities.
        baseline: [n] the baseline's probabilities.
        rng: draws the bootstrap.
        judged: the figure whose gain over the baseline is judged: a key of `figures.HIGHER_IS_BETTER`.
    """
    ours, theirs = (Sorted(test.y, each, test.weight) for each in (model, baseline))
    drawn = [_draw(ours, theirs, judged, each) for each in weights(test.person, rng, draws)]
    found, bins, simple = _draw(ours, theirs, judged, None), ours.bins(), theirs.bins()
    observed = [each.observed for each in drawn]
    return Evaluation(
        metrics=_metrics(found, drawn, theirs.figures()),
        gain=metric(judged, found.gain, [each.gain for each in drawn]),
        bins=bins,
        baseline_bins=simple,
        mean=float(np.average(test.y, weights=test.weight)),
        rows=len(test),
        people=len(np.unique(test.person)),
        positives=int(test.y.sum()),
        tables={
            "deciles": deciles.table(bins, observed, simple.observed),
            "reliability": reliability.rows(bins, observed, len(test)),
        },
    )


def _draw(ours: Sorted, theirs: Sorted, judged: str, drawn: Floats | None) -> _Draw:
    """Figures of the model, what it gains, and the observed rates of its bins, under the row weights of a draw."""
    sums = ours.sums(drawn)
    mine, simple = figures(sums), theirs.figures(drawn, (judged,))
    better = 1.0 if HIGHER_IS_BETTER[judged] else -1.0
    return _Draw(mine, better * (mine[judged] - simple[judged]), sums.bins().observed)


def _metrics(found: _Draw, drawn: list[_Draw], simple: dict[str, float]) -> tuple[Metric, ...]:
    return tuple(
        metric(
            name,
            value,
            [each.figures[name] for each in drawn],
            simple[name],
            higher_is_better=HIGHER_IS_BETTER[name],
        )
        for name, value in found.figures.items()
    )
