"""What an analyst would do about orders without any training rows: the simple models of `clv` and `next_order`.

BG/NBD (`training.amounts.bgnbd`) counts the orders to come from frequency, recency and age, Gamma-Gamma
(`training.amounts.gamma_gamma`) says what each is worth. Both are fitted on the histories known at the last training
cutoff, each person once, and need no label; only the level of the answers is set so that their total on those rows is
right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.kernel.seeds import generator
from training.amounts import bgnbd, gamma_gamma
from training.amounts.bgnbd import History
from training.problem import Simple
from training.trainingset import Split, TrainingSet

__all__ = ["RFM", "orders", "revenue", "wait"]

Floats = NDArray[np.float64]

RFM = ("orders:count_total", "orders:days_since_last", "orders:days_since_first", "orders:average_value")
"""What they read: frequency, recency, age and mean order value."""
_MOST_PEOPLE = 20_000
"""Histories that the four parameters are fitted on at most."""


def _orders(data: TrainingSet) -> Floats:
    """Expected numbers [n] of orders of the test split."""
    fitted, days = _newest(data.train), data.problem.horizon.days
    known = _rfm(data, fitted)[0]
    counts = bgnbd.fit(known)
    return _levelled(counts.expected(known, days), fitted, counts.expected(_rfm(data, data.test)[0], days))


def _revenue(data: TrainingSet) -> Floats:
    """Expected amounts [n] of the test split: expected orders × expected value."""
    fitted = _newest(data.train)
    known, orders, value = _rfm(data, fitted)
    counts, worth = bgnbd.fit(known), gamma_gamma.fit(orders, value)

    def answers(known: History, orders: Floats, value: Floats) -> Floats:
        return counts.expected(known, data.problem.horizon.days) * worth.expected(orders, value)

    return _levelled(answers(known, orders, value), fitted, answers(*_rfm(data, data.test)))


def _wait(data: TrainingSet) -> Floats:
    """Expected days [n] of the test split until the next order, or until the horizon."""
    fitted = _newest(data.train)
    counts = bgnbd.fit(_rfm(data, fitted)[0])

    def answers(split: Split) -> Floats:
        return counts.wait(_rfm(data, split)[0], data.problem.horizon.days)

    return _levelled(answers(fitted), fitted, answers(data.test))


def _levelled(at_fit: Floats, fitted: Split, answers: Floats) -> Floats:
    return answers * float(fitted.y.sum() / at_fit.sum())


def _newest(split: Split) -> Split:
    """The rows at the last cutoff, where each person stands once."""
    rows = np.flatnonzero(split.as_of == split.as_of.max())
    if len(rows) > _MOST_PEOPLE:
        rows = np.sort(generator("buy till you die").permutation(rows)[:_MOST_PEOPLE])
    return Split(split.x[rows], split.y[rows], split.person[rows], split.as_of[rows])


def _rfm(data: TrainingSet, split: Split) -> tuple[History, Floats, Floats]:
    """Histories, numbers of orders and mean order values [n], the mean of all where one is missing."""
    orders, last, first, value = (split.x[:, data.inputs.index(ref)].astype(np.float64) for ref in RFM)
    repeats, age = np.maximum(orders - 1, 0.0), np.maximum(first, 0.0)
    since_first = np.where(repeats > 0, np.clip(age - last, 0.0, age), 0.0)
    return History(repeats, since_first, age), orders, np.where(value > 0, value, np.nanmean(value))


orders = Simple("BG/NBD on frequency, recency and age", _orders)
revenue = Simple("BG/NBD × Gamma-Gamma on frequency, recency, age and mean order value", _revenue)
wait = Simple("BG/NBD on frequency, recency and age", _wait)
