"""What the demo says at its end: models against baselines, the bandit against the split, where everything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.panel import Panel

from cli import console
from decisioning.verdict import Rate, Verdict
from features.drift.evidently_report import P_VALUES, DriftColumn, DriftReport
from training.pipeline import Trained

__all__ = ["drift_table", "models_table", "places", "verdict_table"]

_STRONGEST = 16


def models_table(trained: Sequence[Trained], skipped: Mapping[str, str]) -> None:
    """One line a problem: its judged figure beside the baseline's, what it gains, and what the gates said."""
    rows = []
    for each in trained:
        card, gain = each.card, each.evaluation.gain
        judged = card.metric(gain.name)
        rows.append(
            (
                card.problem,
                f"{card.horizon_days} days",
                gain.name,
                "" if judged.baseline is None else f"{judged.baseline:.3f}",
                f"{judged.value:.3f} [{judged.low:.3f}, {judged.high:.3f}]",
                f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]",
                _refusals(each) or "champion",
            )
        )
    columns = ["problem", "over", "judged by", ">baseline", ">model [95 %]", ">gain [95 %]", "gates"]
    console.table("Models, on later time than they were trained on", columns, rows)
    for problem, reason in skipped.items():
        console.out.print(f"  skipped {problem}: {reason.removeprefix(f'{problem}: ')}", markup=False)


def _refusals(trained: Trained) -> str:
    refused = [finding.code for finding in trained.gates if finding.refuses]
    return f"refused by {', '.join(refused)}" if refused else ""


def drift_table(report: DriftReport, shifted: Sequence[str]) -> None:
    """The columns that drifted most, and whether the market is known to have shifted them."""
    drifted = sorted(report.drifted, key=_strength, reverse=True)
    rows = [
        (
            each.column,
            each.test,
            "" if each.statistic is None else f"{each.statistic:.3f}",
            f"{each.threshold:.3g}",
            "yes" if each.column in shifted else "",
        )
        for each in drifted[:_STRONGEST]
    ]
    columns = ["drifted column", "test", ">statistic", ">threshold", "shifted by the market"]
    title = f"Drift: {len(drifted)} of {len(report.columns)} columns, the strongest first"
    console.table(title, columns if shifted else columns[:-1], rows if shifted else [row[:-1] for row in rows])
    if shifted:
        found = {each.column for each in drifted} & set(shifted)
        console.out.print(
            f"  {len(found)} of the {len(shifted)} columns the market shifted are named. The others aged:"
        )
        console.out.print("  the training rows are of months ago, and everyone has known the shop longer since.")


def _strength(column: DriftColumn) -> float:
    """A distance in units of its threshold; a p-value is no measure of size, so those stand at the threshold."""
    if column.statistic is None or column.test in P_VALUES:
        return 1.0
    return column.statistic / column.threshold


def places(home: Path, now: datetime, tracking_uri: str, report: DriftReport | None) -> None:
    """Where to look further, as commands that can be pasted."""
    environment = f"KAIROS_HOME={home} KAIROS_NOW={now:%Y-%m-%dT%H:%M:%SZ}"
    lines = [
        "API      " + f"{environment} .venv/bin/kairos up",
        "         then http://127.0.0.1:8321/docs",
        "MLflow   " + f".venv/bin/mlflow ui --backend-store-uri {tracking_uri}",
        "         then http://127.0.0.1:5000",
    ]
    if report is not None:
        lines += ["drift    " + f"{report.html}"]
    lines += ["summary  " + f"{home / 'demo.json'}"]
    console.out.print(Panel("\n".join(lines), title="Look further", expand=False), soft_wrap=True)


def verdict_table(found: Verdict, *, answer_is_real: bool) -> None:
    """The groups' rates, what the learner came to prefer, and each comparison in a sentence."""
    rows = [(each.name, f"{each.n:,}", f"{each.conversions:,}", _interval(each)) for each in found.groups]
    title = f"Journey {found.decision_point}: {found.decisions:,} decisions"
    console.table(title, ["group", ">customers", ">converted", ">rate [95 %]"], rows)
    for each in found.comparisons:
        power = "" if each.power is None else f" (power {each.power:.2f})"
        console.out.print(f"  {each.sentence}{power}", markup=False)
    if not answer_is_real:
        console.out.print(
            "  Nothing was really sent, so there is no difference to find: this is an A/A test.", markup=False
        )


def _interval(rate: Rate) -> str:
    return "" if rate.rate is None else f"{rate.rate:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
