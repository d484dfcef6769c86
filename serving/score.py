"""From a customer's features to a calibrated probability, by what the card says and nothing else.

Every answer stands on a rung: `fresh`, `stale` (features older than their TTL), `default` (customer unknown: the
card's typical values) or `prior` (no store, or a damaged model: the base rate). A missing dependency lowers the rung.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.kernel.card import Card
from features.kernel.errors import NotFound, Unavailable
from features.vectors import Value, VectorReader
from serving.bundles import Bundle
from serving.model import Floats

__all__ = ["PRIOR", "Known", "Rung", "Scored", "Value", "calibrate", "candidate_label", "look_up", "matrix", "score"]

_log = logging.getLogger(__name__)

Rung = Literal["fresh", "stale", "default", "prior"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about one customer when a question is answered."""

    rung: Rung
    values: Mapping[str, Value]
    """By feature reference; empty on the rung `prior`."""
    age_seconds: float | None = None
    """Age of the oldest feature, where features were read."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer: calibrated probability, and of a problem with candidates the probability of each."""

    probability: float
    rung: Rung
    age_seconds: float | None
    best: int | None = None
    """Index of the candidate with the greatest probability (the first of equals)."""
    candidates: Floats | None = None
    """Calibrated probability of every candidate [count]."""


PRIOR = Known("prior", {})
"""Nothing could be read."""


def look_up(
    reader: VectorReader | None,
    customers: Sequence[str],
    refs: Sequence[str],
    defaults: Mapping[str, Value],
    ttl_seconds: float,
) -> list[Known]:
    """Read each customer's features; one `Known` a customer, in order. Never raises for a store that is away.

    Args:
        reader: the online store, or None while there is none.
        defaults: values of an unknown customer, by reference.
        ttl_seconds: age beyond which features are `stale`, as are those that outlived their own view's TTL.
    """
    if reader is None:
        return [PRIOR] * len(customers)
    try:
        vectors = reader.read_vectors(customers, refs)
    except (Unavailable, NotFound) as error:  # NotFound: the model asks for a feature that the store no longer has
        _log.warning("scoring on the rung prior: %s", error)
        return [PRIOR] * len(customers)
    typical = Known("default", {ref: defaults.get(ref) for ref in refs})
    found = []
    rows = zip(vectors.values, vectors.age_seconds, vectors.known, vectors.expired, strict=True)
    for values, age, known, expired in rows:
        seconds = None if math.isnan(age) else float(age)
        rung: Rung = "stale" if seconds is None or seconds > ttl_seconds or expired else "fresh"
        found.append(Known(rung, dict(zip(refs, values, strict=True)), seconds) if known else typical)
    return found


def matrix(bundle: Bundle, rows: Sequence[Mapping[str, Value]]) -> Floats:
    """Rows of values by reference as the model's input: [n, width], or [n · count, width] with candidates.

    A category becomes its place in the vocabulary; what is missing, or was not seen in training, becomes NaN.
    """
    card = bundle.card
    codes = [bundle.codes.get(each.ref) if each.dtype == "category" else None for each in card.features]
    categorical = [each.dtype == "category" for each in card.features]
    inputs = np.empty((len(rows), len(card.features)))
    for i, row in enumerate(rows):
        for j, feature in enumerate(card.features):
            value = row.get(feature.ref)
            inputs[i, j] = _coded(value, codes[j] or {}) if categorical[j] else _number(value)
    if card.candidates is None:
        return inputs
    count, first = card.candidates.count, len(card.features)
    spread = np.empty((len(rows) * count, first + len(card.candidates.columns)))
    spread[:, :first] = np.repeat(inputs, count, axis=0)
    for j, column in enumerate(card.candidates.columns, start=first):
        if column.values:
            spread[:, j] = np.tile(np.asarray(column.values), len(rows))
        else:
            spread[:, j] = [_number(row.get(ref)) for row in rows for ref in column.refs]
    return spread


def calibrate(bundle: Bundle, raw: Floats) -> Floats:
    """Raw log-odds to probability: linear between the card's knots, constant beyond them."""
    knots = bundle.card.calibration
    return np.interp(raw, knots.raw, knots.value)


def score(bundle: Bundle, known: Sequence[Known]) -> list[Scored]:
    """Score each customer, in order; those on `prior`, and all where the model is broken, get the base rate."""
    answers: list[Scored] = [Scored(bundle.card.prior, "prior", each.age_seconds) for each in known]
    scorable = [i for i, each in enumerate(known) if each.rung != "prior"]
    if bundle.booster is None or not scorable:
        return answers
    probabilities = calibrate(bundle, bundle.booster.raw(matrix(bundle, [known[i].values for i in scorable])))
    if bundle.card.candidates is None:
        for i, probability in zip(scorable, probabilities.tolist(), strict=True):
            answers[i] = Scored(probability, known[i].rung, known[i].age_seconds)
        return answers
    for i, each in zip(scorable, probabilities.reshape(len(scorable), -1), strict=True):
        best = int(np.argmax(each))
        answers[i] = Scored(float(each[best]), known[i].rung, known[i].age_seconds, best, each)
    return answers


def _coded(value: Value, codes: Mapping[str, int]) -> float:
    return float(codes.get(value, math.nan)) if isinstance(value, str) else math.nan


def _number(value: Value) -> float:
    return math.nan if value is None or isinstance(value, str) else value


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEK = 168


def candidate_label(card: Card, candidate: int) -> str:
    """A candidate in words: an hour of the week (local time, Monday 00:00 is 0), else its number."""
    if card.candidates is not None and card.candidates.count == _WEEK:
        return f"{_DAYS[candidate // 24]} {candidate % 24:02d}:00"
    return str(candidate)
