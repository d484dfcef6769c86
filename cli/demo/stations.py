"""The stations of the loop before the service: record, define, compute, learn, materialise."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cli.console import Step
from cli.demo.world import World
from features import history
from features.frames import spine_of
from features.importing import record as importing
from features.kernel import cursors, tables
from features.kernel.card import Cutoffs
from features.kernel.cursors import Cursor
from features.kernel.errors import NotEnoughData
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.store import FeatureStore
from training import pipeline
from training.pipeline import Trained
from training.plan import Plan
from training.problem import Problem
from training.problems import all_problems
from training.rows import cutoffs, dataset

__all__ = ["Learnt", "compute_features", "learn_models", "materialise", "problems_of", "record"]


Asked = list[tuple[Problem, Cutoffs | NotEnoughData]]
"""Each problem with the cutoffs at which it is asked, or with what the data lack for it."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """The models of a run, and why a problem has none."""

    trained: list[Trained]
    skipped: dict[str, str]


def record(world: World, settings: Settings, ledger: Ledger, at: Step) -> None:
    """The world's events into the ledger and the columnar history."""
    found = importing.record(world.events, ledger, at)
    history.update(settings, ledger)
    fates = ", ".join(f"{count:,} {status}" for status, count in found.items() if count)
    at.note = f"events of {world.events['customer_id'].n_unique():,} people: {fates}"


def problems_of(world: World) -> Asked:
    """Every problem with the cutoffs at which this world can be asked it, or with what it lacks."""
    found: Asked = []
    for problem in all_problems().values():
        asked = problem.over(world.horizons[problem.name]) if problem.name in world.horizons else problem
        try:
            found.append(cutoffs.longest(asked, world.start, world.now))
        except NotEnoughData as lacking:
            found.append((asked, lacking))
    return found


def compute_features(world: World, asked: Asked, store: FeatureStore, at: Step) -> None:
    """Every view for those asked about at each label cutoff, and for everyone at `world.now`, stored offline."""
    plans = [(problem, plan) for problem, plan in asked if isinstance(plan, Cutoffs)]
    wanted = dataset.spine([each for each, _ in plans], world.events, [plan for _, plan in plans])
    today = spine_of(world.events["customer_id"].unique().sort(), world.now)
    spine = pl.concat([wanted, today])
    store.backfill(world.events, spine)
    at.note = f"{len(spine):,} rows at {spine['as_of'].n_unique()} instants"


def learn_models(
    world: World, asked: Asked, settings: Settings, store: FeatureStore, *, trials: int, at: Step
) -> Learnt:
    """Train, calibrate, evaluate, gate and register each problem that this world can be asked."""
    trained: list[Trained] = []
    skipped: dict[str, str] = {}
    for done, (problem, window) in enumerate(asked):
        at(done, len(asked), problem.name)
        if isinstance(window, NotEnoughData):
            skipped[problem.name] = str(window)
            continue
        try:
            rows = dataset.build(problem, world.events, store, window)
            trained.append(pipeline.train(rows, settings, plan=Plan(trials=trials)))
        except NotEnoughData as lacking:
            skipped[problem.name] = str(lacking)
    at.note = f"{len(trained)} problems trained, {sum(each.promoted for each in trained)} promoted to champion"
    return Learnt(trained, skipped)


def materialise(world: World, ledger: Ledger, store: FeatureStore, at: Step) -> None:
    """The features as of `world.now` into Redis; the follower need not compute them again."""
    rows = store.materialize(world.now)
    cursors.move(ledger, Cursor(ledger.mark(tables.events), world.now))
    at.note = f"{sum(rows.values()):,} rows of {len(rows)} views"
