"""The loop, station by station. It reads as the sentence: events, features, models, service, decisions, drift."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cli import console
from cli.demo import live, stations
from cli.demo.calls import Service
from cli.demo.drift import later_events, nightly, score_population
from cli.demo.journey import Journey, Round
from cli.demo.service import running_service
from cli.demo.stations import Learnt
from cli.demo.summary import drift_table, models_table, places, verdict_table
from cli.demo.world import World
from decisioning.point import all_points
from decisioning.verdict import Verdict, verdict
from features.drift.evidently_report import DriftReport
from features.kernel import clock
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings, quiet_libraries
from features.redis_server import RedisServer
from features.store import FeatureStore

__all__ = ["Plan", "run_loop"]

_WATCHED = "propensity"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much work a run does."""

    trials: int = 8
    """Tuning trials a problem."""
    batch: int = 100
    """Decisions between two steps of the learner."""


@dataclass(frozen=True, slots=True)
class _Run:
    world: World
    settings: Settings
    ledger: Ledger
    store: FeatureStore
    redis_url: str
    log: Path


def run_loop(world: World, settings: Settings, plan: Plan, *, as_json: bool) -> None:
    """One turn of the loop in `settings.home`, printed step by step, and as `demo.json` at the end."""
    quiet_libraries()
    clock.set_origin(world.now)
    with ExitStack() as stack:
        redis_url = settings.redis_url or stack.enter_context(RedisServer()).url
        settings = replace(settings, redis_url=redis_url)
        ledger = Ledger(settings.ledger, skew=timedelta(seconds=settings.skew_seconds))
        stack.callback(ledger.close)
        run = _Run(world, settings, ledger, FeatureStore(settings), redis_url, settings.home / "service.log")
        learnt = _learn(run, plan)
        seen, rounds, found = _serve_and_decide(run, learnt, plan)
        report = _watch(run)
    summary = _summary(run, learnt, seen, rounds, found, report)
    (settings.home / "demo.json").write_text(console.as_json(summary))
    if as_json:
        console.print_json(summary)
    else:
        _say(run, learnt, seen, found, report)


def _learn(run: _Run, plan: Plan) -> Learnt:
    world, settings, store = run.world, run.settings, run.store
    with console.step("Record the events in the ledger and the history") as at:
        stations.record(world, settings, run.ledger, at)
    with console.step("Define the features with Feast") as at:
        store.apply()
    asked = stations.problems_of(world)
    with console.step("Compute every view at the label cutoffs") as at:
        stations.compute_features(world, asked, store, at)
    with console.step("Train, tune, calibrate, evaluate, gate, register") as at:
        learnt = stations.learn_models(world, asked, settings, store, trials=plan.trials, at=at)
    with console.step("Materialise today's features into Redis") as at:
        stations.materialise(world, run.ledger, store, at)
    return learnt


def _serve_and_decide(run: _Run, learnt: Learnt, plan: Plan) -> tuple[live.Live | None, list[Round], Verdict]:
    world = run.world
    point = all_points()[world.point]
    with ExitStack() as stack:
        with console.step("Start the service") as at:
            url = stack.enter_context(
                running_service(run.settings, redis_url=run.redis_url, now=world.now, log=run.log)
            )
            at.note = url
        served = [each.card.problem for each in learnt.trained if each.promoted]
        seen = None
        if served:
            with console.step("Send events, score and explain one customer") as at:
                seen = live.score_one(stack.enter_context(Service(url)), world, served, at)
        with console.step(f"Ask for the next best action of {len(world.audience):,} customers") as at:
            journey = Journey(url, run.ledger, point, world.respond)
            rounds = journey.run(world.audience, batch=plan.batch, at=at)
    return seen, rounds, verdict(run.ledger, point, world.now + 2 * point.reward.window)


def _watch(run: _Run) -> DriftReport | None:
    world, settings = run.world, run.settings
    problem = next(each for each, _ in stations.problems_of(world) if each.name.startswith(_WATCHED))
    if not (settings.models / problem.name / "champion.json").exists():
        return None
    clock.set_origin(world.later_now)
    with ExitStack() as stack:
        with console.step(f"Start the service again, on {world.later_now:%d %B %Y}") as at:
            url = stack.enter_context(
                running_service(settings, redis_url=run.redis_url, now=world.later_now, log=run.log)
            )
            at.note = url
        service = stack.enter_context(Service(url))
        with console.step("Send what happened since") as at:
            later_events(world, service, at)
        with console.step("Materialise the night after") as at:
            nightly(world, settings, run.ledger, run.store, at)
        with console.step(f"Score everyone {problem.name} is asked about, and report drift with Evidently") as at:
            return score_population(world, settings, run.ledger, service, problem, at)


def _say(run: _Run, learnt: Learnt, seen: live.Live | None, found: Verdict, report: DriftReport | None) -> None:
    console.out.rule(f"Kairos: {run.world.title}")
    if seen is not None:
        live.show(seen)
    if report is not None:
        drift_table(report, run.world.shifted)
    models_table(learnt.trained, learnt.skipped)
    verdict_table(found, answer_is_real=run.world.answer_is_real)
    places(run.settings.home, run.world.later_now, run.settings.tracking_uri, report)


def _summary(
    run: _Run, learnt: Learnt, seen: live.Live | None, rounds: list[Round], found: Verdict, report: DriftReport | None
) -> dict[str, Any]:
    return {
        "world": run.world.title,
        "rows": dict(run.world.fates),
        "events": len(run.world.events),
        "models": [each.card for each in learnt.trained],
        "promoted": [each.card.problem for each in learnt.trained if each.promoted],
        "skipped": learnt.skipped,
        "live": seen,
        "rounds": rounds,
        "verdict": found,
        "drifted": [each.column for each in report.drifted] if report else None,
        "shifted": list(run.world.shifted),
    }
