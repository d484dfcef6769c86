"""Concordance: of pairs of rows whose outcomes differ, the share that the answers order rightly, ties half.

Harrell, Lee & Mark, "Multivariable prognostic models" (Statistics in Medicine, 1996). Outcomes are first put into at
most 256 levels of equal count, and pairs inside one level are not asked about: of days with a bound that is no loss,
and pairs are then counted by halving the levels eight times, each time one sum over rows already in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Concordance"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

_MOST_LEVELS = 256


class _Halving(NamedTuple):
    """Rows in blocks of levels, by answer inside each; the upper half of a block is paired with its lower half."""

    order: Places
    upper: NDArray[np.bool_]
    block: Places
    """[n] where the row's block begins."""
    below: Places
    """[n] where the rows of its block with its own answer begin,"""
    equal: Places
    """and where they end."""


class Concordance:
    """Pairs of n rows, counted under any row weights.

    Args:
        y: [n] outcomes.
        answer: [n] answers, the higher the higher the outcome is expected to be.

    >>> Concordance(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.9, 0.5])).under(np.ones(3))
    0.6666666666666666
    """

    def __init__(self, y: Floats, answer: Floats) -> None:
        self._level = _levels(y)
        rank = np.unique(answer, return_inverse=True)[1]
        bits = int(self._level.max()).bit_length()
        self._halvings = [_halving(self._level, rank, bit) for bit in reversed(range(bits))]

    def under(self, weight: Floats) -> float:
        """Under row weights [n]; NaN where no two rows with weight differ."""
        right = 0.0
        for each in self._halvings:
            w = weight[each.order]
            lower = np.concatenate(([0.0], np.cumsum(np.where(each.upper, 0.0, w))))
            found = (lower[each.below] + lower[each.equal]) / 2 - lower[each.block]
            right += float(np.where(each.upper, w, 0.0) @ found)
        by_level = np.bincount(self._level, weights=weight)
        pairs = (by_level.sum() ** 2 - by_level @ by_level) / 2
        return float(right / pairs) if pairs > 0 else float("nan")


def _levels(y: Floats) -> Places:
    """Dense levels of the outcomes, at most 256; equal outcomes are on one level."""
    distinct, level, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(distinct) <= _MOST_LEVELS:
        return level
    middle = np.cumsum(counts) - counts / 2
    coarse = (middle * _MOST_LEVELS / len(y)).astype(np.intp)
    return np.unique(coarse, return_inverse=True)[1][level]


def _halving(level: Places, rank: Places, bit: int) -> _Halving:
    block = level >> (bit + 1)
    order = np.lexsort((rank, block))
    blocks, ranks = block[order], rank[order]
    new_block = np.r_[True, np.diff(blocks) > 0]
    new_tie = new_block | np.r_[True, np.diff(ranks) != 0]
    starts = np.flatnonzero(new_tie)
    tie = np.cumsum(new_tie) - 1
    ends = np.r_[starts[1:], len(order)]
    upper = ((level[order] >> bit) & 1).astype(np.bool_)
    begins = np.flatnonzero(new_block)[np.cumsum(new_block) - 1]
    return _Halving(order, upper, begins, starts[tie], ends[tie])
