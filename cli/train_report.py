"""What `kairos train` prints: how far to trust each model, its figures, and what its gates said."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from cli import console, train_table
from features.kernel.errors import GateRefused, NotEnoughData
from features.kernel.settings import Settings
from training import pipeline
from training.registry.register import Trained
from training.registry.reproduce import reproduce
from training.table.build import Built

__all__ = ["report", "reproduced", "shown"]


def shown(at: console.Step) -> pipeline.Progress:
    """A step told of training's progress."""
    return lambda what, share: at(share, 1.0, what)


def report(
    trained: list[Trained], skipped: dict[str, str], built: Built | None, settings: Settings, *, as_json: bool
) -> None:
    """Print what came of training.

    Raises:
        GateRefused: a gate refused a model; the message names the gate and its figure.
        NotEnoughData: nothing could be learnt.
    """
    if as_json:
        table = {"table": train_table.plain(built)} if built else {}
        console.print_json({"trained": [_plain(each) for each in trained], "skipped": skipped, **table})
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
    if not trained:
        raise NotEnoughData("no problem can be learnt from these events", remedy="see what each of them lacks")
    if built and not as_json:
        console.out.print("\nkairos serve answers:", markup=False)
        line = train_table.request(trained[0].card.problem, built, settings)
        console.out.print(line, markup=False, soft_wrap=True)


def reproduced(run: str, settings: Settings, *, as_json: bool) -> None:
    """Train a run's model again from its record, and say whether it is the same; exit code 1 if it is not."""
    with console.step(f"Reproduce {run}") as at:
        found = reproduce(run, settings, shown(at))
        at.note = "the same model" if found.same else "another model"
    if as_json:
        console.print_json({**asdict(found), "same": found.same})
    else:
        rows = [("rows", *found.data_hash), ("model.txt", *found.model_sha256)]
        console.table(f"{found.problem} {found.version}", ("SHA-256 of", "recorded", "now"), rows)
        for reason in found.reasons:
            console.out.print(f"  {reason}", markup=False)
    if not found.same:
        raise typer.Exit(1)


def _plain(trained: Trained) -> dict[str, Any]:
    card = trained.card
    return {
        "problem": card.problem,
        "version": card.version,
        "promoted": trained.promoted,
        "headline": card.headline,
        "kind": card.kind,
        "metrics": card.metrics,
        "gain": trained.evaluation.gain,
        "gates": trained.gates,
        "limits": card.limits,
        "columns": card.columns,
        "rows": card.rows,
        "bundle": trained.bundle,
        "run_id": trained.run_id,
        "unsent": trained.unsent,
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
        for limit in card.limits:
            console.out.print(f"  Mind: {limit}", markup=False)
        for finding in each.gates:
            console.out.print(f"  {finding.code} {finding.title}: {finding.outcome}; {finding.figure}", markup=False)
        console.out.print(f"  {'champion' if each.promoted else 'not promoted'}: {each.bundle}", markup=False)
        if each.unsent:
            console.out.print(f"  {each.unsent}", markup=False)
    for name, reason in skipped.items():
        console.out.print(f"skipped {name}: {reason.removeprefix(f'{name}: ')}", markup=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
