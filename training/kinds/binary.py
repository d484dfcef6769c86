"""Yes or no: the answer is a calibrated probability, learnt with log-loss and judged by how it ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Calibration, Interval
from training import baseline, small
from training.calibration import calibrate, confidence
from training.evaluation import binary
from training.evaluation.figures import Sorted
from training.evaluation.result import Evaluation
from training.kind import Kind, Unseen
from training.trainingset import Split, TrainingSet

__all__ = ["kind"]

Floats = NDArray[np.float64]


def _calibrate(unseen: Unseen) -> Calibration:
    return calibrate.fit(unseen.raw, unseen.y, unseen.weight, person=unseen.person, validation=unseen.validation)


def _interval(calibration: Calibration, unseen: Unseen) -> Interval | None:
    return confidence.interval(calibration, unseen.raw, unseen.y, unseen.weight, unseen.person)


def _evaluate(data: TrainingSet, model: Floats, simple: Floats, rng: np.random.Generator) -> Evaluation:
    judged = data.problem.metric or kind.metric
    return binary.evaluate(data.test, model, simple, rng, judged=judged)


def _score(split: Split, answers: Floats, name: str) -> Callable[[Floats | None], float]:
    rows = Sorted(split.y, answers, split.weight)
    return lambda weights: rows.figures(weights, (name,))[name]


kind = Kind(
    name="binary",
    objective={"objective": "binary", "metric": "binary_logloss"},
    link="logit",
    metric="auc",
    check=small.check,
    learner=small.learner,
    learning=lambda data: data,
    baseline=baseline.predict,
    calibrate=_calibrate,
    interval=_interval,
    evaluate=_evaluate,
    score=_score,
)
