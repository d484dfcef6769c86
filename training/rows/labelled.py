"""Who is asked about at a cutoff, and what came of it: one row a person, or one a candidate that was taken."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from features.kernel.errors import InvalidInput
from training.problem import Problem

__all__ = ["INSTANT", "labelled"]

INSTANT = pl.Datetime("us", "UTC")
_BESIDE = ("candidate", "weight", "arm", "propensity")


def labelled(problem: Problem, events: pl.DataFrame, cutoffs: Iterable[datetime], split: str) -> pl.DataFrame:
    """`split`, `customer_id`, `as_of`, `label`, and what the problem's kind needs beside it; by cutoff, then customer.

    Raises:
        InvalidInput: a label, weight, arm or propensity is none that the problem's kind can have.
    """
    parts = []
    for cutoff in cutoffs:
        labels = problem.label(events, problem.population(events, cutoff), cutoff, problem.horizon)
        _check(problem, labels, cutoff)
        stamped = labels.select(
            pl.lit(split).alias("split"),
            "customer_id",
            pl.lit(cutoff).cast(INSTANT).alias("as_of"),
            pl.col("label").cast(pl.Float64),
            *(each for each in _BESIDE if each in labels.columns),
        )
        parts.append(stamped.sort("customer_id", maintain_order=True))
    return pl.concat(parts)


def _check(problem: Problem, labels: pl.DataFrame, cutoff: datetime) -> None:
    label, weight = pl.col("label").cast(pl.Float64), pl.col("weight").cast(pl.Float64)
    amount = problem.kind == "regression"
    rules = {"label": (label.is_finite() & (label >= 0)) if amount else label.is_in([0.0, 1.0])}
    if "weight" in labels.columns:
        rules["weight"] = weight.is_finite() & (weight > 0)
    if problem.kind == "uplift":
        rules |= {
            "arm": pl.col("arm").is_in([0, 1]),
            "propensity": pl.col("propensity").is_between(0, 1, closed="none"),
        }
    for name, right in rules.items():
        if name not in labels.columns:
            raise InvalidInput(f"gives no {name}", field=problem.name, remedy=f"a {problem.kind} problem needs it")
        wrong = labels.filter(~right.fill_null(False))
        if len(wrong):
            raise InvalidInput(
                f"gives a {name} at {cutoff.isoformat()} that a {problem.kind} problem cannot have",
                field=problem.name,
                value=wrong.get_column(name)[0],
            )
