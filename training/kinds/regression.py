"""Amounts: the answer is an expected revenue or an expected number of days, beside it the bounds of a single outcome.

Money is learnt with Tweedie deviance of power 1.5 and a logarithmic link: the model of a sum of a random number of
random amounts (Jørgensen & Souza, "Fitting Tweedie's compound Poisson model to insurance claims data", 1994), which has
room for the many who spend nothing. Days end with the horizon: learnt is the share of it that passes, by cross-entropy
with a logistic link (Papke & Wooldridge, "Econometric methods for fractional response variables", 1996), so that no
answer lies beyond. Both losses are least for the mean: answers add up to totals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Calibration, Interval
from features.kernel.errors import InvalidInput, NotEnoughData
from training.amounts import bounds, knots, simple
from training.amounts.curves import POWER, Days, Money
from training.evaluation import regression
from training.evaluation.amounts import Ranked
from training.evaluation.result import Evaluation
from training.kind import Kind, Unseen
from training.problem import Problem
from training.trainingset import Split, TrainingSet

__all__ = ["kind"]

Floats = NDArray[np.float64]

LEAST_FITTED, LEAST_LATER = 100, 40
"""Least rows with an amount above 0 in the train split, and in validation and test each."""


def _check(data: TrainingSet) -> None:
    for name, split in data.splits.items():
        wrong = ~(np.isfinite(split.y) & (split.y >= 0))
        if wrong.any():
            raise InvalidInput(
                f"must be 0 or more, and {int(wrong.sum())} rows of the {name} split are not",
                field=f"label of {data.problem.name}",
                value=float(split.y[wrong][0]),
            )
        above, least = int((split.y > 0).sum()), LEAST_FITTED if name == "train" else LEAST_LATER
        if above < least:
            raise NotEnoughData(
                f"the {name} split holds {above} rows above 0 among {len(split)}, and needs {least}",
                field=data.problem.name,
                remedy="import more history or more people",
            )
        if np.ptp(split.y) == 0:
            raise NotEnoughData(
                f"all {len(split)} rows of the {name} split have the same outcome, {split.y[0]:g}",
                field=data.problem.name,
                remedy="import more history or more people",
            )


def _learning(data: TrainingSet) -> TrainingSet:
    """The same rows with weights that make gradients free of the unit: cents are learnt as euros are."""
    scale = float(np.average(data.train.y, weights=data.train.weight)) ** (POWER - 2)
    return replace(data, train=_weighted(data.train, scale), validation=_weighted(data.validation, scale))


def _weighted(split: Split, scale: float) -> Split:
    return replace(split, weight=scale * (np.ones(len(split)) if split.weight is None else split.weight))


def _evaluate(data: TrainingSet, model: Floats, simple: Floats, rng: np.random.Generator) -> Evaluation:
    return regression.evaluate(data.test, model, simple, rng, judged=data.problem.metric or kind.metric)


def _score(split: Split, answers: Floats, name: str) -> Callable[[Floats | None], float]:
    rows = Ranked(split.y, answers, split.weight)
    return lambda weights: rows.figures(weights, (name,))[name]


def _of(problem: Problem) -> Kind:
    """The kind itself for money; for days the same within the problem's horizon."""
    if problem.unit != "days":
        return kind
    curve = Days(problem.horizon / timedelta(days=1))

    def learning(data: TrainingSet) -> TrainingSet:
        train, validation = (replace(each, y=each.y / curve.top) for each in (data.train, data.validation))
        return replace(data, train=train, validation=validation)

    def calibrate(unseen: Unseen) -> Calibration:
        return knots.fit(unseen._replace(y=unseen.y * curve.top), curve)

    def interval(calibration: Calibration, unseen: Unseen) -> Interval:
        return bounds.fit(calibration, unseen._replace(y=unseen.y * curve.top))

    return replace(
        kind,
        objective={"objective": "cross_entropy", "metric": "cross_entropy"},
        link="logit",
        learning=learning,
        calibrate=calibrate,
        interval=interval,
    )


kind = Kind(
    name="regression",
    objective={"objective": "tweedie", "tweedie_variance_power": POWER, "metric": "tweedie"},
    link="log",
    metric="gini",
    check=_check,
    learning=_learning,
    baseline=simple.predict,
    calibrate=lambda unseen: knots.fit(unseen, Money()),
    interval=bounds.fit,
    evaluate=_evaluate,
    score=_score,
    of=_of,
)
