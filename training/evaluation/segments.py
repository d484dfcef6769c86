"""Segments: the parts of the test split in which a model should hold as well as in the whole.

Quarters of a numeric column, values of a category, what is missing apart; of the columns along which the answers differ
most, for there the model makes its strongest claims. Sensitive attributes come first, whether they are inputs or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.seeds import generator
from training.evaluation.bootstrap import estimate
from training.evaluation.outcome import outcome, row_weights
from training.evaluation.result import Rows
from training.trainingset import Split, TrainingSet

__all__ = ["Segment", "segments", "table"]

Floats = NDArray[np.float64]

COLUMNS = 3
"""Columns to look along."""
QUARTERS, MOST_CATEGORIES = 4, 5
LEAST_SHARE = 0.01
"""Of the rows; a smaller segment is left out."""
_SAMPLE = 20_000


class Segment(NamedTuple):
    """Some rows of the test split."""

    by: str
    """The input or attribute."""
    name: str
    """In words: `2 to 5`, `Porto`, `missing`."""
    rows: NDArray[np.intp]
    """Their places in the split."""


def segments(data: TrainingSet, answers: Floats) -> list[Segment]:
    """Segments of the test split by sensitive attributes and by the columns along which answers [n] differ most."""
    test = data.test
    found = [each for name, groups in test.groups.items() for each in _valued(name, groups)]
    chosen = np.arange(len(test))
    if len(test) > _SAMPLE:
        chosen = np.sort(generator("segments", data.problem.name).permutation(len(test))[:_SAMPLE])
    spread = [_spread(test.x[chosen, i], answers[chosen], i in data.categories) for i in range(test.x.shape[1])]
    for i in np.argsort(np.array(spread), kind="stable")[::-1][:COLUMNS]:
        if spread[i] > 0 and data.inputs[i] not in test.groups:
            found += _of_column(data, test, int(i))
    return [each for each in found if len(each.rows) >= LEAST_SHARE * len(test)]


def table(test: Split, answers: Floats, found: list[Segment], rng: np.random.Generator) -> Rows:
    """Of each segment: rows, mean answer, observed mean and its interval, and the gap between them with its own."""
    if not found:
        return ()
    truth, own = outcome(test), row_weights(test)
    inside = [(truth[each.rows], answers[each.rows], own[each.rows], each.rows) for each in found]

    def means(drawn: Floats | None) -> Floats:
        sums = np.empty((3, len(found)))
        for i, (happened, said, weight, rows) in enumerate(inside):
            drawn_weight = weight if drawn is None else weight * drawn[rows]
            sums[:, i] = drawn_weight.sum(), (drawn_weight * happened).sum(), (drawn_weight * said).sum()
        with np.errstate(invalid="ignore"):  # a draw may leave a small segment empty
            observed, answer = sums[1:] / sums[0]
        return np.concatenate([observed, answer - observed, answer])

    value, low, high = (np.split(each, 3) for each in estimate(means, test.person, rng))
    return tuple(
        {
            "by": each.by,
            "segment": each.name,
            "rows": len(each.rows),
            "predicted": float(value[2][i]),
            "observed": float(value[0][i]),
            "low": float(low[0][i]),
            "high": float(high[0][i]),
            "gap": float(value[1][i]),
            "gap_low": float(low[1][i]),
            "gap_high": float(high[1][i]),
        }
        for i, each in enumerate(found)
    )


def _of_column(data: TrainingSet, test: Split, i: int) -> Iterator[Segment]:
    values, name = test.x[:, i], data.inputs[i]
    if i in data.categories:
        vocabulary = data.features[i].vocabulary
        words = np.array(["missing", *vocabulary])[np.where(np.isnan(values), 0, np.nan_to_num(values) + 1).astype(int)]
        yield from _valued(name, words)
        return
    codes, edges = _quarters(values)
    for k in range(len(edges) + 1):
        inside = values[codes == k]
        if len(inside):
            low, high = _short(float(inside.min())), _short(float(inside.max()))
            yield Segment(name, low if low == high else f"{low} to {high}", np.flatnonzero(codes == k))
    if (codes < 0).any():
        yield Segment(name, "missing", np.flatnonzero(codes < 0))


def _short(value: float) -> str:
    """Three digits, or whole thousands.

    >>> _short(0.12345), _short(12.0), _short(4351.2)
    ('0.123', '12', '4,351')
    """
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _valued(name: str, values: NDArray[np.str_]) -> Iterator[Segment]:
    """The most frequent values, the others together."""
    distinct, counts = np.unique(values, return_counts=True)
    kept = distinct[np.argsort(-counts, kind="stable")][:MOST_CATEGORIES]
    for each in kept:
        yield Segment(name, str(each) or "unknown", np.flatnonzero(values == each))
    if len(distinct) > len(kept):
        yield Segment(name, "others", np.flatnonzero(~np.isin(values, kept)))


def _quarters(values: NDArray[np.float32]) -> tuple[NDArray[np.intp], Floats]:
    """Of each value its quarter, -1 where missing, and the edges between quarters."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.full(len(values), -1), np.empty(0)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, QUARTERS + 1)[1:-1], method="lower"))
    edges = edges[edges < known.max()]
    return np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left")), edges


def _spread(values: NDArray[np.float32], answers: Floats, category: bool) -> float:
    """Variance of the answers between the segments of a column."""
    codes = np.where(np.isnan(values), -1, np.nan_to_num(values)).astype(int) if category else _quarters(values)[0]
    count = np.bincount(codes + 1)
    total = np.bincount(codes + 1, weights=answers)
    return float(np.sum(total[count > 0] ** 2 / count[count > 0]) / len(answers) - answers.mean() ** 2)
