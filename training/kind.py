"""A kind of question: how its answers are learnt, calibrated and judged. One file a kind in `training/kinds/`.

The pipeline is the same for all; what differs between a probability, an amount and an effect stands in its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Calibration, Interval, Link
from training.evaluation.result import Evaluation
from training.trainingset import TrainingSet

__all__ = ["Kind"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind:
    """What the pipeline asks of a kind. Each field is one step; `training/pipeline.py` shows their order."""

    name: str
    objective: dict[str, Any]
    """LightGBM's `objective`, the `metric` it stops early on, and what belongs to them."""
    link: Link
    metric: str
    """The figure judged against the baseline, where a problem names none."""
    check: Callable[[TrainingSet], None]
    """Raises `NotEnoughData` naming split and counts where nothing can be learnt."""
    learning: Callable[[TrainingSet], TrainingSet]
    """The set whose `y` and `weight` the trees are fitted to: itself, or of an uplift problem pseudo-outcomes."""
    baseline: Callable[[TrainingSet], Floats]
    """(data) -> [n] answers of the test split by the simple model."""
    calibrate: Callable[[Floats, Floats, Floats, NDArray[np.bool_]], Calibration]
    """(raw [n], y [n], weight [n], is_validation [n]) of rows unseen in fitting -> knots."""
    interval: Callable[[Calibration, Floats, Floats, Floats], Interval | None]
    """(calibration, raw [n], y [n], weight [n]) of the same rows -> bounds of an answer."""
    evaluate: Callable[[TrainingSet, Floats, Floats, np.random.Generator], Evaluation]
    """(data, answers [n], the baseline's [n], rng) on the test split -> figures with intervals."""
