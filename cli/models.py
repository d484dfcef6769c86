"""`kairos models`: which models there are, how far to trust each, and what one of them is made of."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import console
from cli.console import JsonOption
from features.kernel.card import Card, Metric
from features.kernel.discover import pick
from features.kernel.settings import Settings
from training import bundle

__all__ = ["app"]

app = typer.Typer()


@app.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    """List the models, or show one; the headline of each says how far to trust it, its weakness first.

    Example:

        kairos models
        kairos models list --json
        kairos models show churn
    """
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List every published model, oldest first, and which of them serve.

    Example:

        kairos models list
    """
    found = list(bundle.cards(Settings.from_env().models))
    if as_json:
        console.print_json([_line(card) | {"champion": served} for card, served in found])
        return
    if not found:
        console.out.print("No model yet: run `kairos train all`.", markup=False)
        return
    rows = [
        (
            card.problem,
            card.version,
            f"{card.trained_at:%Y-%m-%d %H:%M}",
            _figure(card.metric("auc")),
            "champion" if served else "",
            card.headline,
        )
        for card, served in found
    ]
    console.table("Models", ("problem", "version", "trained", ">AUC [95 %]", "", "how far to trust it"), rows)


@app.command()
def show(
    problem: Annotated[str, typer.Argument(help="The problem.")],
    version: Annotated[str, typer.Option(help="One version; the champion if not given.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show a model's card: what it was asked, how it was judged, what it reads.

    Example:

        kairos models show churn
        kairos models show churn --version 3-1a2b3c4d --json
    """
    models = Settings.from_env().models
    if version:
        versions = {card.version: card for card, _ in bundle.cards(models) if card.problem == problem}
        card = pick(versions, version, field=f"version of {problem}")
    else:
        card = bundle.champion(models, problem)
    if as_json:
        console.print_json(card)
        return
    _show(card)


def _show(card: Card) -> None:
    for line in (f"{card.problem} {card.version}", card.question, card.headline):
        console.out.print(line, markup=False)
    rows = [
        (each.name, _figure(each), "" if each.baseline is None else f"{each.baseline:.4f}") for each in card.metrics
    ]
    console.table("On the test split", ("figure", ">value [95 %]", ">baseline"), rows)
    splits = ("train", "validation", "test")
    cutoffs = [(name, getattr(card.cutoffs, name)) for name in splits]
    console.table(
        f"Rows; labels look {card.horizon_days} days ahead",
        ("split", ">rows", "first cutoff", "last cutoff"),
        [(name, f"{card.rows[name]:,}", f"{when[0]:%Y-%m-%d}", f"{when[-1]:%Y-%m-%d}") for name, when in cutoffs],
    )
    console.table(
        f"What it reads; calibrated by {card.calibration.method}",
        ("feature", "type", "unit", "reads as"),
        [(each.ref, each.dtype, each.unit, each.phrase) for each in card.features],
    )
    for each in card.candidates.columns if card.candidates else ():
        console.out.print(f"  of the candidate: {each.name}, {each.phrase}", markup=False)


def _line(card: Card) -> dict[str, object]:
    return {
        "problem": card.problem,
        "version": card.version,
        "trained_at": card.trained_at,
        "headline": card.headline,
        "metrics": card.metrics,
    }


def _figure(metric: Metric) -> str:
    return f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"
