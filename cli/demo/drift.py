"""The demo's last station: later events arrive, a night passes, and the served vectors are held against training's."""

from __future__ import annotations

import time
from datetime import datetime

from cli.console import Step
from cli.demo.calls import Service
from cli.demo.world import World
from features import history
from features.drift.evidently_report import DriftReport
from features.frames import spine_of, to_events
from features.kernel.errors import Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.store import FeatureStore
from serving.watch import watch
from training.problem import Problem

__all__ = ["later_events", "nightly", "score_population", "until_logged"]

_LOGGED_WITHIN = 20.0


def later_events(world: World, service: Service, at: Step) -> None:
    """Send what happens after `world.now` to the service, as a marketing system would."""
    for sent in service.send_events(to_events(world.later)):
        at(sent, len(world.later))
    at.note = f"{len(world.later):,} events acknowledged"


def nightly(world: World, settings: Settings, ledger: Ledger, store: FeatureStore, at: Step) -> None:
    """Rebuild the history from the ledger, compute everyone's features at `world.later_now`, materialise them."""
    history.rebuild(settings, ledger)
    events = history.read(settings)
    store.backfill(events, spine_of(events["customer_id"].unique().sort(), world.later_now))
    rows = store.materialize(world.later_now)
    at.note = f"{sum(rows.values()):,} rows from a history of {len(events):,} events, rebuilt from the ledger"


def score_population(
    world: World, settings: Settings, ledger: Ledger, service: Service, problem: Problem, at: Step
) -> DriftReport:
    """Score the problem's population as it is now, and report the drift of what was served since `world.later_now`."""
    population = problem.population(history.read(settings), world.later_now)["customer_id"].to_list()
    service.scores(problem.name, [{"customer_id": each} for each in population])
    until_logged(ledger, problem.name, world.later_now, len(population))
    at(1, 2)
    report = watch(settings.models, settings.reports, ledger, problem.name, since=world.later_now)
    at.note = f"{len(report.drifted)} of {len(report.columns)} columns drifted"
    return report


def until_logged(ledger: Ledger, problem: str, since: datetime, count: int) -> None:
    """The service logs scores behind its answers: wait until the last of them is in the ledger."""
    deadline = time.monotonic() + _LOGGED_WITHIN
    while (logged := len(ledger.scores(problem, since=since))) < count:
        if time.monotonic() > deadline:
            raise Unavailable(f"only {logged} of {count} served scores were logged within {_LOGGED_WITHIN:.0f} s")
        time.sleep(0.1)
