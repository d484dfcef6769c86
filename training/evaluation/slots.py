"""Does the model know which slot a person answers: the hour of the week, the channel?

What would have happened at an hour at which nothing was sent is not known, so hours are compared that were tried. Of
all that a person was sent after one cutoff, some answered and some not: is the message at the hour which the model
ranks first one of the answered? Chance is the share that was answered. *Most popular* ranks for everyone alike, by the
rate that each slot had in the train split. How gladly a person answers in general cancels out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric
from training.evaluation.bootstrap import estimate
from training.evaluation.judged import Judged
from training.evaluation.outcome import row_weights
from training.evaluation.result import Rows
from training.trainingset import Split, TrainingSet

__all__ = ["Hits", "candidates_of", "judge"]

Floats = NDArray[np.float64]

PRIOR_ROWS = 20.0
"""Rows of the mean rate that each slot's own rate is mixed with: a slot tried once is no star."""


class Hits(NamedTuple):
    """People at one cutoff who answered at some slots and not at others: each [g]."""

    person: NDArray[np.str_]
    model: Floats
    """Whether the slot the model ranks first of those tried was answered; the share of them where several are first."""
    popular: Floats
    chance: Floats


def judge(judged: Judged, rng: np.random.Generator) -> tuple[tuple[Metric, ...], dict[str, Rows]]:
    """The figure `slot_hit_rate` beside that of the most popular slot, and the tables `hits` and `slots`.

    `hits`: a row a ranking. `slots`: a row a slot that was tried: rows, mean answer, observed rate. Nothing where
    candidates cannot be told apart by their columns, or nobody answered at one slot and not at another.
    """
    data, test = judged.data, judged.data.test
    taken, learnt = candidates_of(data, test), candidates_of(data, data.train)
    if taken is None or learnt is None or data.candidates is None:
        return (), {}
    table = {"slots": _slots(test, judged.answers, taken)}
    popular = _rates(data.train, learnt, data.candidates.count)
    hits = _hits(test, taken, judged.answers, popular[taken])
    if len(np.unique(hits.person)) < 2:
        return (), table

    def rates(drawn: Floats | None) -> Floats:
        weight = np.ones(len(hits.person)) if drawn is None else drawn
        return np.array([np.average(each, weights=weight) for each in (hits.model, hits.popular, hits.chance)])

    value, low, high = estimate(rates, hits.person, rng)
    names = ("model", "most popular", "chance")
    table["hits"] = tuple(
        {
            "ranking": name,
            "hit_rate": float(value[i]),
            "low": float(low[i]),
            "high": float(high[i]),
            "people": len(hits.person),
        }
        for i, name in enumerate(names)
    )
    found = Metric(
        name="slot_hit_rate", value=float(value[0]), low=float(low[0]), high=float(high[0]), baseline=float(value[1])
    )
    return (found,), table


def candidates_of(data: TrainingSet, split: Split) -> NDArray[np.intp] | None:
    """[n] which candidate each row took, read from the columns that hold one value a candidate; None if they tie."""
    if data.candidates is None:
        return None
    fixed = [(len(data.features) + i, each.values) for i, each in enumerate(data.candidates.columns) if each.values]
    if not fixed:
        return None
    known = np.column_stack([np.asarray(values, dtype=np.float32) for _, values in fixed])
    codes = {tuple(row): i for i, row in enumerate(known.tolist())}
    if len(codes) < data.candidates.count:
        return None
    return np.array([codes[tuple(row)] for row in split.x[:, [i for i, _ in fixed]].tolist()], dtype=np.intp)


def _rates(split: Split, taken: NDArray[np.intp], count: int) -> Floats:
    """[count] how often each slot was answered, mixed with the mean."""
    weight = row_weights(split)
    mean = float(np.average(split.y, weights=weight))
    rows, yes = (np.bincount(taken, each, minlength=count) for each in (weight, weight * split.y))
    rates: Floats = (yes + PRIOR_ROWS * mean) / (rows + PRIOR_ROWS)
    return rates


def _hits(test: Split, taken: NDArray[np.intp], answers: Floats, popular: Floats) -> Hits:
    who = np.unique(test.person, return_inverse=True)[1]
    group = np.unique(np.stack([who, test.as_of.astype(np.int64)], axis=1), axis=0, return_inverse=True)[1].ravel()
    weight = row_weights(test)
    rows, yes = (np.bincount(group, each) for each in (weight, weight * test.y))
    different = np.bincount(np.unique(np.stack([group, taken], axis=1), axis=0)[:, 0], minlength=len(rows))
    told = (yes > 0) & (yes < rows) & (different > 1)
    person = np.empty(len(rows), dtype=test.person.dtype)
    person[group] = test.person
    chance = np.divide(yes, rows, out=np.zeros(len(rows)), where=rows > 0)
    model, simple = (_first(each, test.y, weight, group)[told] for each in (answers, popular))
    return Hits(person[told], model, simple, chance[told])


def _first(ranking: Floats, y: Floats, weight: Floats, group: NDArray[np.intp]) -> Floats:
    """[g] of each group, the share answered of the rows it ranks first."""
    highest = np.full(group.max() + 1, -np.inf)
    np.maximum.at(highest, group, ranking)
    first = weight * (ranking == highest[group])
    rows, yes = (np.bincount(group, each) for each in (first, first * y))
    return np.divide(yes, rows, out=np.zeros(len(rows)), where=rows > 0)


def _slots(test: Split, answers: Floats, taken: NDArray[np.intp]) -> Rows:
    weight = row_weights(test)
    total, yes, said = (np.bincount(taken, each) for each in (weight, weight * test.y, weight * answers))
    rows = np.bincount(taken)
    return tuple(
        {
            "slot": int(i),
            "rows": int(rows[i]),
            "predicted": float(said[i] / total[i]),
            "observed": float(yes[i] / total[i]),
        }
        for i in np.flatnonzero(total > 0)
    )
