"""`kairos features`: define, compute, materialise and look up what is known about customers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from cli import console
from cli.console import JsonOption
from features import history
from features.compute import all_views, compute
from features.frames import events_frame, known, spine_of
from features.kernel import clock
from features.kernel.errors import NotFound, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.store import FeatureStore

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Define, compute, look up and materialise features.")

AsOf = Annotated[str, typer.Option(help="The instant, ISO 8601 with a time zone; by default now.")]


@app.command("apply")
def apply_() -> None:
    """Register entity, views and sources with Feast, as `feast -c features apply` does.

    Example:

        kairos features apply
    """
    with console.step("Feature definitions") as at:
        FeatureStore(Settings.from_env()).apply()
        at.note = f"{sum(len(each.features) for each in all_views().values())} features in {len(all_views())} views"


@app.command()
def build(as_of: AsOf = "", as_json: JsonOption = False) -> None:
    """Compute every view for everyone known at an instant and write it to the offline store.

    Example:

        kairos features build --as-of 2026-11-01T00:00:00Z
    """
    settings = Settings.from_env()
    with console.step("Features") as at:
        written = _build(settings, as_of)
        at.note = f"{max(written.values()):,} customers"
    _report("Rows written", written, as_json)


@app.command()
def materialize(as_of: AsOf = "", as_json: JsonOption = False) -> None:
    """Compute everyone's features at an instant and load them into Redis (KAIROS_REDIS_URL).

    Example:

        KAIROS_REDIS_URL=redis://127.0.0.1:6379/0 kairos features materialize
    """
    settings = Settings.from_env()
    if not settings.redis_url:
        raise Unavailable(
            "there is no Redis to load features into",
            field="KAIROS_REDIS_URL",
            remedy="set it, or run kairos up, which starts its own and materialises into it",
        )
    instant = _instant(as_of).isoformat()
    store = FeatureStore(settings)
    with console.step("Features") as at:
        at.note = f"{max(_build(settings, instant).values()):,} customers"
    with console.step("Materialise into Redis"):
        store.apply()
        loaded = store.materialize(_instant(instant))
    _report("Customers loaded", loaded, as_json)


@app.command()
def show(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    as_of: AsOf = "",
    as_json: JsonOption = False,
) -> None:
    """Show what was known about a customer at an instant, computed from the ledger.

    Example:

        kairos features show c00042
        kairos features show c00042 --as-of 2026-06-01T00:00:00Z --json
    """
    instant = _instant(as_of)
    with Ledger.of(Settings.from_env()) as ledger:
        events = events_frame(row for part in ledger.events([customer]) for row in part)
    spine = spine_of([customer], instant)
    if known(events, spine).is_empty():
        raise NotFound(f"is not known as of {instant:%Y-%m-%d %H:%M:%S} UTC", field="customer", value=customer)
    frames = compute(events, spine)
    values = {name: frame.drop("customer_id", "as_of").row(0, named=True) for name, frame in frames.items()}
    if as_json:
        console.print_json({"customer_id": customer, "as_of": instant, "features": values})
        return
    rows = [
        (f"{view.name}:{each.name}", _shown(values[view.name][each.name]), each.unit)
        for view in all_views().values()
        for each in view.features
    ]
    console.table(f"{customer} as of {instant:%Y-%m-%d %H:%M} UTC", ("feature", ">value", "unit"), rows)


def _instant(text: str) -> datetime:
    return clock.parse_instant(text, field="--as-of") if text else clock.now()


def _build(settings: Settings, as_of: str) -> dict[str, int]:
    with Ledger.of(settings) as ledger:
        events = history.refreshed(settings, ledger)
    spine = spine_of(events["customer_id"].unique().sort(), _instant(as_of))
    return FeatureStore(settings).backfill(events, spine)


def _report(title: str, counts: dict[str, int], as_json: bool) -> None:
    if as_json:
        console.print_json(counts)
    else:
        console.table(title, ("view", ">rows"), [(name, f"{rows:,}") for name, rows in counts.items()])


def _shown(value: float | str | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:,.4g}"
