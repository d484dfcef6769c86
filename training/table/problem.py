"""The problem that a table asks, and the simple model to beat: the few columns that tell most by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput
from training.leak import Sheet
from training.leaks import MOST_ROWS
from training.problem import Problem
from training.table.asked import Asked
from training.table.features import Feature
from training.table.target import Target

__all__ = ["problem_of", "strongest"]

FEW = 3
"""Columns of the simple model, at most, and at most half of all: else it would be a model of its own."""
TELLS = 0.53
"""Area under the curve of a column alone, from which on it is worth a place there."""


def problem_of(asked: Asked, target: Target, inputs: Sequence[Feature], baseline: tuple[str, ...]) -> Problem:
    """The table's question as a problem; of events it knows nothing."""
    sensitive = [each.card.ref for each in inputs if each.column in asked.sensitive]
    uplift, amount = bool(asked.treatment), target.kind == "regression"
    return Problem(
        name=asked.problem,
        question=f"How much does {_braced(asked.treated)} add? {target.question}" if uplift else target.question,
        population=_no_events,
        label=_no_events,
        horizon=timedelta(days=asked.days),
        features=tuple(each.card.ref for each in inputs),
        baseline=baseline,
        needs=(),
        kind="uplift" if uplift else target.kind,
        unit="change of probability" if uplift else target.values.name if amount else "probability",
        sensitive=tuple(sensitive),
        costs=asked.costs,
    )


def strongest(inputs: Sequence[Feature], train: NDArray[np.intp], y: pl.Series) -> tuple[str, ...]:
    """References of the inputs that alone tell the outcome best in the training rows, best first; at least one.

    Args:
        train: positions of the training rows; of many, as many as the leak guard looks at.
        y: [n] outcomes; of an amount, its upper half counts as yes.
    """
    some = np.sort(train[:: max(1, len(train) // MOST_ROWS)])
    outcome = y.gather(some).to_numpy()
    yes = (outcome > (np.median(outcome) if len(np.unique(outcome)) > 2 else outcome.min())).astype(np.float64)
    if not 0 < yes.sum() < len(yes):
        return (inputs[0].card.ref,)
    rows = pl.DataFrame([each.values.gather(some).alias(each.card.ref) for each in inputs])
    alone = {name: column.alone for name, column in Sheet(rows, yes).columns.items()}
    ranked = sorted(alone, key=lambda name: -alone[name])
    most = min(FEW, (len(ranked) + 1) // 2)
    return tuple(name for i, name in enumerate(ranked[:most]) if i == 0 or alone[name] >= TELLS)


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _no_events(events: pl.DataFrame, *_: object) -> pl.DataFrame:
    raise InvalidInput("learns from its table, not from events", field="problem", remedy="train it with --table again")
