"""Training sets for protocols that are not Kairos's own: one instant, people parted by chance, as in known results.

Rows, labels and features come as they always do, from a problem and Kairos's views as of the instant. Only who learns
and who is judged is laid down by the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.compute import all_views
from features.kernel.card import CardFeature, Cutoffs
from features.kernel.seeds import uniform
from features.refs import resolve
from training import pipeline
from training.fitted import Fitted
from training.plan import Plan
from training.problem import Problem
from training.rows.dataset import assemble, references
from training.testing import Computed
from training.trainingset import Split, TrainingSet

__all__ = ["Judged", "in_folds", "labelled", "training_set"]

Floats = NDArray[np.float64]
FOLDS = 10


class Judged(NamedTuple):
    """Rows of every fold, each answered by a pipeline that has not seen its person."""

    rows: Split
    answers: Floats
    """[n] calibrated."""
    baseline: Floats
    """[n] of the problem's simple model."""
    fold: NDArray[np.intp]
    """[n] which pipeline answered."""


def labelled(problem: Problem, events: pl.DataFrame, cutoffs: Sequence[datetime]) -> pl.DataFrame:
    """`customer_id`, `as_of`, `label` and the problem's features as known then, of its population at each cutoff."""
    found = pl.concat(
        problem.label(events, problem.population(events, each), each, problem.horizon).with_columns(
            pl.col("label").cast(pl.Float64), pl.lit(each).cast(pl.Datetime("us", "UTC")).alias("as_of")
        )
        for each in cutoffs
    )
    values = Computed(events).historical(found.select("customer_id", "as_of"), references(problem))
    return found.hstack(values.drop("customer_id", "as_of"))


def training_set(problem: Problem, rows: pl.DataFrame, split: pl.Series) -> TrainingSet:
    """Labelled rows as a training set.

    Args:
        split: [n] `train`, `validation` or `test`; rows with null are left out.
    """
    chosen = rows.with_columns(split.alias("split")).drop_nulls("split")
    instants = {
        name: tuple(chosen.filter(pl.col("split") == name)["as_of"].unique().sort().to_list())
        for name in ("train", "validation", "test")
    }
    features = tuple(
        CardFeature(
            ref=ref, dtype="category" if each.dtype == "string" else "float32", unit=each.unit, phrase=each.phrase
        )
        for ref, (_, _, each) in resolve(references(problem), all_views()).items()
    )
    until = max(instants["test"]) + problem.horizon
    return replace(assemble(problem, chosen, features, Cutoffs(**instants), until), split="random")


def in_folds(problem: Problem, rows: pl.DataFrame, progress: Callable[[float], None], folds: int = FOLDS) -> Judged:
    """Cross-validation by person through the whole pipeline, tuning off: fold i is judged, the next one validates."""
    fold = pl.Series([int(folds * uniform("cohort", each)) for each in rows["customer_id"].to_list()])
    found: list[Fitted] = []
    for held_out in range(folds):
        names = {held_out: "test", (held_out + 1) % folds: "validation"}
        split = fold.replace_strict(names, default="train", return_dtype=pl.String)
        found.append(pipeline.fit(training_set(problem, rows, split), plan=Plan(trials=0)))
        progress((held_out + 1) / folds)
    tests = [each.data.test for each in found]
    every = Split(
        x=np.concatenate([each.x for each in tests]),
        y=np.concatenate([each.y for each in tests]),
        person=np.concatenate([each.person for each in tests]),
        as_of=np.concatenate([each.as_of for each in tests]),
    )
    answers, baseline = (np.concatenate([getattr(each, name) for each in found]) for name in ("answers", "baseline"))
    return Judged(every, answers, baseline, np.repeat(np.arange(folds), [len(each) for each in tests]))
