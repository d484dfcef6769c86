"""`kairos quarantine`: what was set aside at the door, to be looked at, released or discarded."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from cli import console
from cli.console import JsonOption
from features.kernel import quarantine
from features.kernel.errors import InvalidInput
from features.kernel.ledger import Ledger
from features.kernel.records import Receipt
from features.kernel.settings import Settings

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at what was set aside at the door; release or discard it.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Everything that is there and can be.")]
_SHOWN = 60


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="The oldest so many.", min=1)] = 1_000, as_json: JsonOption = False
) -> None:
    """List events dated too far ahead, and stream entries that could not be read as events.

    Example:

        kairos quarantine list
        kairos quarantine list --limit 10 --json
    """
    with Ledger.of(Settings.from_env()) as ledger:
        found = quarantine.listed(ledger, limit)
    if as_json:
        console.print_json(found)
        return
    rows = [
        (
            each.id,
            each.kind,
            each.customer_id,
            each.type or _short(each.raw or ""),
            each.occurred_at and f"{each.occurred_at:%Y-%m-%d %H:%M}",
            f"{each.received_at:%Y-%m-%d %H:%M}",
            each.reason,
        )
        for each in found
    ]
    columns = ("id", "kind", "customer", "type or text", "occurred", "received", "reason")
    console.table(f"In quarantine: {len(found):,}", columns, rows)


@app.command()
def release(ids: Ids = None, every: All = False, as_json: JsonOption = False) -> None:
    """Make events of what was dated ahead: each counts from the instant at which it says it occurred.

    What could not be read as an event can only be discarded. Releasing twice changes nothing.

    Example:

        kairos quarantine release order-1001 order-1002
        kairos quarantine release --all --json
    """
    _settle(quarantine.release, "Released", ids or [], every and "dated ahead", as_json=as_json)


@app.command()
def discard(ids: Ids = None, every: All = False, as_json: JsonOption = False) -> None:
    """Drop what was set aside, for good. Discarding twice changes nothing.

    Example:

        kairos quarantine discard order-1001
        kairos quarantine discard --all --json
    """
    _settle(quarantine.discard, "Discarded", ids or [], every and "", as_json=as_json)


def _settle(
    settle: Callable[[Ledger, Sequence[str], str], list[Receipt]],
    title: str,
    ids: Sequence[str],
    every: str | bool,
    *,
    as_json: bool,
) -> None:
    """Settle the ids, or all of a kind: `every` is the kind, an empty one being any; False without `--all`."""
    if bool(ids) == (every is not False):
        raise InvalidInput("say which, or --all, not both", field="IDS", remedy="see kairos quarantine list")
    with Ledger.of(Settings.from_env()) as ledger:
        if every is not False:
            ids = [each.id for each in quarantine.listed(ledger) if not every or each.kind == every]
        receipts = settle(ledger, ids, getpass.getuser())
    if as_json:
        console.print_json(receipts)
    else:
        rows = [(each.id, each.status, each.reason or "") for each in receipts]
        console.table(title, ("id", "status", "reason"), rows)
    if any(each.status in ("conflict", "invalid", "not_found") for each in receipts):
        raise typer.Exit(2)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
