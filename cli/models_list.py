"""What `kairos models list` and `log` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cli import console
from cli.models_show import figure, judged
from features.kernel.card import Card
from features.kernel.settings import Settings
from training.registry import bundle
from training.registry.bundle import Listing
from training.registry.pending import Kept
from training.registry.promotion import Change

__all__ = ["print_list", "show_list", "show_log"]


def print_list(found: Listing, waiting: Sequence[Kept]) -> None:
    """The list as JSON: one object a model; what cannot be read goes to stderr."""
    unsent = {(each.problem, each.version) for each in waiting}
    console.print_json([_line(card, served, unsent) for card, served in found.cards])
    _show_faults(found)


def show_list(found: Listing, waiting: Sequence[Kept], settings: Settings) -> None:
    """The list as a table."""
    _show_faults(found)
    if not found.cards:
        console.out.print("No model yet: run `kairos train all`.", markup=False)
        return
    challengers = {card.problem: bundle.aliases(settings.models, card.problem)["challenger"] for card, _ in found.cards}
    rows = [
        (
            card.problem,
            card.version,
            f"{card.trained_at:%Y-%m-%d %H:%M}",
            _named(card),
            "champion" if served else _standing(card, challengers[card.problem]),
            card.headline,
        )
        for card, served in found.cards
    ]
    columns = ("problem", "version", "trained", ">judged by [95 %]", "", "how far to trust it")
    console.table("Models", columns, rows)
    if unsent := [each for each in waiting if each.version]:
        console.out.print(f"MLflow has not been told of {len(unsent)}: `kairos models send` tells it.", markup=False)


def show_log(found: Sequence[Change]) -> None:
    """The record of changes."""
    if not found:
        console.out.print("No champion was ever changed here.")
        return
    rows = [
        (
            f"{each.at:%Y-%m-%d %H:%M}",
            each.problem,
            each.what.removeprefix("a model was "),
            each.version,
            each.who,
            each.why,
        )
        for each in found
    ]
    console.table("On the record", ("when", "problem", "what", "version", "who", "why"), rows)


def _line(card: Card, served: bool, unsent: set[tuple[str, str]]) -> dict[str, Any]:
    return {
        "problem": card.problem,
        "version": card.version,
        "kind": card.kind,
        "trained_at": card.trained_at,
        "headline": card.headline,
        "metrics": card.metrics,
        "champion": served,
        "refused_by": [each.code for each in card.gates if each.refuses],
        "unsent": (card.problem, card.version) in unsent,
    }


def _show_faults(found: Listing) -> None:
    for name, why in found.faults.items():
        console.err.print(f"passed over {name}: {why}", markup=False, soft_wrap=True)


def _named(card: Card) -> str:
    found = judged(card)
    return f"{found.name} {figure(found)}" if found else ""


def _standing(card: Card, challenger: str) -> str:
    refused = ", ".join(each.code for each in card.gates if each.refuses)
    if refused:
        return f"refused by {refused}"
    return "challenger" if card.version == challenger else ""
