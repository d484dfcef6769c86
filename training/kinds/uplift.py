"""What a treatment adds: the answer is a change of probability, learnt from randomised rows by the R-learner.

The final stage is one LightGBM model on pseudo-outcomes (`training/effects/pseudo_outcomes.py`): its raw score is the
effect itself, so that it is served, explained and logged like any other model. Effects are small and a pseudo-outcome
is nearly all noise, hence few leaves, many rows in each, and a penalty of the order of noise variance over effect
variance: about .5 / .05² = 200 rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput, NotEnoughData
from training.effects import pseudo_outcomes
from training.effects.knots import bounds, fit
from training.evaluation import uplift
from training.evaluation.ranked import Ranked, average_effect
from training.evaluation.result import Evaluation
from training.kind import Kind
from training.trainingset import Split, TrainingSet

__all__ = ["kind"]

Floats = NDArray[np.float64]

LEAST_FITTED, LEAST_LATER = 40, 15
"""Least rows of the rarer outcome in each arm of the train split, and of validation and test each."""
PREDICTABLE, SURELY = 0.05, 5.0
"""The arm counts as not randomised where features tell it with a correlation above the one, and by more standard
deviations of chance than the other."""


def _check(data: TrainingSet) -> None:
    for name, split in data.splits.items():
        arm = _recorded(data, name, split)
        least = LEAST_FITTED if name == "train" else LEAST_LATER
        for value, called in ((1, "treated"), (0, "control")):
            rows = int((arm == value).sum())
            positives = int(split.y[arm == value].sum())
            if min(positives, rows - positives) < least:
                raise NotEnoughData(
                    f"the {name} split holds {rows} {called} rows, {positives} of them positive, "
                    f"and needs {least} positive and {least} negative ones",
                    field=data.problem.name,
                    remedy="run the test longer or on more people, both arms at a time",
                )
    _require_randomised(data)


def _recorded(data: TrainingSet, name: str, split: Split) -> Floats:
    """The arm [n] of a split, if it can be what was drawn."""
    if split.arm is None or split.propensity is None:
        raise NotEnoughData(
            "an effect is learnt from rows that say which arm was drawn and with which probability",
            field=data.problem.name,
            remedy="give each row `arm` and `propensity`",
        )
    if not np.isin(split.arm, (0.0, 1.0)).all():
        raise InvalidInput(f"holds other values than 0 and 1 in the {name} split", field="arm")
    inside = (split.propensity > 0) & (split.propensity < 1)
    if not inside.all():
        raise InvalidInput(
            f"must lie inside (0, 1), and {int((~inside).sum())} rows of the {name} split do not",
            field="propensity",
            value=float(split.propensity[~inside][0]),
            remedy="leave out rows whose arm was certain: nothing can be learnt from them",
        )
    return split.arm


def _require_randomised(data: TrainingSet) -> None:
    found = pseudo_outcomes.predictable(data)
    if found.correlation > PREDICTABLE and found.sds > SURELY:
        raise InvalidInput(
            f"was not drawn with the recorded probabilities: features tell it (correlation {found.correlation:.2f}, "
            f"{found.sds:.0f} standard deviations of chance), so the arms were different people from the start",
            field=f"arm of {data.problem.name}",
            remedy="give the probability each row was drawn with, or only rows that were randomised",
        )


def _baseline(data: TrainingSet) -> Floats:
    """Everybody has the average effect of the train split: treat all or none."""
    effect = average_effect(data.train.y, *pseudo_outcomes.arms(data.train))
    return np.full(len(data.test), effect)


def _evaluate(data: TrainingSet, model: Floats, simple: Floats, rng: np.random.Generator) -> Evaluation:
    arm, propensity = pseudo_outcomes.arms(data.test)
    return uplift.evaluate(data.test.y, arm, propensity, model, simple, data.test.person, rng)


def _score(split: Split, answers: Floats, name: str) -> Callable[[Floats | None], float]:
    arm, propensity = pseudo_outcomes.arms(split)
    ranked = Ranked(split.y, arm, propensity, answers)
    if name not in ("qini", "auuc", "average_effect"):
        return lambda weights: float("nan")
    return lambda weights: float(getattr(ranked.under(weights), name))


kind = Kind(
    name="uplift",
    objective={"objective": "regression", "metric": "l2"},
    link="identity",
    metric="qini",
    check=_check,
    learning=pseudo_outcomes.learning_set,
    baseline=_baseline,
    calibrate=fit,
    interval=bounds,
    evaluate=_evaluate,
    score=_score,
    defaults={
        "learning_rate": 0.03,
        "num_leaves": 4,
        "min_data_in_leaf": 200,
        "feature_fraction": 0.5,
        "lambda_l2": 200.0,
    },
)
