"""Figures of a predicted effect, on randomised rows sorted once: what makes hundreds of bootstrap draws cheap.

Whom to treat is a ranking. If the share s of people with the highest predicted effects is treated and nobody else,

    gain(s) = [T(s) - C(s) · n_T(s) / n_C(s)] / n_T(1)

is what that adds per treated customer of the whole experiment, T and C being the outcomes of treated and control rows
among that share, n_T and n_C how many rows these are, each row weighted with the inverse of the probability of the arm
it was given (Radcliffe, "Using control groups to target on predicted lift", 2007). gain(1) is the average effect, and a
random ranking lies on the line s · gain(1). The Qini coefficient is the area between curve and line, AUUC the area
under the curve. Rows with equal answers form one tie group, crossed in a straight line: a constant answer has Qini 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parts", "Ranked", "Sums", "average_effect"]

Floats = NDArray[np.float64]

_TREATED, _TREATED_Y, _CONTROL, _CONTROL_Y, _ROWS, _ANSWERS = range(6)


class Parts(NamedTuple):
    """Equal shares of the rows, lowest answers first: each [k]. An arm that is empty in a part gives NaN."""

    predicted: Floats
    treated: Floats
    """Mean outcome of the treated rows."""
    control: Floats

    @property
    def effect(self) -> Floats:
        """What the treatment added."""
        return self.treated - self.control


class Sums:
    """What the rows of `Ranked` add up to under some weights: sums [6, m + 1] over tie groups, best first, from 0."""

    def __init__(self, total: Floats) -> None:
        self._total = total

    @property
    def average_effect(self) -> float:
        """Mean outcome of all treated rows less that of all control rows."""
        end = self._total[:, -1]
        return float(end[_TREATED_Y] / end[_TREATED] - end[_CONTROL_Y] / end[_CONTROL])

    @property
    def auuc(self) -> float:
        """Area under the curve, per treated customer."""
        share, gained = self.curve()
        return float(np.sum(np.diff(share) * (gained[1:] + gained[:-1]) / 2))

    @property
    def qini(self) -> float:
        """Area between the curve and the random line."""
        return self.auuc - self.average_effect / 2

    def curve(self) -> tuple[Floats, Floats]:
        """Share treated, best first, and what is gained per treated customer: [m + 1] each, from (0, 0)."""
        total = self._total
        ratio = np.divide(total[_TREATED], total[_CONTROL], out=np.zeros(total.shape[1]), where=total[_CONTROL] > 0)
        gained = (total[_TREATED_Y] - total[_CONTROL_Y] * ratio) / total[_TREATED, -1]
        return total[_ROWS] / total[_ROWS, -1], gained

    def parts(self, count: int) -> Parts:
        """The rows in `count` parts of equal weight, lowest answers first; ties are shared out in proportion."""
        total = self._total
        edges = np.linspace(0.0, total[_ROWS, -1], count + 1)
        inside = np.stack([np.diff(np.interp(edges, total[_ROWS], each)) for each in total])[:, ::-1]
        return Parts(
            inside[_ANSWERS] / inside[_ROWS],
            _ratio(inside[_TREATED_Y], inside[_TREATED]),
            _ratio(inside[_CONTROL_Y], inside[_CONTROL]),
        )


class Ranked:
    """Outcomes of n randomised rows, sorted by predicted effect.

    Args:
        y: [n] outcomes.
        arm: [n] 1 treated, 0 control.
        propensity: [n] probability of arm 1.
        answer: [n] predicted effects.

    >>> treated, y = np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 1])
    >>> Ranked(y, treated, np.full(4, 0.5), np.array([0.2, 0.2, 0.1, 0.1])).under().qini
    0.25
    """

    def __init__(self, y: Floats, arm: Floats, propensity: Floats, answer: Floats) -> None:
        self._order = np.argsort(-answer, kind="stable")
        y, arm, answer = y[self._order], arm[self._order], answer[self._order].astype(np.float64)
        chance = np.where(arm == 1, propensity[self._order], 1 - propensity[self._order])
        treated, control = arm / chance, (1 - arm) / chance
        self._columns = np.stack([treated, treated * y, control, control * y, np.ones(len(y)), answer])
        self._starts = np.flatnonzero(np.r_[True, np.diff(answer) < 0])

    def under(self, weights: Floats | None = None) -> Sums:
        """The rows under weights [n] (1 each, if None)."""
        columns = self._columns if weights is None else self._columns * weights[self._order]
        return Sums(_from_zero(np.add.reduceat(columns, self._starts, axis=1)))

    def reranked(self, group: NDArray[np.int64]) -> Sums:
        """The rows in another ranking: by group [n], 0 first."""
        own = group[self._order]
        return Sums(_from_zero(np.stack([np.bincount(own, weights=each) for each in self._columns])))


def average_effect(y: Floats, arm: Floats, propensity: Floats, weights: Floats | None = None) -> float:
    """Mean outcome of the treated less that of the control rows, inverse-propensity weighted (Hájek, 1971)."""
    given = np.ones(len(y)) if weights is None else weights
    treated, control = given * arm / propensity, given * (1 - arm) / (1 - propensity)
    return float(treated @ y / treated.sum() - control @ y / control.sum())


def _from_zero(sums: Floats) -> Floats:
    return np.concatenate([np.zeros((len(sums), 1)), np.cumsum(sums, axis=1)], axis=1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))
