"""`kairos train`: from the events that are there, or from a labelled table, to a gated model."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cli import console, train_events, train_report, train_table
from cli.console import JsonOption
from cli.train_options import STUDIES, ByRecipe, FromTable, Tuning, Which, spread
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.settings import Settings, quiet_libraries
from training import pipeline
from training.registry.register import Trained
from training.trainingset import TrainingSet

__all__ = ["run"]

_ALL = "all"


@spread
def run(which: Which, table: FromTable, tuning: Tuning, by: ByRecipe, as_json: JsonOption = False) -> None:
    """Train a problem on the events that are there; promote the model to champion if every gate lets it pass.

    With --table a labelled table becomes a problem of its own, with no code: what its columns are is found out, those
    that could not have been known beforehand are refused, and the model takes its features from the request.

    The model is tuned, calibrated, judged on later time against a simple baseline, and tracked and registered in
    MLflow. Exit code 1 if a model was refused or nothing learnt.

    Example:

        kairos train churn
        kairos train propensity --days 90 --category books --minutes 5
        kairos train all --json
        kairos train --table leads.csv --target Converted --id "Prospect ID" --time created
        kairos train --table bank-full.csv --target y --cost-fp 2 --cost-fn 40 --sensitive age
        kairos train --table mails.csv --target visit --treatment segment --treated Women --control None
        kairos train lead_scoring --data bank-full.csv --recipe bank_marketing
        kairos train --reproduce 20260601-1a2b3c4d
    """
    asked = table.asked(which.days)
    if [bool(which.problem), asked is not None, bool(which.reproduce)].count(True) != 1:
        raise InvalidInput(
            "must be given, and only one of them",
            field="a problem, --table or --reproduce",
            remedy="e.g. kairos train churn",
        )
    settings = Settings.from_env()
    quiet_libraries()
    with _resumable(settings):
        if which.reproduce:
            train_report.reproduced(which.reproduce, settings, as_json=as_json)
            return
        built = train_table.read(asked, as_json=as_json) if asked is not None else None
        sets = [(built.data.problem.name, built.data)] if built else train_events.sets(which, by, settings)
        trained, skipped = _all_trained(sets, tuning, settings, whole=which.problem == _ALL)
        train_report.report(trained, skipped, built, settings, as_json=as_json)


def _all_trained(
    sets: Iterable[tuple[str, TrainingSet | NotEnoughData]], tuning: Tuning, settings: Settings, *, whole: bool
) -> tuple[list[Trained], dict[str, str]]:
    """What came of each, and why some were skipped; where one was asked for, what it lacks is the error."""
    trained: list[Trained] = []
    skipped: dict[str, str] = {}
    for name, found in sets:
        if isinstance(found, NotEnoughData):
            if not whole:
                raise found
            skipped[name] = str(found)
            continue
        plan = tuning.plan(settings, name)
        with console.step(f"Train {name}") as at:
            trained.append(pipeline.train(found, settings, plan=plan, progress=train_report.shown(at)))
            at.note = f"{sum(trained[-1].card.rows.values()):,} rows, version {trained[-1].card.version}"
    return trained, skipped


@contextmanager
def _resumable(settings: Settings) -> Iterator[None]:
    """On Ctrl-C say what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["kairos", *sys.argv[1:]])
        studies = f"; what was tuned is kept in {settings.home / STUDIES}" if (settings.home / STUDIES).exists() else ""
        console.err.print(
            f"Stopped: no model is registered by halves{studies}. To go on: {again}", markup=False, soft_wrap=True
        )
        raise
