"""`kairos report`: how far today's customers have drifted from those a model learnt from."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import console
from cli.console import JsonOption
from features.drift.evidently_report import DriftColumn, DriftReport
from features.kernel.clock import parse_instant
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from serving.watch import watch

__all__ = ["run"]


def run(
    problem: Annotated[str, typer.Argument(help="Whose served model, for example churn.")],
    since: Annotated[str, typer.Option(help="Only scores from this instant on, ISO 8601 with a time zone.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Compare the feature vectors that were served with those the champion was trained on, by Evidently.

    Writes an HTML page and a JSON file to the folder reports in KAIROS_HOME and names the columns that drifted.

    Example:

        kairos report churn
        kairos report churn --since 2026-11-01T00:00:00Z --json
    """
    settings = Settings.from_env()
    start = parse_instant(since, field="--since") if since else None
    ledger = Ledger(settings.ledger)
    try:
        with console.step(f"Drift of {problem}") as at:
            found = watch(settings.models, settings.reports, ledger, problem, start)
            at.note = f"{len(found.drifted)} of {len(found.columns)} columns drifted"
    finally:
        ledger.close()
    if as_json:
        summary = {name: getattr(found, name) for name in ("html", "json", "rows_reference", "rows_current", "share")}
        console.print_json({"problem": problem, "columns": len(found.columns), "drifted": found.drifted} | summary)
    else:
        _show(problem, found)


def _show(problem: str, found: DriftReport) -> None:
    rows = [_row(each) for each in found.drifted]
    title = f"{problem}: {len(rows)} of {len(found.columns)} columns drifted, {found.rows_current:,} customers"
    console.table(title, ["column", "test", ">statistic", ">threshold", ">missing then", ">missing now"], rows)
    console.out.print(f"Report: {found.html}\nFigures: {found.json}", markup=False, soft_wrap=True)


def _row(each: DriftColumn) -> tuple[str, ...]:
    statistic = "" if each.statistic is None else f"{each.statistic:.3g}"
    missing = (f"{each.missing_reference:.1%}", f"{each.missing_current:.1%}")
    return each.column, each.test, statistic, f"{each.threshold:.3g}", *missing
