"""The loop on a labelled snapshot: rows hold their own features and label, so the model's source is the request.

The latest rows are held back and play the future: they are scored over HTTP, and held against what was promised. A
model that the gates refuse is no champion anywhere; it is served in the demo's own folder all the same, and said so, to
show what it would have promised. Such a table has no events from which an action's outcome could be known, so the
journey's station is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from rich.panel import Panel
from sklearn.metrics import roc_auc_score

from cli import console
from cli.demo import live
from cli.demo.calls import Service
from cli.demo.drift import until_logged
from cli.demo.service import running_service
from cli.demo.summary import drift_table, models_table, places
from features.drift.evidently_report import DriftReport
from features.importing.imported import Imported
from features.kernel import clock
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings, quiet_libraries
from features.redis_server import RedisServer
from features.store import FeatureStore
from serving.watch import watch
from training import pipeline
from training.pipeline import Trained
from training.plan import Plan
from training.registry import bundle
from training.rows.snapshot import from_snapshot

__all__ = ["run_snapshot"]

_KNOWN = 0.95
"""Share of the rows, in time order, that is known; the later ones play the future."""


def run_snapshot(imported: Imported, settings: Settings, *, trials: int, as_json: bool) -> None:
    """Train on the earlier rows, serve, score the later ones over HTTP, explain one, report drift."""
    quiet_libraries()
    now = imported.table["as_of"].sort()[int(_KNOWN * len(imported.table))]
    known = replace(imported, table=imported.table.filter(pl.col("as_of") < now))
    later = imported.table.filter(pl.col("as_of") >= now).sort("as_of", maintain_order=True)
    clock.set_origin(now)
    with console.step(f"Train on what was known by {now:%d %B %Y}: tune, calibrate, evaluate, gate, register") as at:
        problem, rows = from_snapshot(known)
        trained = pipeline.train(rows, settings, plan=Plan(trials=trials))
        at.note = f"{problem.name}: {trained.card.headline}"
        FeatureStore(settings).apply()
    if not trained.promoted:
        bundle.point(settings.models, problem.name, trained.card.version)
    answers, explanation = _serve(problem.name, later, imported.feature_columns, settings)
    with console.step("Report drift with Evidently") as at:
        report = _drift(problem.name, len(later), settings)
        at.note = f"{len(report.drifted)} of {len(report.columns)} columns drifted"
    summary = _summary(imported, trained, answers, explanation, report)
    (settings.home / "demo.json").write_text(console.as_json(summary))
    if as_json:
        console.print_json(summary)
        return
    _say(trained, answers, explanation)
    drift_table(report, ())
    places(settings.home, now, settings.tracking_uri, report)


def _say(trained: Trained, answers: dict[str, float], explanation: dict[str, Any]) -> None:
    models_table([trained], {})
    console.out.print(
        f"  Of the {answers['rows']:,} rows that came later {100 * answers['observed']:.1f} % were a yes; the model "
        f"promised {100 * answers['promised']:.1f} %. AUC on them {answers['auc']:.3f}."
    )
    if not trained.promoted:
        console.out.print("  The gates refused it, so it is no champion; it was served here to show what it promises:")
        for each in filter(lambda finding: finding.refuses, trained.gates):
            console.out.print(f"    {each.title}? {each.figure}", markup=False)
    console.out.print("  Journey: left out; a snapshot has no events from which an action's outcome could be known.")
    if explanation["reasons"]:
        console.out.print(Panel(live.reasons(explanation), title=f"Why {trained.card.problem}?", expand=False))


def _serve(
    problem: str, later: pl.DataFrame, columns: Sequence[str], settings: Settings
) -> tuple[dict[str, float], dict[str, Any]]:
    items = [
        {"customer_id": who, "features": features}
        for who, features in zip(later["id"].to_list(), later.select(columns).to_dicts(), strict=True)
    ]
    with ExitStack() as stack:
        redis_url = settings.redis_url or stack.enter_context(RedisServer()).url
        with console.step("Start the service") as at:
            log = settings.home / "service.log"
            url = stack.enter_context(running_service(settings, redis_url=redis_url, now=clock.now(), log=log))
            at.note = url
        service = stack.enter_context(Service(url))
        with console.step(f"Score the {len(items):,} rows that came later over HTTP") as at:
            scores = [each["probability"] for each in service.scores(problem, items)]
            at.note = f"explained row {items[int(np.argmax(scores))]['customer_id']}, the most promising"
        explanation = service.explanation(problem, items[int(np.argmax(scores))])
        label = later["label"].to_numpy()
        answers = {
            "rows": len(items),
            "auc": float(roc_auc_score(label, scores)),
            "promised": float(np.mean(scores)),
            "observed": float(label.mean()),
        }
    return answers, explanation


def _drift(problem: str, scored: int, settings: Settings) -> DriftReport:
    ledger = Ledger(settings.ledger)
    try:
        until_logged(ledger, problem, clock.from_micros(0), scored)
        return watch(settings.models, settings.reports, ledger, problem)
    finally:
        ledger.close()


def _summary(
    imported: Imported,
    trained: Trained,
    answers: dict[str, float],
    explanation: dict[str, Any],
    report: DriftReport,
) -> dict[str, Any]:
    return {
        "world": imported.recipe,
        "rows": {"read": imported.rows_read, "used": imported.used, "refused": imported.counts},
        "models": [trained.card],
        "promoted": [trained.card.problem] if trained.promoted else [],
        "served": answers,
        "explanation": explanation,
        "drifted": [each.column for each in report.drifted],
    }
