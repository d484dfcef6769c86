"""A model must not live on a column that knows the answer.

Three signs. An input that the leak guard refused and nobody allowed: a mistake in building the set, and refused. One
that was allowed on the record: let through, with its name. And a column that alone tells yes from no nearly without
error (AUC of .99 on the test split): of features with a recorded time that is a warning and not a refusal, for a real
sign can be that strong (a cancellation already booked), but seldom is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from features.kernel.seeds import generator
from training.evaluation.figures import Sorted
from training.evaluation.outcome import row_weights
from training.gate import Answer, Evidence, Gate, failed, passed, warned
from training.trainingset import Split, TrainingSet

__all__ = ["IMPLAUSIBLE", "gate", "strongest"]

Floats = NDArray[np.float64]

IMPLAUSIBLE = 0.99
LEAST = 15
_SAMPLE = 20_000


def _check(evidence: Evidence) -> Answer:
    data = evidence.data
    inputs = set(data.inputs)
    smuggled = [each.column for each in data.refused if not each.kept and each.column in inputs]
    if smuggled:
        return failed(f"{len(smuggled)} inputs were refused by the leak guard and are there: {', '.join(smuggled)}")
    name, strength = strongest(data)
    allowed = [f"{each.column} ({each.code})" for each in data.refused if each.allowed and each.column in inputs]
    if allowed:
        return warned(f"{len(allowed)} inputs the leak guard refused were allowed on the record: {', '.join(allowed)}")
    figure = f"{name} alone ranks the test rows with an AUC of {strength:.3f}, the strongest of {len(inputs)} inputs"
    return passed(figure) if strength < IMPLAUSIBLE else warned(f"{figure}: does it know the answer?")


def strongest(data: TrainingSet) -> tuple[str, float]:
    """The input that alone tells the rows best, and its AUC on a sample of the test split, in either direction.

    Of an amount a yes is one above the mean. With fewer than 15 of either nothing is told.
    """
    test = data.test
    chosen = np.sort(generator("strongest", data.problem.name).permutation(len(test))[:_SAMPLE])
    yes, weight = _yes(test.y)[chosen], row_weights(test)[chosen]
    if min(yes.sum(), len(yes) - yes.sum()) < LEAST:
        return data.inputs[0], 0.5
    found = [Sorted(yes, each, weight).figures(names=("auc",))["auc"] for each in _columns(data, chosen)]
    strength = np.maximum(found, 1 - np.array(found))
    return data.inputs[int(strength.argmax())], float(strength.max())


def _columns(data: TrainingSet, chosen: NDArray[np.intp]) -> Iterator[Floats]:
    """Each input of the chosen test rows as something to rank by: what is missing is below all numbers."""
    for i in range(data.test.x.shape[1]):
        values = data.test.x[chosen, i].astype(np.float64)
        if i in data.categories:
            values = _rates(data.train, i, len(data.features[i].vocabulary))[_codes(values)]
        yield np.where(np.isnan(values), -np.inf, values)


def _rates(train: Split, i: int, categories: int) -> Floats:
    """[categories + 1] share of yes in the train split by category, that of what is missing first."""
    codes, yes = _codes(train.x[:, i].astype(np.float64)), _yes(train.y)
    rows, hits = np.bincount(codes, minlength=categories + 1), np.bincount(codes, yes, minlength=categories + 1)
    rates: Floats = (hits + yes.mean()) / (rows + 1)
    return rates


def _codes(values: Floats) -> NDArray[np.intp]:
    return np.where(np.isnan(values), 0, np.nan_to_num(values) + 1).astype(np.intp)


def _yes(y: Floats) -> Floats:
    return np.where(y > y.mean(), 1.0, 0.0)


gate = Gate(code="KT104", title="rests on no column that knows the answer", severity="refuse", check=_check)
