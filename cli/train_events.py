"""Training sets for `kairos train` from events: each problem's features are computed as of its label cutoffs first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from cli import console
from cli.train_options import ByRecipe, Which
from features import history
from features.kernel.discover import pick
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.recipe import load_recipe, read
from features.store import FeatureStore
from training.problem import Problem
from training.problems import all_problems
from training.registry.rebuild import of_recipe
from training.rows import cutoffs, dataset
from training.rows.snapshot import from_snapshot
from training.trainingset import TrainingSet

__all__ = ["sets"]

_ALL = "all"

Found = tuple[str, TrainingSet | NotEnoughData]


def sets(which: Which, by: ByRecipe, settings: Settings) -> Iterator[Found]:
    """Each problem asked for by its name, with its training set or what the data lack for it.

    Raises:
        NotFound: there is no such problem, or there are no events.
        InvalidInput: the problem has no variants, or is not what the recipe's table answers.
    """
    if by.data is not None:
        yield _by_recipe(which.problem, by.data, by.recipe)
        return
    problems = _asked(which)
    with Ledger.of(settings) as ledger:
        events = history.refreshed(settings, ledger)
    seq = history.last(settings)
    store = FeatureStore(settings)
    with console.step("Feature definitions"):
        store.apply()
    for problem in problems:
        yield problem.name, _training_set(problem, events, store, seq)
    store.close()


def _asked(which: Which) -> list[Problem]:
    known = all_problems()
    chosen = list(known.values()) if which.problem == _ALL else [pick(known, which.problem, field="problem")]
    if which.category:
        chosen = [each.about(which.category) for each in chosen if which.problem != _ALL or each.variant is not None]
    return [each.over(timedelta(days=which.days)) if which.days else each for each in chosen]


def _by_recipe(name: str, data: Path, recipe: str) -> Found:
    with console.step(f"Read {data.name} by the recipe {recipe}") as at:
        imported = read(load_recipe(recipe), data)
        problem, rows = from_snapshot(imported)
        at.note = f"{imported.rows_used:,} of {imported.rows_read:,} rows used"
    if name not in (problem.name, _ALL):
        raise InvalidInput("is not what this table answers", field="problem", value=name, remedy=f"use {problem.name}")
    return problem.name, replace(rows, origin=of_recipe(problem, recipe, data))


def _training_set(problem: Problem, events: pl.DataFrame, store: FeatureStore, seq: int) -> TrainingSet | NotEnoughData:
    try:
        problem, plan = cutoffs.longest(problem, _start(events), dataset.observed_until(events))
        with console.step(f"Features of {problem.name} as of its label cutoffs") as at:
            spine = dataset.spine([problem], events, [plan])
            store.backfill(events, spine)
            at.note = f"{len(spine):,} rows at {spine['as_of'].n_unique()} instants"
        with console.step(f"Training set of {problem.name}"):
            return dataset.build(problem, events, store, plan, seq=seq)
    except NotEnoughData as lacking:
        return lacking


def _start(events: pl.DataFrame) -> datetime:
    start = events["occurred_at"].min()
    if not isinstance(start, datetime):
        raise NotEnoughData("there are no events", field="events", remedy="import some")
    return start
