"""What the kind `uplift` learns from: pseudo-outcomes of the R-learner, and whether a test was randomised at all.

Nie & Wager, "Quasi-oracle estimation of heterogeneous treatment effects" (Biometrika, 2021): with m(x) the mean outcome
and e(x) the probability of treatment, the effect minimises

    sum of (a - e)² · [ (y - m) / (a - e) - effect(x) ]²

so that one regression, on the target in brackets with the weight before them, learns it, and errors of m enter only
multiplied with those of e. Here e is known, for the arm was drawn with it. m is LightGBM's, and of each training row it
comes from models that were not fitted on its person.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.booster import DEFAULTS, Trainer
from training.trainingset import Split, TrainingSet

__all__ = ["Predictable", "arms", "learning_set", "predictable"]

Floats = NDArray[np.float64]

_OUTCOME = {"objective": "binary", "metric": "binary_logloss"}
_ARM = {"objective": "regression", "metric": "l2"}


class Predictable(NamedTuple):
    """How far features tell the arm beyond the probability it was drawn with."""

    correlation: float
    """Between what is left of the arm and what features say of it, out of fold."""
    sds: float
    """The same in standard deviations of what chance gives, rows of one person taken together."""


def arms(split: Split) -> tuple[Floats, Floats]:
    """Arm [n] and probability of arm 1 [n] of a split that has them."""
    assert split.arm is not None and split.propensity is not None  # `kinds.uplift` has checked
    return split.arm, split.propensity


def learning_set(data: TrainingSet) -> TrainingSet:
    """The set whose `y` is the pseudo-outcome and whose `weight` is (a - e)², mean 1; the test split stays as it is."""
    trainer = Trainer(_free(data), _OUTCOME)
    model = trainer.fit(DEFAULTS)
    expected = {"train": trainer.out_of_fold(model), "validation": model.raw(data.validation.x)}
    scale = float(np.mean((arms(data.train)[0] - arms(data.train)[1]) ** 2))
    made = {name: _pseudo(data.splits[name], _expit(raw), scale) for name, raw in expected.items()}
    return replace(data, train=made["train"], validation=made["validation"])


def predictable(data: TrainingSet) -> Predictable:
    """Whether the arm of the training rows can be told from features: under randomisation `sds` is standard normal."""
    arm, propensity = arms(data.train)
    left = arm - propensity
    trainer = Trainer(_free(_answering(data)), _ARM)
    told = trainer.out_of_fold(trainer.fit(DEFAULTS))
    codes = np.unique(data.train.person, return_inverse=True)[1]
    scores = np.bincount(codes, weights=left * told)
    spread, size = float(np.sqrt(scores @ scores)), float(np.sqrt((left @ left) * (told @ told)))
    if spread == 0 or size == 0:
        return Predictable(0.0, 0.0)
    return Predictable(float(left @ told) / size, float(scores.sum()) / spread)


def _answering(data: TrainingSet) -> TrainingSet:
    """The set that asks for what is left of the arm."""
    split = {name: replace(each, y=arms(each)[0] - arms(each)[1]) for name, each in data.splits.items()}
    return replace(data, train=split["train"], validation=split["validation"], test=split["test"])


def _free(data: TrainingSet) -> TrainingSet:
    """Without known directions: those of the effect are not those of outcome and arm."""
    return replace(data, problem=replace(data.problem, monotone={}))


def _pseudo(split: Split, expected: Floats, scale: float) -> Split:
    arm, propensity = arms(split)
    given = np.ones(len(split)) if split.weight is None else split.weight
    return replace(split, y=(split.y - expected) / (arm - propensity), weight=given * (arm - propensity) ** 2 / scale)


def _expit(z: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-z))
