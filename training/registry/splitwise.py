"""The same figures on each split, to see whether a model has learnt its training rows by heart.

On at most 20,000 rows of a split, drawn at random: these figures are for looking at, the judged ones see every row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score

from features.kernel.seeds import generator
from training.calibration import calibrate
from training.fitted import Fitted
from training.trainingset import Split

__all__ = ["ROWS", "figures"]

Floats = NDArray[np.float64]

ROWS = 20_000
_LEAST = 1e-12


class _Rows(NamedTuple):
    y: Floats
    answer: Floats
    weight: Floats


def figures(found: Fitted) -> dict[str, float]:
    """By `<split>.<figure>`: rows, mean label, and of a probability AUC and log-loss, of an amount the absolute error.

    An effect is nobody's label, so of an uplift problem there are rows and the mean alone.
    """
    told: dict[str, float] = {}
    for name, split in found.data.splits.items():
        told[f"{name}.rows"] = float(len(split))
        if not len(split):
            continue
        told[f"{name}.mean"] = float(split.y.mean())
        told |= {f"{name}.{figure}": value for figure, value in _judged(found, name, split).items()}
    return told


def _judged(found: Fitted, name: str, split: Split) -> dict[str, float]:
    kind = found.data.problem.kind
    if kind == "uplift":
        return {}
    chosen = np.sort(generator("splitwise", name).permutation(len(split))[:ROWS])
    answer = calibrate.apply(found.calibration, found.model.raw(split.x[chosen]))
    weight = np.ones(len(chosen)) if split.weight is None else split.weight[chosen]
    rows = _Rows(split.y[chosen], answer, weight)
    return _of_amounts(rows) if kind == "regression" else _of_probabilities(rows)


def _of_probabilities(rows: _Rows) -> dict[str, float]:
    inside = np.clip(rows.answer, _LEAST, 1 - _LEAST)
    told = {"log_loss": float(log_loss(rows.y, inside, sample_weight=rows.weight, labels=[0, 1]))}
    if 0 < rows.y.sum() < len(rows.y):
        told["auc"] = float(roc_auc_score(rows.y, rows.answer, sample_weight=rows.weight))
    return told


def _of_amounts(rows: _Rows) -> dict[str, float]:
    return {"mean_absolute_error": float(mean_absolute_error(rows.y, rows.answer, sample_weight=rows.weight))}
