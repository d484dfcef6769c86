"""What a model answered, beside what happened: the evidence of every table that is not of one kind alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Interval, Metric
from training.kind import Kind
from training.trainingset import TrainingSet

__all__ = ["Judged"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers of a model and of its baseline."""

    data: TrainingSet
    kind: Kind
    figure: Metric
    """The figure that is judged against the baseline, on the test split as a whole."""
    answers: Floats
    """[n] of the test split."""
    baseline: Floats
    """[n] the baseline's."""
    validation: Floats
    """[m] of the validation split, on which thresholds are chosen."""
    interval: Interval | None = None
    """Bounds of an answer, where the kind has them."""
