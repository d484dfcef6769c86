"""A kind of question: how its answers are learnt, calibrated and judged. One file a kind in `training/kinds/`.

The pipeline is the same for all; what differs between a probability, an amount and an effect stands in its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Calibration, Interval, Link
from training.evaluation.result import Evaluation
from training.problem import Problem
from training.trainingset import Split, TrainingSet

__all__ = ["Kind", "Unseen"]

Floats = NDArray[np.float64]


class Unseen(NamedTuple):
    """Rows [n] scored by models that were not fitted on their people: what calibration may learn from."""

    raw: Floats
    """Raw scores."""
    y: Floats
    weight: Floats
    person: NDArray[np.str_]
    """Whose row it is: rows of one person are not independent, and an interval that forgets it is too narrow."""
    validation: NDArray[np.bool_]
    """Whether the row is of the validation split; the others are of the train split."""


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
    calibrate: Callable[[Unseen], Calibration]
    """Rows unseen in fitting -> knots from raw score to answer."""
    interval: Callable[[Calibration, Unseen], Interval | None]
    """(calibration, the rows it was learnt from) -> bounds of an answer."""
    evaluate: Callable[[TrainingSet, Floats, Floats, np.random.Generator], Evaluation]
    """(data, answers [n], the baseline's [n], rng) on the test split -> figures with intervals."""
    score: Callable[[Split, Floats, str], Callable[[Floats | None], float]]
    """(split, answers [n], name of a figure) -> that figure under any further row weights [n]."""
    defaults: Mapping[str, float | int] = field(default_factory=dict)
    """What the kind sets otherwise than `training.booster.DEFAULTS`; tuning starts from there."""
    learner: Callable[[TrainingSet], Literal["trees", "logistic"]] = lambda data: "trees"
    """What the data are enough for; asked after `check`."""
    of: Callable[[Problem], Kind] | None = None
    """The kind as it is for a problem, where that makes a difference: an amount of days ends with the horizon."""
