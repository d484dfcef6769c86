"""Labelled snapshots to a training set: a table whose rows already hold features and label, split in time order.

A model of it has the source `request`: its features come with the request, not from the store.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl

from features.importing.imported import Imported, SnapshotInfo
from features.kernel.card import CardFeature, Cutoffs
from features.kernel.discover import pick
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.seeds import uniform
from training.effects.treatment import as_uplift, two_arms
from training.problem import Problem, plain_name
from training.problems import all_problems
from training.rows.dataset import assemble
from training.trainingset import TrainingSet

__all__ = ["from_snapshot"]

FITTED, CHOSEN = 0.6, 0.8
"""Shares of the rows, in time order, at which validation and test start."""
_NO_TIME = (
    "The rows have one instant, so they were split at random by id: the figures hold while tomorrow is like the table."
)


def from_snapshot(imported: Imported, treated: str = "") -> tuple[Problem, TrainingSet]:
    """The problem a labelled table answers, and its training set.

    The rows are split where 60 % and 80 % of them have passed, at the next change of `as_of`; rows whose labels were
    not settled when the next split starts are left out. Where all have one instant they are split by id, at random.

    Args:
        treated: one of the table's treatments: the problem is then what it adds to the probability of a yes,
            `uplift_<treatment>`, learnt from its rows and those of the control. Of two treatments each is a problem.

    Raises:
        InvalidInput: the import holds events, not snapshots, or knows no such treatment.
        NotEnoughData: there is no time order to split by.
    """
    info = imported.snapshot
    if info is None:
        raise InvalidInput("holds events, not labelled snapshots", field="recipe", value=imported.recipe)
    problem, table = _problem(info), imported.table.rename({"id": "customer_id"})
    limits: tuple[str, ...] = ()
    if treated:
        _require_arm(info, treated)
        table, limits = two_arms(table, "treatment", control=info.arms[0], treated=treated)
        name = f"uplift_{plain_name(treated)}"
        asked = f"By how much does '{treated}' change the probability of yes? {info.question}"
        problem = replace(as_uplift(problem, asked), name=name, of="uplift", part=plain_name(treated))
    features = tuple(
        CardFeature(ref=each.name, dtype=each.dtype, unit=each.unit, phrase=each.phrase) for each in info.columns
    )
    timeless = len(table) > 0 and table.get_column("as_of").n_unique() == 1
    rows = _split_by_id(table) if timeless else _split(table.sort("as_of", maintain_order=True), problem)
    until = _instants(rows, "test")[-1] + problem.horizon
    cutoffs = Cutoffs(
        train=_instants(rows, "train"), validation=_instants(rows, "validation"), test=_instants(rows, "test")
    )
    data = replace(assemble(problem, rows, features, cutoffs, until), source="request", limits=limits)
    return problem, replace(data, split="random", limits=(*limits, _NO_TIME)) if timeless else data


def _problem(info: SnapshotInfo) -> Problem:
    return replace(
        pick(all_problems(), info.problem, field="problem"),
        question=info.question,
        horizon=timedelta(days=info.horizon_days),
        features=tuple(each.name for each in info.columns),
        baseline=info.baseline,
        needs=(),
        shorter=(),
        variant=None,
        sensitive=(),
        caution=None,
        monotone={},
    )


def _require_arm(info: SnapshotInfo, treated: str) -> None:
    if treated not in info.arms[1:]:
        raise InvalidInput(
            "is no treatment of this table",
            field="treatment",
            value=treated,
            remedy=f"use one of: {', '.join(info.arms[1:])}" if info.arms else "its recipe names none",
        )


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


def _split_by_id(rows: pl.DataFrame) -> pl.DataFrame:
    """Every row of a person falls into one split, the same whatever else the table holds."""
    u = pl.Series([uniform("split", each) for each in rows.get_column("customer_id")])
    split = pl.when(u < FITTED).then(pl.lit("train")).when(u < CHOSEN).then(pl.lit("validation"))
    return rows.with_columns(split.otherwise(pl.lit("test")).alias("split"))


def _instants(rows: pl.DataFrame, name: str) -> tuple[datetime, ...]:
    """First and last instant of a split; labels of a table were settled when it was made."""
    found = rows.filter(pl.col("split") == name).get_column("as_of")
    return tuple(dict.fromkeys(each.astimezone(UTC) for each in (found[0], found[-1])))
