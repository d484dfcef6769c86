"""The loop on a labelled snapshot: rows hold their own features and label, so the model's source is the request.

Such a table has no events to come, so the journey's station is left out, and said so.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
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
from serving.watch import watch
from training import pipeline
from training.pipeline import Trained
from training.snapshot import from_snapshot
from training.trainingset import TrainingSet

__all__ = ["run_snapshot"]

_SCORED = 5_000


def run_snapshot(imported: Imported, settings: Settings, *, trials: int, as_json: bool) -> None:
    """Train on the earlier rows, serve, score the latest rows over HTTP, explain one, report drift."""
    quiet_libraries()
    with console.step("Train, tune, calibrate, evaluate, gate, register") as at:
        problem, rows = from_snapshot(imported)
        trained = pipeline.train(problem, rows, settings, trials=trials)
        at.note = f"{problem.name}: {trained.card.headline}"
    models_table([trained.card], {problem.name: trained.promoted}, {})
    console.out.print(
        "  journey: left out, a snapshot has no later events from which an outcome could be known", markup=False
    )
    if not trained.promoted:
        return
    now = datetime.fromtimestamp(rows.test.as_of[-1].astype("datetime64[s]").astype(int), UTC) + timedelta(days=1)
    clock.set_origin(now)
    with ExitStack() as stack:
        ledger = Ledger(settings.ledger)
        stack.callback(ledger.close)
        redis_url = settings.redis_url or stack.enter_context(RedisServer()).url
        with console.step("Start the service") as at:
            log = settings.home / "service.log"
            url = stack.enter_context(running_service(settings, redis_url=redis_url, now=now, log=log))
            at.note = url
        answers, explanation, report = _serve(Service(url), imported, rows, settings, ledger)
    console.out.print(Panel(live.reasons(explanation), title=f"Why {problem.name}?", expand=False))
    drift_table(report, ())
    places(settings.home, now, settings.tracking_uri, report)
    summary = _summary(imported, trained, answers, explanation, report)
    (settings.home / "demo.json").write_text(console.as_json(summary))
    if as_json:
        console.print_json(summary)


def _serve(
    service: Service, imported: Imported, rows: TrainingSet, settings: Settings, ledger: Ledger
) -> tuple[dict[str, float], dict[str, Any], DriftReport]:
    problem, start = rows.problem.name, rows.cutoffs.test[0]
    latest = imported.table.filter(pl.col("as_of") >= start).tail(_SCORED)
    features = latest.select(imported.feature_columns).to_dicts()
    items = [
        {"customer_id": each, "features": known} for each, known in zip(latest["id"].to_list(), features, strict=True)
    ]
    with console.step(f"Score the latest {len(items):,} rows over HTTP") as at:
        scores = [each["probability"] for each in service.scores(problem, items)]
        auc = float(roc_auc_score(latest["label"].to_numpy(), scores))
        at.note = f"AUC {auc:.3f}, mean {np.mean(scores):.3f}, base rate {np.mean(latest['label'].to_numpy()):.3f}"
    explanation = service.explanation(problem, items[int(np.argmax(scores))])
    with console.step("Report drift with Evidently") as at:
        until_logged(ledger, problem, clock.from_micros(0), len(items))
        report = watch(settings.models, settings.reports, ledger, problem)
        at.note = f"{len(report.drifted)} of {len(report.columns)} columns drifted"
    return {"rows": float(len(items)), "auc": auc}, explanation, report


def _summary(
    imported: Imported, trained: Trained, answers: dict[str, float], explanation: dict[str, Any], report: DriftReport
) -> dict[str, Any]:
    return {
        "world": imported.recipe,
        "rows": {"read": imported.rows_read, "used": imported.used, "refused": imported.counts},
        "models": [trained.card],
        "promoted": [trained.card.problem],
        "served": answers,
        "explanation": explanation,
        "drifted": [each.column for each in report.drifted],
    }
