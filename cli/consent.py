"""`kairos consent`: what a customer allowed or refused, by channel, since when and by which event."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from cli import console
from cli.console import JsonOption
from features import consent
from features.frames import events_frame, known, spine_of
from features.kernel import clock
from features.kernel.errors import NotFound
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings

__all__ = ["run"]


def run(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    as_of: Annotated[str, typer.Option("--as-of", help="The instant, ISO 8601 with a time zone; by default now.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show a customer's consent, channel by channel, with its history, as it was known at an instant.

    A channel that is not listed was never spoken of: there is no consent.

    Example:

        kairos consent c00042
        kairos consent c00042 --as-of 2026-06-01T00:00:00Z --json

    Raises:
        NotFound: nothing was known of this customer.
    """
    instant = clock.parse_instant(as_of, field="--as-of") if as_of else clock.now()
    with Ledger.of(Settings.from_env()) as ledger:
        events = events_frame(row for part in ledger.events([customer]) for row in part)
    events = known(events, spine_of([customer], instant)).drop("as_of")
    if events.is_empty():
        raise NotFound(f"is not known as of {instant:%Y-%m-%d %H:%M:%S} UTC", field="customer", value=customer)
    holds = consent.as_of(events, instant).drop("customer_id")
    spans = consent.history(events).drop("customer_id")
    if as_json:
        console.print_json(
            {"customer_id": customer, "as_of": instant, "channels": holds.to_dicts(), "history": spans.to_dicts()}
        )
    elif spans.is_empty():
        console.out.print("Neither consent nor refusal is known, of any channel.")
    else:
        title = f"Consent of {escape(customer)} as of {instant:%Y-%m-%d %H:%M} UTC"
        columns = ("channel", "consent", "since", "until", "said by the event")
        rows = [
            (escape(channel), "yes" if granted else "no", _shown(since), _shown(until), escape(event_id))
            for channel, granted, since, until, event_id in spans.iter_rows()
        ]
        console.table(title, columns, rows)


def _shown(instant: datetime | None) -> str:
    return "holds" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}"
