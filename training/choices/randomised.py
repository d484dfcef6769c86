"""What was chosen for people (an hour, a channel): was it drawn by chance, and what makes up for uneven chances.

Only a choice that did not look at the person tells what the choice itself does. Where the chance of each choice is
known, rows are weighted by its stabilised inverse (Robins, Hernán & Brumback, "Marginal structural models and causal
inference in epidemiology", 2000), clipped (Cole & Hernán, "Constructing inverse probability weights", 2008). Where it
is not, a permutation test says whether the choice can be told from what was known of the person; if it can, the choices
are compared as they came, and the card says that no cause was shown.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["LARGEST_WEIGHT", "Dependence", "dependence", "known_chances", "limits", "one_hot", "stabilised"]

Floats = NDArray[np.float64]

LEAST_KNOWN = 200
"""Rows of known chance beyond which all others are left out."""
LARGEST_WEIGHT = 10.0
"""Weights are clipped to this and its inverse."""
MOST_ROWS, PERMUTATIONS = 20_000, 199
LEAST_EFFECTIVE = 0.5
"""Effective share of weighted rows below which the card says so."""
CHANCE, SLIGHT = 0.01, 0.001
"""A choice depends on the person where p is below the one and the share of variance explained above the other."""


class Dependence(NamedTuple):
    """How far a choice can be told from what was known of the person."""

    explained: float
    """Share of the choice's variance that is explained, beyond what is by chance."""
    p: float
    """Of the permutation test, 1 / 200 at least."""

    @property
    def shown(self) -> bool:
        """Whether the choice was made by who the person is."""
        return self.p < CHANCE and self.explained > SLIGHT


def stabilised(taken: pl.Expr, chance: pl.Expr) -> pl.Expr:
    """Weight of each row: the share of rows that took the same, over the chance that this row would; clipped."""
    share = pl.len().over(taken) / pl.len()
    return (share / chance).clip(1 / LARGEST_WEIGHT, LARGEST_WEIGHT)


def known_chances(rows: pl.DataFrame, chance: str) -> pl.DataFrame:
    """The rows whose chance is known, if there are 200 of them; else all rows, as if none were."""
    known = rows.filter(pl.col(chance).is_not_null())
    if len(known) >= LEAST_KNOWN:
        return known
    return rows.with_columns(pl.lit(None, pl.Float64).alias(chance))


def dependence(chosen: Floats, traits: Floats, stratum: NDArray[np.int64], rng: np.random.Generator) -> Dependence:
    """Whether a choice depends on the person, within strata in which it need not be the same.

    The statistic is the share of the variance of `chosen` that a linear regression on `traits` explains, both centred
    within strata; its null comes from permuting the choices within strata, so that what many traits explain by chance
    is no evidence.

    Args:
        chosen: [n, c], of each row one column a choice, as `one_hot` gives them.
        traits: [n, p], numbers known of the person beforehand.
        stratum: [n].
    """
    if len(chosen) > MOST_ROWS:
        few = rng.choice(len(chosen), MOST_ROWS, replace=False)
        chosen, traits, stratum = chosen[few], traits[few], stratum[few]
    order = np.argsort(stratum, kind="stable")
    groups = np.unique(stratum[order], return_inverse=True)[1]
    y, x = _centred(chosen[order], groups), _centred(traits[order], groups)
    spread = np.linalg.norm(x, axis=0)
    basis, triangle = np.linalg.qr(x[:, spread > 0] / spread[spread > 0])
    basis = basis[:, np.abs(np.diag(triangle)) > 1e-8]
    total = float(np.square(y).sum())
    if total == 0 or not basis.size:
        return Dependence(0.0, 1.0)
    seen = np.square(basis.T @ y).sum() / total
    null = [np.square(basis.T @ y[np.lexsort((rng.random(len(y)), groups))]).sum() / total for _ in range(PERMUTATIONS)]
    return Dependence(float(seen - np.mean(null)), float((1 + np.sum(null >= seen)) / (1 + PERMUTATIONS)))


def limits(choice: str, chances: pl.Series, weights: pl.Series, found: Dependence | None) -> tuple[str, ...]:
    """What cannot be claimed of a choice, a sentence each; empty where its effect can be.

    Args:
        choice: in words, "hour of a send".
        chances: [n] with which each was drawn; null where not known.
        weights: [n] as learnt with.
        found: how the choices of unknown chance depend on the person; None where there are none.
    """
    said = []
    if found is not None and found.shown:
        said.append(
            f"No cause is shown: the {choice} was chosen by who the person is (what was known of them explains "
            f"{100 * found.explained:.1f} % of it, p {found.p:.3f}), so answers are compared as they came. Draw it at "
            "random, or record the chance with which it was drawn."
        )
    w = weights.to_numpy()
    effective = w.sum() ** 2 / np.square(w).sum() if len(w) else 0.0
    if chances.is_not_null().any() and effective < LEAST_EFFECTIVE * len(w):
        said.append(
            f"The chances of each {choice} are so uneven that {len(w):,} count as {effective:,.0f}; "
            f"weights were clipped to {LARGEST_WEIGHT:.0f}."
        )
    return tuple(said)


def one_hot(*codes: NDArray[np.int64]) -> Floats:
    """[n, c]: of each array of codes one column a code that occurs."""
    return np.column_stack([(each[:, None] == np.unique(each)).astype(np.float64) for each in codes])


def _centred(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Columns less their means within groups [n], numbered from 0."""
    counts = np.bincount(groups)
    means = np.stack([np.bincount(groups, column) / counts for column in values.T], axis=1)
    return np.asarray(values - means[groups])
