"""A gate: one check between a trained model and the alias `champion`, in one file of `training/gates/`.

`gate = Gate(...)` is all a file needs. A check answers that it passed, that it failed, or that it does not apply, with
a sentence that holds the figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Calibration
from features.kernel.card import GateFinding as Finding
from features.kernel.settings import Settings
from training.booster import Model
from training.calibration.calibrate import apply
from training.evaluation.result import Evaluation
from training.trainingset import TrainingSet

__all__ = ["Answer", "Evidence", "Finding", "Gate", "does_not_apply", "failed", "passed", "warned"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All a gate may look at."""

    data: TrainingSet
    model: Model
    calibration: Calibration
    evaluation: Evaluation
    settings: Settings | None = None
    """Where the champion and the online store are to be looked for; None where only the data are judged."""

    def answers(self, x: NDArray[np.float32]) -> Floats:
        """Calibrated answers [n] of rows [n, k]."""
        return apply(self.calibration, self.model.raw(x))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found, in a sentence that holds the figure."""

    outcome: Literal["passed", "failed", "does not apply"]
    figure: str
    severity: Literal["refuse", "warn"] | None = None
    """Where it is not the gate's own."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A check with its name. `refuse`: who fails is not promoted; `warn`: who fails is, and the run says so."""

    code: str
    title: str
    severity: Literal["refuse", "warn"]
    check: Callable[[Evidence], Answer]

    def judge(self, evidence: Evidence) -> Finding:
        """The gate's finding on a model."""
        answer = self.check(evidence)
        return Finding(self.code, self.title, answer.severity or self.severity, answer.outcome, answer.figure)


def passed(figure: str) -> Answer:
    """The model does what the gate asks."""
    return Answer("passed", figure)


def failed(figure: str) -> Answer:
    """The model does not do what the gate asks."""
    return Answer("failed", figure)


def warned(figure: str) -> Answer:
    """The model does not do what the gate asks, but not so that it must not be promoted."""
    return Answer("failed", figure, "warn")


def does_not_apply(why: str) -> Answer:
    """The question makes no sense for this model."""
    return Answer("does not apply", why)
