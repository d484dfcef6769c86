"""Few rows: what to learn when trees would learn noise, and when to say that nothing can be learnt.

By rows of the rarer class in the train split, which must be of `LEAST_PEOPLE` people at least:

| rows | learner |
|---|---|
| `TREES` and more | LightGBM |
| `LEAST` to that | a logistic regression on the columns of the problem's baseline, shrunk towards the pooled prior |
| fewer | none: `NotEnoughData` names the split, what it holds and what is needed |

The logistic regression is written as a LightGBM model, so that it is served, explained and registered like any other:
each tree splits on one column, and together they repeat its log-odds. Its shrinkage is chosen by cross-validation over
people, as strong as the noise allows; at the strongest, everyone gets nearly the base rate. What it has to beat is the
base rate, for it is itself the baseline of larger data. Its intervals (`training.calibration.confidence`) are as wide
as few rows make them.

Log-loss on later rows, trees less logistic, where people were left out until so many rows of the rarer class remained
(two simulated truths; positive: the logistic is better): 30: +.036 and +.001; 80: +.006 and +.004; 120: +.000 and
+.001; 200: −.004 and −.002; 300: −.013 and −.002; 1,000: −.025. On the market's problems the two are equal at 60, and
trees are better by .001 to .011 at 120. On labels that are noise the logistic loses at most .0003 to the base rate, at
20 rows as at 100. Where the baseline's columns are poor and others tell much (Bank Marketing), trees win at 60 already.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from features.kernel.card import Card
from features.kernel.errors import NotEnoughData
from features.kernel.seeds import generator
from training import baseline, losses
from training.booster import Model, additive
from training.rows import folds
from training.trainingset import Split, TrainingSet

__all__ = [
    "LEAST",
    "LEAST_LATER",
    "LEAST_PEOPLE",
    "TREES",
    "Learner",
    "Logistic",
    "base_rate",
    "check",
    "learner",
    "said",
]

Floats = NDArray[np.float64]
Learner = Literal["trees", "logistic"]

TREES = 120
"""Where the two learners are equal (above)."""
LEAST, LEAST_LATER = 20, 10
"""With fewer to fit, the shrinkage itself cannot be told from noise; with fewer to judge, no figure can."""
LEAST_PEOPLE = 8
"""Rows of fewer people, however many, say what these people do; every fold and nearly every draw of them needs one."""

_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Of the penalty's inverse, strongest first."""
_FOLDS = 4
_DESIGN = 8_000


def check(data: TrainingSet) -> None:
    """Whether a yes-or-no question can be learnt and judged at all.

    Raises:
        NotEnoughData: too few rows of a class, or of too few people; names split, counts and what is needed.
    """
    for name, split in data.splits.items():
        positives = int(split.y.sum())
        negatives = len(split) - positives
        least = LEAST if name == "train" else LEAST_LATER
        if min(positives, negatives) < least:
            raise NotEnoughData(
                f"the {name} split holds {positives} positive and {negatives} negative rows, and needs {least} of each",
                field=data.problem.name,
                remedy="import more history or more people",
            )
        people = min(len(np.unique(split.person[split.y == label])) for label in (0, 1))
        if people < LEAST_PEOPLE:
            raise NotEnoughData(
                f"the rows of one outcome in the {name} split are of {people} people, and {LEAST_PEOPLE} are needed",
                field=data.problem.name,
                remedy="import more people",
            )


def learner(data: TrainingSet) -> Learner:
    """What the train split is enough for."""
    return "trees" if _rarer(data) >= TREES else "logistic"


def base_rate(data: TrainingSet) -> Floats:
    """What the logistic regression has to beat [n]: of each row of the test split the train split's share of yes."""
    return np.full(len(data.test), np.average(data.train.y, weights=data.train.weight))


def said(card: Card, data: TrainingSet) -> Card:
    """The card of a logistic regression: what was learnt, against what, and why."""
    few = (
        f"Only {_rarer(data)} rows of the rarer outcome to learn from, and trees need {TREES}: the model is a logistic "
        f"regression on {', '.join(_columns(data))}, shrunk towards the base rate."
    )
    return msgspec.structs.replace(card, baseline="the base rate of the training rows", limits=(*card.limits, few))


