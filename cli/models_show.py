"""What `kairos models show` prints: a card in words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli import console
from features.kernel.card import Card, Metric
from features.kernel.errors import NotFound
from training.registry import bundle

__all__ = ["card", "figure", "judged", "show"]

_JUDGED = {"binary": "auc", "candidates": "auc", "regression": "gini", "uplift": "qini"}
_SPLITS = ("train", "validation", "test")


def card(models: Path, problem: str, version: str) -> Card:
    """The card of a version, of the `champion` or of the `challenger`.

    Raises:
        NotFound: there is none.
    """
    if version == "champion":
        return bundle.champion(models, problem)
    if version == "challenger" and not (version := bundle.aliases(models, problem)["challenger"]):
        raise NotFound("has no challenger: the newest model is the champion", field="problem", value=problem)
    return bundle.card(models, problem, version)


def judged(card: Card) -> Metric | None:
    """The figure a model of its kind is judged by first; None where its card has none."""
    named = {each.name: each for each in card.metrics}
    return named.get(_JUDGED[card.kind]) or next(iter(card.metrics), None)


def figure(metric: Metric) -> str:
    """A figure with its interval."""
    return f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"


def show(card: Card) -> None:
    """A card in words and tables."""
    for line in (f"{card.problem} {card.version}", card.question, card.headline, *card.limits):
        console.out.print(line, markup=False)
    console.table("How it was made", ("what", "how"), _made(card))
    rows = [(each.name, figure(each), "" if each.baseline is None else f"{each.baseline:.4f}") for each in card.metrics]
    console.table(f"On the test split; baseline: {card.baseline}", ("figure", ">value [95 %]", ">baseline"), rows)
    cutoffs = [(name, getattr(card.cutoffs, name)) for name in _SPLITS]
    console.table(
        f"Rows, split {'in time order' if card.split == 'time' else 'at random'}; "
        f"labels look {card.horizon_days} days ahead",
        ("split", ">rows", "first cutoff", "last cutoff"),
        [(name, f"{card.rows[name]:,}", *_ends(when)) for name, when in cutoffs],
    )
    console.table(
        "Gates",
        ("code", "gate", "outcome", "what it found"),
        [(each.code, each.title, _outcome(each.outcome, each.refuses), each.figure) for each in card.gates],
    )
    console.table(
        "What it reads",
        ("feature", "type", "unit", "reads as", "family"),
        [(each.ref, each.dtype, each.unit, each.phrase, each.group) for each in card.features],
    )
    for each in card.candidates.columns if card.candidates else ():
        console.out.print(f"  of the candidate: {each.name}, {each.phrase}", markup=False)
    if card.columns:
        rows = [(each.column, "kept" if each.kept else "left out", each.reason) for each in card.columns]
        console.table("Columns that were spoken of", ("column", "", "why"), rows)


def _made(card: Card) -> list[tuple[str, str]]:
    calibration, bounds = card.calibration, card.interval
    error = f"{card.calibration.largest_error:.3f}"
    return [
        ("trained", f"{card.trained_at:%Y-%m-%d %H:%M} UTC"),
        ("kind, answer", f"{card.kind}, {card.unit}"),
        ("learner", f"{card.learner}, {card.rounds} rounds" if card.learner == "trees" else card.learner),
        ("calibration", f"{calibration.method}, {len(calibration.raw)} knots, off by up to {error} over tenths"),
        ("interval", f"{100 * bounds.level:.0f} % {bounds.kind}" if bounds else "none"),
        ("mean answer in training", f"{card.prior:.4f}"),
        ("MLflow run", card.run_id or "none when it was trained"),
    ]


def _ends(when: Sequence[Any]) -> tuple[str, str]:
    return (f"{when[0]:%Y-%m-%d}", f"{when[-1]:%Y-%m-%d}") if when else ("", "")


def _outcome(outcome: str, refuses: bool) -> str:
    return f"{outcome}, refuses" if refuses else outcome
