"""Rows sorted by answer once and summed by ties under any weights: what makes hundreds of bootstrap draws cheap.

Rows with equal answers form one tie group and are never split by chance: AUC counts them half, lift and bins take them
in proportion. All figures of a yes-or-no question follow from two sums a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.evaluation.result import Bins

__all__ = ["BINS", "Moments", "Sums", "Ties"]

Floats = NDArray[np.float64]

BINS = 10
_TINY = 1e-15


class Moments(NamedTuple):
    """Sums over equal-weight bins, lowest answers first: each [k]."""

    weight: Floats
    answer: Floats
    positive: Floats
    answer_squared: Floats
    positive_answer: Floats


@dataclass(frozen=True)
class Sums:
    """Sums over the tie groups, lowest answer first: each [g]."""

    p: Floats
    """The group's answer."""
    surprise: tuple[Floats, Floats]
    """What a yes and what a no costs in log-loss at this answer."""
    weight: Floats
    positive: Floats
    """Weight of the rows with a yes."""

    @cached_property
    def upto(self) -> tuple[Floats, Floats]:
        """Weight and positive weight of the groups before each, and of all: [g + 1] each."""
        return _from_zero(self.weight), _from_zero(self.positive)

    @cached_property
    def moments(self) -> Moments:
        """Of ten bins."""
        answer, inside = self.weight * self.p, self.positive * self.p
        cumulative = (*self.upto, *map(_from_zero, (answer, answer * self.p, inside)))
        edges = np.linspace(0.0, self.upto[0][-1], BINS + 1)
        weight, positive, *others = (np.diff(np.interp(edges, self.upto[0], each)) for each in cumulative)
        return Moments(weight, others[0], positive, others[1], others[2])

    def bins(self, count: int = BINS) -> Bins:
        """Mean answer and observed rate of equal-weight bins; NaN without weight."""
        if count == BINS and self.upto[0][-1] > 0:
            return Bins(self.moments.answer / self.moments.weight, self.moments.positive / self.moments.weight)
        weight, positive = self.upto
        edges, share = np.linspace(0.0, weight[-1], count + 1), weight[-1] / count
        if not share:
            return Bins(np.full(count, np.nan), np.full(count, np.nan))
        answer = _from_zero(self.weight * self.p)
        return Bins(*(np.diff(np.interp(edges, weight, each)) / share for each in (answer, positive)))


class Ties:
    """Labels and answers of n rows, ready to be summed.

    Args:
        y: [n] labels, 0 or 1.
        p: [n] probabilities.
        weight: [n] of the rows themselves; 1 each, if None.
    """

    def __init__(self, y: Floats, p: Floats, weight: Floats | None = None) -> None:
        self._order = np.argsort(p, kind="stable")
        p = p[self._order].astype(np.float64)
        self._starts = np.flatnonzero(np.r_[True, p[1:] > p[:-1]])
        self._weight = np.ones(len(p)) if weight is None else weight[self._order].astype(np.float64)
        self._positive = self._weight * y[self._order]
        self._p = p[self._starts]
        safe = np.clip(self._p, _TINY, 1 - _TINY)
        self._surprise = (-np.log(safe), -np.log1p(-safe))

    def sums(self, weights: Floats | None = None) -> Sums:
        """The groups under further row weights [n] (1 each, if None), those of the rows themselves included."""
        weight, positive = self._weight, self._positive
        if weights is not None:
            drawn = weights[self._order]
            weight, positive = drawn * weight, drawn * positive
        return Sums(
            self._p,
            self._surprise,
            np.add.reduceat(weight, self._starts),
            np.add.reduceat(positive, self._starts),
        )


def _from_zero(values: Floats) -> Floats:
    summed = np.empty(len(values) + 1)
    summed[0] = 0.0
    np.cumsum(values, out=summed[1:])
    return summed