def _columns(data: TrainingSet) -> tuple[str, ...]:
    """The baseline's columns; all, where it names none."""
    return data.problem.baseline or tuple(data.inputs)


def _rarer(data: TrainingSet) -> int:
    positives = int(data.train.y.sum())
    return min(positives, len(data.train) - positives)


class Logistic:
    """A shrunken logistic regression on the columns of the baseline, in the shape of `training.booster.Trainer`."""

    def __init__(self, data: TrainingSet) -> None:
        self._data = data
        self._taken = [data.inputs.index(name) for name in _columns(data)]

    def fit(self) -> Model:
        """Choose the shrinkage, fit the train split, and write it down as trees."""
        train, validation = self._data.train, self._data.validation
        strength = self._strength(folds.by_person(train.person, train.y, _FOLDS))
        fitted = self._fitted(train, np.ones(len(train), dtype=bool), strength)
        design = self._design()
        text, trees = additive(
            design, self._raw(fitted, design), self._data.columns, self._data.categories, self._taken
        )
        written = Model(text, {}, trees, 0.0)
        off = np.abs(written.raw(validation.x) - self._raw(fitted, validation.x)).max()
        loss = losses.by_row({"metric": "binary_logloss"}, written.raw(validation.x), validation.y)
        return Model(
            text=text,
            parameters={"strength": strength, "largest_deviation": round(float(off), 4)},
            rounds=trees,
            validation_loss=float(np.average(loss, weights=validation.weight)),
            learner="logistic",
        )

    def out_of_fold(self, model: Model) -> Floats:
        """Log-odds [n] of the train split, each by a regression that was not fitted on its person."""
        train = self._data.train
        return self._held_out(folds.by_person(train.person, train.y, _FOLDS), float(model.parameters["strength"]))

    def _strength(self, fold: NDArray[np.intp]) -> float:
        """The strongest penalty whose log-loss on held-out people is within one standard error of the least."""
        train = self._data.train
        weight = np.ones(len(train)) if train.weight is None else train.weight
        loss = [losses.by_row({"metric": "binary_logloss"}, self._held_out(fold, each), train.y) for each in _STRENGTHS]
        best = loss[int(np.argmin([np.average(each, weights=weight) for each in loss]))]
        return next(
            strength
            for strength, each in zip(_STRENGTHS, loss, strict=True)
            if np.average(each - best, weights=weight) <= losses.noise(each - best, weight, train.person)
        )

    def _held_out(self, fold: NDArray[np.intp], strength: float) -> Floats:
        train, raw = self._data.train, np.empty(len(self._data.train))
        for held_out in range(int(fold.max()) + 1):
            out = fold == held_out
            raw[out] = self._raw(self._fitted(train, ~out, strength), train.x[out])
        return raw

    def _fitted(self, split: Split, rows: NDArray[np.bool_], strength: float) -> Any:
        model = make_pipeline(baseline.columns(self._data, self._taken), LogisticRegression(C=strength, max_iter=1000))
        weight = None if split.weight is None else split.weight[rows]
        return model.fit(split.x[rows][:, self._taken], split.y[rows], logisticregression__sample_weight=weight)

    def _raw(self, fitted: Any, x: NDArray[np.float32]) -> Floats:
        return np.asarray(fitted.decision_function(x[:, self._taken]), dtype=np.float64)

    def _design(self) -> NDArray[np.float32]:
        """Rows [8000, k] whose columns have the train split's values, finely, independent of each other.

        Independent, so that each column's part can be told from the others'; some of it missing, so that it is known
        what a missing value means even where none was.
        """
        made, rng = np.full((_DESIGN, self._data.train.x.shape[1]), np.nan, dtype=np.float32), generator("design")
        for column in self._taken:
            values = self._data.train.x[:, column]
            known = np.sort(values[~np.isnan(values)])
            missing = max(_DESIGN // 100, round(_DESIGN * (1 - len(known) / len(values))))
            place = np.linspace(0, max(len(known) - 1, 0), max(0, _DESIGN - missing))
            if not len(known):
                continue
            category = column in self._data.categories
            spread = (
                known[place.round().astype(np.intp)] if category else np.interp(place, np.arange(len(known)), known)
            )
            made[: len(spread), column] = spread
            made[:, column] = rng.permutation(made[:, column])
        return made
