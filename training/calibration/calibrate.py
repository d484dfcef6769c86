"""Calibration: from LightGBM's raw log-odds to a probability that can be believed, as knots a card can carry.

Learnt from rows the model has not seen: the validation split, and the training rows as models fitted on other people
see them. The validation split alone is one season; calibrated on it, a model of customers believes in that season.

Which calibrator (`training/calibration/calibrators/`) is chosen on the validation rows: each is fitted on the rows of
three quarters of the people and judged by its log-loss on the validation rows of the others, four times over. One of
more parameters must be better than the one of least loss would be by chance: of those within one standard error of the
best the simplest is taken (Breiman et al., 1984), the rows of a person counted together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Calibration
from training import losses
from training.calibration.calibrator import Calibrator, apply, knots, tie
from training.calibration.calibrators import all_calibrators
from training.rows import folds

__all__ = ["apply", "choose", "fit", "with_calibrator"]

Floats = NDArray[np.float64]

_FOLDS = 4


def fit(
    raw: Floats,
    y: Floats,
    weight: Floats | None = None,
    *,
    person: NDArray[np.str_] | None = None,
    validation: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Knots from raw log-odds [n] and labels [n] of rows the model was not fitted on; both classes must occur.

    Both sequences of knots rise strictly, every probability lies inside (0, 1), and the weighted mean of the
    probabilities is that of the labels. `largest_error` is NaN until the test split has been seen.

    Args:
        weight: [n] 1 each, if None.
        person: [n] whose row it is; each row another's, if None.
        validation: [n] the rows to judge calibrators on; all, if None.
    """
    weight = np.ones(len(raw)) if weight is None else weight
    person = np.arange(len(raw)).astype(np.str_) if person is None else person
    judged = weight > 0 if validation is None or not validation.any() else validation & (weight > 0)
    return with_calibrator(choose(raw, y, weight, person, judged), raw, y, weight)


def with_calibrator(calibrator: Calibrator, raw: Floats, y: Floats, weight: Floats | None = None) -> Calibration:
    """Knots by one calibrator."""
    scores = tie(raw, y, weight)
    return knots(calibrator.name, scores, *calibrator.fit(scores))


def choose(raw: Floats, y: Floats, weight: Floats, person: NDArray[np.str_], judged: NDArray[np.bool_]) -> Calibrator:
    """The simplest calibrator that is not worse than the best beyond noise, on the judged rows [n]."""
    rarer = tie(raw, y, weight).rarer
    candidates = [each for each in all_calibrators().values() if each.least <= rarer]
    fold = folds.by_person(person, y, _FOLDS)
    if len(candidates) == 1 or fold.max() == 0:
        return candidates[0]
    loss = [_held_out(each, raw, y, weight, fold)[judged] for each in candidates]
    best = loss[int(np.argmin([np.average(each, weights=weight[judged]) for each in loss]))]
    return next(
        each
        for each, found in zip(candidates, loss, strict=True)
        if np.average(found - best, weights=weight[judged])
        <= losses.noise(found - best, weight[judged], person[judged])
    )


def _held_out(calibrator: Calibrator, raw: Floats, y: Floats, weight: Floats, fold: NDArray[np.intp]) -> Floats:
    """Log-loss [n] of each row under the calibrator fitted on the people of the other folds."""
    p = np.empty(len(raw))
    for held_out in range(int(fold.max()) + 1):
        out = fold == held_out
        p[out] = apply(with_calibrator(calibrator, raw[~out], y[~out], weight[~out]), raw[out])
    return -np.where(y > 0, np.log(p), np.log1p(-p))
