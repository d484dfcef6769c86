"""Labelled snapshots to a training set: a table whose rows already hold features and label, split in time order.

A model of it has the source `request`: its features come with the request, not from the store.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl

from features.importing.imported import Imported
from features.kernel.card import CardFeature, Cutoffs
from features.kernel.discover import pick
from features.kernel.errors import InvalidInput, NotEnoughData
from training.dataset import assemble
from training.problem import Problem
from training.problems import all_problems
from training.trainingset import TrainingSet

__all__ = ["from_snapshot"]

FITTED, CHOSEN = 0.6, 0.8
"""Shares of the rows, in time order, at which validation and test start."""


def from_snapshot(imported: Imported) -> tuple[Problem, TrainingSet]:
    """The problem a labelled table answers, and its training set.

    The rows are split where 60 % and 80 % of them have passed, at the next change of `as_of`; rows whose labels were
    not settled when the next split starts are left out.

    Raises:
        InvalidInput: the import holds events, not snapshots.
        NotEnoughData: there is no time order to split by, or a split lacks a class.
    """
    info = imported.snapshot
    if info is None:
        raise InvalidInput("holds events, not labelled snapshots", field="recipe", value=imported.recipe)
    problem = replace(
        pick(all_problems(), info.problem, field="problem"),
        question=info.question,
        horizon=timedelta(days=info.horizon_days),
        features=tuple(each.name for each in info.columns),
        baseline=info.baseline,
        needs=(),
        monotone={},
    )
    features = tuple(
        CardFeature(ref=each.name, dtype=each.dtype, unit=each.unit, phrase=each.phrase) for each in info.columns
    )
    rows = _split(imported.table.rename({"id": "customer_id"}).sort("as_of", maintain_order=True), problem)
    until = _instants(rows, "test")[1] + problem.horizon
    cutoffs = Cutoffs(
        train=_instants(rows, "train"), validation=_instants(rows, "validation"), test=_instants(rows, "test")
    )
    return problem, replace(assemble(problem, rows, features, cutoffs, until), source="request")


def _split(rows: pl.DataFrame, problem: Problem) -> pl.DataFrame:
    when, settled = pl.col("as_of"), pl.col("as_of") + problem.horizon
    instants = rows.get_column("as_of")
    validation, test = (instants[int(share * len(instants))] for share in (FITTED, CHOSEN))
    split = (
        pl.when((when < validation) & (settled <= validation))
        .then(pl.lit("train"))
        .when((when >= validation) & (when < test) & (settled <= test))
        .then(pl.lit("validation"))
        .when(when >= test)
        .then(pl.lit("test"))
    )
    placed = rows.with_columns(split.alias("split")).drop_nulls("split")
    if placed.get_column("split").n_unique() < 3:
        raise NotEnoughData(
            "its rows cannot be split into three stretches of time",
            field=problem.name,
            remedy="give each row the instant it was known (`as_of`)",
        )
    return placed


def _instants(rows: pl.DataFrame, name: str) -> tuple[datetime, datetime]:
    """First and last instant of a split; labels of a table were settled when it was made."""
    found = rows.filter(pl.col("split") == name).get_column("as_of")
    return found[0].astimezone(UTC), found[-1].astimezone(UTC)
