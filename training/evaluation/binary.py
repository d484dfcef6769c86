"""Evaluation on the test split, later in time than all the model has seen, beside the baseline, with intervals.

Intervals are percentile bootstraps (Efron, 1979) over persons: rows of one person at several cutoffs are not
independent, and resampling rows would call the figures surer than they are. Model and baseline share every draw, so
that their difference has an interval of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import DRAWS, metric, weights
from training.evaluation.figures import HIGHER_IS_BETTER, Sorted
from training.evaluation.result import Evaluation

__all__ = ["evaluate"]

Floats = NDArray[np.float64]


def evaluate(
    y: Floats,
    model: Floats,
    baseline: Floats,
    person: NDArray[np.str_],
    rng: np.random.Generator,
    *,
    judged: str = "auc",
    draws: int = DRAWS,
) -> Evaluation:
    """Figures of the test split.

    Args:
        y: [n] labels; both classes must occur.
        model: [n] calibrated probabilities.
        baseline: [n] the baseline's probabilities.
        person: [n] whose row it is.
        rng: draws the bootstrap.
        judged: the figure whose gain over the baseline is judged.
    """
    ours, theirs = Sorted(y, model), Sorted(y, baseline)
    drawn = [
        (figures := ours.figures(each), figures[judged] - theirs.figures(each)[judged])
        for each in weights(person, rng, draws)
    ]
    values, reference = ours.figures(), theirs.figures()
    better = 1.0 if HIGHER_IS_BETTER[judged] else -1.0
    return Evaluation(
        metrics=tuple(
            metric(
                each,
                values[each],
                [draw[each] for draw, _ in drawn],
                reference[each],
                higher_is_better=HIGHER_IS_BETTER[each],
            )
            for each in values
        ),
        gain=metric(judged, better * (values[judged] - reference[judged]), [better * each for _, each in drawn]),
        bins=ours.bins(),
        baseline_bins=theirs.bins(),
        mean=float(y.mean()),
        rows=len(y),
        people=len(np.unique(person)),
        positives=int(y.sum()),
    )
