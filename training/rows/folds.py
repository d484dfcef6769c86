"""Folds of people: all rows of a person fall into one, and each fold has its share of those with a rarer outcome."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.kernel.seeds import generator

__all__ = ["by_person"]


def by_person(person: NDArray[np.str_], y: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """The fold [n] of each row, from 0: up to `most` folds, fewer where the rarer outcome has fewer people.

    So every fold has someone of the rarer outcome, and so has what is left when one fold is taken away; of an amount,
    the rarer outcome is the rarer side of its mean. One fold alone means that there is nothing to cross-fit.

    >>> by_person(np.array(["a", "b", "c", "d", "a"]), np.array([1.0, 0, 1, 0, 0]), most=4).tolist()
    [0, 0, 1, 1, 0]
    """
    names, codes = np.unique(person, return_inverse=True)
    above = y > y.mean()
    rarer = above if above.mean() <= 0.5 else ~above
    has = np.bincount(codes, rarer, minlength=len(names)) > 0
    folds = max(1, min(most, int(has.sum()), len(names)))
    dealt = generator("fold").permutation(len(names))
    order = dealt[np.argsort(~has[dealt], kind="stable")]
    fold = np.empty(len(names), dtype=np.intp)
    fold[order] = np.arange(len(names)) % folds
    return fold[codes]
