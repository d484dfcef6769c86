"""A picture of a model for the people who would rather look than read: one file of `training/pictures/`, one PNG.

`picture = Picture(...)` is all a file needs; each becomes an artifact of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Card
from training.booster import Model
from training.evaluation.result import Evaluation
from training.trainingset import TrainingSet

if TYPE_CHECKING:
    from training.explanation.explain import Explanation

__all__ = ["Picture", "Shown"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shown:
    """All a picture may show."""

    data: TrainingSet
    model: Model
    card: Card
    evaluation: Evaluation
    answers: Floats
    """[n] calibrated answers on the test split."""
    baseline: Floats
    """[n] the baseline's."""
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and for which kinds of question it is drawn."""

    file: str
    """`calibration.png`."""
    title: str
    kinds: tuple[str, ...]
    """Of the card: binary, candidates, regression, uplift."""
    draw: Callable[[Shown], Any]
    """Gives a matplotlib `Figure`, or None where these data have nothing to show."""
