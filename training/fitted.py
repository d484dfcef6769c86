"""A model with all that was found out about it, before anything is written anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Calibration, Card
from features.kernel.card import GateFinding as Finding
from features.kernel.seeds import generator
from training.booster import Model
from training.evaluation.result import Evaluation
from training.explanation.explain import explain
from training.picture import Shown
from training.trainingset import TrainingSet

__all__ = ["Fitted", "Progress", "Trial"]

Floats = NDArray[np.float64]

Progress = Callable[[str, float], None]
"""Told (what is being done, share done in [0, 1])."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter set that tuning tried."""

    number: int
    parameters: dict[str, float | int | str]
    loss: float | None
    """On the validation split; None where it was given up before it was fitted."""
    state: str = "complete"
    """Optuna's word: `complete`, `pruned`, `fail`."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What fitting a training set came to."""

    data: TrainingSet
    model: Model
    calibration: Calibration
    evaluation: Evaluation
    answers: Floats
    """[n] calibrated answers on the test split."""
    baseline: Floats
    """[n] the baseline's."""
    findings: tuple[Finding, ...]
    card: Card
    """Without version and run, which the registry gives."""
    trials: tuple[Trial, ...] = ()
    """What tuning tried, where it did."""

    def shown(self, card: Card) -> Shown:
        """What the pictures show, SHAP values of a sample of the test split among it."""
        told = explain(self.model, self.data.test.x, card, generator("explain", card.problem))
        return Shown(self.data, self.model, card, self.evaluation, self.answers, self.baseline, told)
