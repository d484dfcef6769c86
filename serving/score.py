"""From a customer's features to a calibrated answer, by what the card says and nothing else.

The answer is what the card's kind says: a probability, of candidates that of the best one; an expected amount; or what
a treatment adds to a probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Candidates, Card
from serving.bundles import Bundle
from serving.known import Known, Rung, Value
from serving.model import Floats

__all__ = ["Computed", "Scored", "answers", "calibrate", "candidate_label", "compute", "matrix", "score"]


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer, and of a problem with candidates the probability of each."""

    value: float
    """In the card's unit."""
    rung: Rung
    age_seconds: float | None
    low: float | None = None
    """Bounds of the card's interval at this answer; None where the card has none, or nothing of the customer's own
    was scored."""
    high: float | None = None
    best: int | None = None
    """Index of the candidate with the greatest probability (the first of equals)."""
    candidates: Floats | None = None
    """Calibrated probability of every candidate [count]."""


@dataclass(frozen=True, slots=True)
class Computed:
    """What the model made of the m customers it could compute; the others stand on the rung `prior`."""

    places: list[int]
    """[m]: which of the customers asked about."""
    rows: NDArray[np.float32]
    """[m, width]: the model's inputs, of a problem with candidates those of the best one."""
    raw: Floats
    """[m]: raw scores."""
    values: Floats
    """[m]: answers."""
    best: Sequence[int | None]
    """[m]: the best candidate."""
    candidates: Sequence[Floats | None]
    """[m]: the probability of each candidate [count]."""


def score(bundle: Bundle, known: Sequence[Known]) -> list[Scored]:
    """Score each customer, in order; those on `prior`, and all where the model is broken, get the card's prior."""
    return answers(bundle, known, compute(bundle, known))


def compute(bundle: Bundle, known: Sequence[Known]) -> Computed | None:
    """What the model makes of those whose features are known; None where there is nobody, or no model."""
    places = [i for i, each in enumerate(known) if each.rung != "prior"]
    if bundle.booster is None or not places:
        return None
    rows = matrix(bundle, [known[i].values for i in places])
    raw = bundle.booster.raw(rows)
    values = calibrate(bundle, raw)
    if bundle.card.candidates is None:
        nothing = [None] * len(places)
        return Computed(places, rows, raw, values, nothing, nothing)
    by_candidate = values.reshape(len(places), -1)
    best = np.argmax(by_candidate, axis=1)
    chosen = np.arange(len(places)) * bundle.card.candidates.count + best
    return Computed(places, rows[chosen], raw[chosen], values[chosen], best.tolist(), list(by_candidate))


def answers(bundle: Bundle, known: Sequence[Known], computed: Computed | None) -> list[Scored]:
    """One answer a customer, in order."""
    card = bundle.card
    scored = [Scored(card.prior, "prior", each.age_seconds) for each in known]
    if computed is None:
        return scored
    found = zip(
        computed.places,
        computed.values.tolist(),
        _bounds(card, computed.values),
        computed.best,
        computed.candidates,
        strict=True,
    )
    for place, value, bounds, best, candidates in found:
        rung, age = known[place].rung, known[place].age_seconds
        # Typical values are nobody's own: how far off their answer is, is not known.
        low, high = bounds if rung != "default" else _UNBOUND
        scored[place] = Scored(value, rung, age, low, high, best, candidates)
    return scored


_UNBOUND = (None, None)


def _bounds(card: Card, values: Floats) -> Iterable[tuple[float | None, float | None]]:
    """Of each answer its interval, by the card's."""
    interval = card.interval
    if interval is None:
        return repeat(_UNBOUND, len(values))
    low, high = (np.interp(values, interval.value, bound).tolist() for bound in (interval.low, interval.high))
    return zip(low, high, strict=True)


def calibrate(bundle: Bundle, raw: Floats) -> Floats:
    """Raw scores to answers: linear between the card's knots, constant beyond them."""
    return np.interp(raw, *bundle.knots)


def matrix(bundle: Bundle, rows: Sequence[Mapping[str, Value]]) -> NDArray[np.float32]:
    """Rows of values by reference as the model's input: [n, width], or [n · count, width] with candidates.

    Rounded to float32, as training saw them: a value near a threshold falls on the same side of it. A category becomes
    its place in the vocabulary; what is missing, or was not seen in training, becomes NaN.
    """
    cells = [_cells(bundle, row) for row in rows]
    with np.errstate(over="ignore"):  # beyond float32 is infinite, in training too
        inputs = np.array(cells, dtype=np.float32).reshape(len(rows), len(bundle.inputs))
        return inputs if bundle.card.candidates is None else _spread(bundle.card.candidates, inputs, rows)


def _cells(bundle: Bundle, row: Mapping[str, Value]) -> list[float]:
    cells = [value if (value := row.get(ref)).__class__ is float else _number(value) for ref in bundle.inputs]
    for i, ref, codes in bundle.categories:
        cells[i] = codes.get(row.get(ref), math.nan)  # type: ignore[arg-type]  # what is no text has no code
    return cells


def _spread(
    candidates: Candidates, inputs: NDArray[np.float32], rows: Sequence[Mapping[str, Value]]
) -> NDArray[np.float32]:
    """One row a candidate: the customer's inputs, then the candidate's columns."""
    count, first = candidates.count, inputs.shape[1]
    spread = np.empty((len(rows) * count, first + len(candidates.columns)), np.float32)
    spread[:, :first] = np.repeat(inputs, count, axis=0)
    for j, column in enumerate(candidates.columns, start=first):
        if column.values:
            spread[:, j] = np.tile(np.asarray(column.values), len(rows))
        else:
            spread[:, j] = [_number(row.get(ref)) for row in rows for ref in column.refs]
    return spread


def _number(value: Value) -> float:
    return math.nan if value is None or isinstance(value, str) else value


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEK = 168


def candidate_label(card: Card, candidate: int) -> str:
    """A candidate in words: its label, an hour of the week (local time, Monday 00:00 is 0), else its number."""
    if card.candidates is not None and card.candidates.labels:
        return card.candidates.labels[candidate]
    if card.candidates is not None and card.candidates.count == _WEEK:
        return f"{_DAYS[candidate // 24]} {candidate % 24:02d}:00"
    return str(candidate)
