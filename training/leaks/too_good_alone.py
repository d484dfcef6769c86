"""A column that alone knows as much as all the others together, and adds much to them.

What is known before a decision overlaps: recency with frequency, frequency with value, and no single column is missed
much. What is written down afterwards does not overlap with anything: a call's duration. On the sets measured, a known
column takes a tenth of what all others lack to certainty at most, a leak half and more (`docs/results.md`). A table in
which one known column stands alone among noise looks like a leak, too: that is what `--allow` is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from training.leak import Column, Leak, Sheet, Suspect, area

__all__ = ["leak"]

Floats = NDArray[np.float64]

SURE = 0.95
"""Area under the curve of one column alone that nothing known beforehand reaches in marketing."""
STRONG = 0.78
"""Below this a column alone is never refused."""
TAKES = 0.4
"""Share it must take of what all others together lack to an area of 1."""
WORTH = 0.05
"""By how much all others together may be better than it alone."""
TWIN = 0.95
"""Correlation of two columns, or of what they say, from which on they are one."""
_MOST_SUSPECTS, _FOLDS = 8, 3


def _look(sheet: Sheet) -> Iterator[Suspect]:
    left = {name: each for name, each in sheet.columns.items() if not sheet.timed(name)}
    strong = sorted((each for each in left.values() if each.alone >= STRONG), key=lambda each: -each.alone)
    for column in strong[:_MOST_SUSPECTS]:
        if column.alone >= SURE:
            yield Suspect(
                column.name, f"is too good alone (AUC {column.alone:.2f}): known only with the label, most likely"
            )
            del left[column.name]
            continue
        others = [each for each in left.values() if each is not column and not _twins(column, each)]
        rest, whole = _together(sheet, others), _together(sheet, [*others, column])
        if whole - rest >= TAKES * (1 - rest) and column.alone >= rest - WORTH:
            yield Suspect(
                column.name,
                f"tells alone (AUC {column.alone:.2f}) about as much as all other columns together ({rest:.2f}) "
                f"and takes them to {whole:.2f}: known only with the label, most likely",
            )
            del left[column.name]


def _twins(column: Column, other: Column) -> bool:
    pairs = ((column.rates, other.rates), (column.codes, other.codes))
    return any(np.ptp(a) > 0 and np.ptp(b) > 0 and abs(np.corrcoef(a, b)[0, 1]) >= TWIN for a, b in pairs)


def _together(sheet: Sheet, columns: Sequence[Column]) -> float:
    """Area under the curve of boosted trees on the columns' bins, out of fold; .5 of none."""
    if not columns:
        return 0.5
    x, raw = np.column_stack([each.codes for each in columns]), np.empty(len(sheet.y))
    for fold in range(_FOLDS):
        out = sheet.fold % _FOLDS == fold
        trees = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, learning_rate=0.15, early_stopping=False, random_state=7
        )
        with threadpool_limits(1):  # threads that wait for each other on a busy machine cost more than they save
            raw[out] = trees.fit(x[~out], sheet.y[~out]).predict_proba(x[out])[:, 1]
    return area(sheet.y, raw)


leak = Leak(code="too_good_alone", title="is too good alone", severity="refuse", look=_look)
