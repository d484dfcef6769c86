"""`kairos train`: from the events that are there to a gated model, one problem or all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from cli import console
from cli.console import JsonOption
from features import history
from features.kernel.discover import pick
from features.kernel.errors import GateRefused, InvalidInput, NotEnoughData
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings, quiet_libraries
from features.recipe import load_recipe, read
from features.store import FeatureStore
from training import cutoffs, dataset, pipeline
from training.plan import TRIALS, Plan
from training.problem import Problem
from training.problems import all_problems
from training.register import Trained
from training.snapshot import from_snapshot
from training.trainingset import TrainingSet

__all__ = ["run"]

_ALL = "all"


def run(
    problem: Annotated[str, typer.Argument(help="The problem, or all of them: 'all'.")],
    trials: Annotated[int, typer.Option(min=0, help="Tuning trials beyond the defaults.")] = TRIALS,
    days: Annotated[int, typer.Option(min=0, help="Another horizon than the problem's own, in days.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Learn from this table of labelled snapshots instead.")] = None,
    recipe: Annotated[str, typer.Option(help="How to read that table: a recipe's name or a YAML file.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Train a problem on the events that are there; promote the model to champion if every gate lets it pass.

    Features are computed as of each label cutoff, the model is tuned, calibrated, judged on later time against a
    simple baseline, and tracked and registered in MLflow. Exit code 1 if a model was refused or nothing learnt.

    Example:

        kairos train churn
        kairos train propensity --days 90 --trials 20
        kairos train all --json
        kairos train lead_scoring --data bank-full.csv --recipe bank_marketing
    """
    if (data is None) != (not recipe):
        raise InvalidInput("go together", field="--data and --recipe", remedy="give both, or neither")
    settings = Settings.from_env()
    quiet_libraries()
    trained: list[Trained] = []
    skipped: dict[str, str] = {}
    sets = _from_table(problem, data, recipe) if data else _from_events(_asked(problem, days), settings)
    for asked, found in sets:
        if isinstance(found, NotEnoughData):
            if problem != _ALL:
                raise found
            skipped[asked.name] = str(found)
            continue
        with console.step(f"Train {asked.name}") as at:
            trained.append(pipeline.train(found, settings, plan=Plan(trials=trials), progress=_shown(at)))
            at.note = f"{sum(trained[-1].card.rows.values()):,} rows, version {trained[-1].card.version}"
    _report(trained, skipped, as_json=as_json)
    if not trained:
        raise NotEnoughData("no problem can be learnt from these events", remedy="see what each of them lacks")


def _asked(name: str, days: int) -> list[Problem]:
    chosen = list(all_problems().values()) if name == _ALL else [pick(all_problems(), name, field="problem")]
    return [replace(each, horizon=timedelta(days=days)) if days else each for each in chosen]


def _from_table(name: str, data: Path, recipe: str) -> Iterator[tuple[Problem, TrainingSet]]:
    with console.step(f"Read {data.name} by the recipe {recipe}") as at:
        imported = read(load_recipe(recipe), data)
        problem, rows = from_snapshot(imported)
        at.note = f"{imported.rows_used:,} of {imported.rows_read:,} rows used"
    if name not in (problem.name, _ALL):
        raise InvalidInput("is not what this table answers", field="problem", value=name, remedy=f"use {problem.name}")
    yield problem, rows


def _from_events(problems: list[Problem], settings: Settings) -> Iterator[tuple[Problem, TrainingSet | NotEnoughData]]:
    """Each problem's training set, its features computed first; or what these events lack for it."""
    with Ledger.of(settings) as ledger:
        events = history.refreshed(settings, ledger)
    store = FeatureStore(settings)
    with console.step("Feature definitions"):
        store.apply()
    for problem in problems:
        yield problem, _training_set(problem, events, store)
    store.close()


def _training_set(problem: Problem, events: pl.DataFrame, store: FeatureStore) -> TrainingSet | NotEnoughData:
    try:
        plan = cutoffs.for_problem(_start(events), dataset.observed_until(events), problem.horizon)
        with console.step(f"Features of {problem.name} as of its label cutoffs") as at:
            spine = dataset.spine([problem], events, [plan])
            store.backfill(events, spine)
            at.note = f"{len(spine):,} rows at {spine['as_of'].n_unique()} instants"
        with console.step(f"Training set of {problem.name}"):
            return dataset.build(problem, events, store, plan)
    except NotEnoughData as lacking:
        return lacking


def _start(events: pl.DataFrame) -> datetime:
    start = events["occurred_at"].min()
    if not isinstance(start, datetime):
        raise NotEnoughData("there are no events", field="events", remedy="import some")
    return start


def _shown(at: console.Step) -> pipeline.Progress:
    return lambda what, share: at(share, 1.0, what)


def _report(trained: list[Trained], skipped: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        console.print_json({"trained": [_plain(each) for each in trained], "skipped": skipped})
    else:
        _show(trained, skipped)
    refused = [(each, finding) for each in trained for finding in each.gates if finding.refuses]
    if refused:
        each, finding = refused[0]
        raise GateRefused(
            f"gate {finding.code} '{finding.title}' failed: {finding.figure}",
            field=each.card.problem,
            remedy=f"version {each.card.version} was registered, but not promoted",
        )


def _plain(trained: Trained) -> dict[str, Any]:
    card = trained.card
    return {
        "problem": card.problem,
        "version": card.version,
        "promoted": trained.promoted,
        "headline": card.headline,
        "metrics": card.metrics,
        "gain": trained.evaluation.gain,
        "gates": trained.gates,
        "rows": card.rows,
        "bundle": trained.bundle,
        "run_id": trained.run_id,
    }


def _show(trained: list[Trained], skipped: dict[str, str]) -> None:
    for each in trained:
        card = each.card
        rows = [
            (metric.name, _number(metric.baseline), _number(metric.value), f"{metric.low:.4f} to {metric.high:.4f}")
            for metric in card.metrics
        ]
        console.table(f"{card.problem} {card.version}", ("figure", ">baseline", ">model", "95 % interval"), rows)
        console.out.print(card.headline, markup=False)
        for finding in each.gates:
            console.out.print(f"  {finding.code} {finding.title}: {finding.outcome}; {finding.figure}", markup=False)
        console.out.print(f"  {'champion' if each.promoted else 'not promoted'}: {each.bundle}", markup=False)
    for name, reason in skipped.items():
        console.out.print(f"skipped {name}: {reason}", markup=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
