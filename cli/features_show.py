"""`kairos features show`: what was known of a customer at an instant, from which events, and what is served."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape

from cli import console
from cli.console import JsonOption
from features import history
from features.compare import Value
from features.compute import all_views
from features.kernel import clock
from features.kernel.errors import Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.lineage import Lineage, trace
from features.packed.store import PackedStore
from features.parity import Served, served

__all__ = ["plain", "show", "shown"]

_LATER = 20
"""Events that were not known yet, shown one by one."""


def show(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    as_of: Annotated[str, typer.Option(help="The instant, ISO 8601 with a time zone; by default now.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show what was known about a customer at an instant, and from which events.

    Computed from the ledger. A feature comes from an event if its value would be another without it. Where two events
    say the same it comes from neither; what is known of everyone comes from no event of the customer. Features of the
    account come from all its people. Without --as-of, and with KAIROS_REDIS_URL, the value that is served stands
    beside.

    Example:

        kairos features show c00042
        kairos features show c00042 --as-of 2026-06-01T00:00:00Z --json
    """
    settings, instant = Settings.from_env(), clock.parse_instant(as_of, field="--as-of") if as_of else clock.now()
    with console.step("Events") as at, Ledger.of(settings) as ledger:
        events = history.refreshed(settings, ledger)
        at.note = f"{events.height:,}"
    with console.step(f"What was known as of {instant:%Y-%m-%d %H:%M} UTC"):
        found = trace(events, customer, instant)
    online = None if as_of else _online(settings, events, customer)
    if as_json:
        console.print_json(_as_json(customer, found, online))
        return
    name = plain(customer)
    console.table(
        f"{name} as of {instant:%Y-%m-%d %H:%M:%S} UTC: known events ({found.events.height:,})",
        ("type", ">events", "first", "last"),
        [(kind, f"{count:,}", _at(first), _at(last)) for kind, count, first, last in _by_type(found.events)],
    )
    _features(name, found, online, _types(events, found))
    _not_yet_known(found.later)
    for line in _notes(found):
        console.out.print(line, markup=False)


def plain(text: str) -> str:
    """An id or a value as a terminal may have it: nothing in it is markup or moves the cursor."""
    return escape("".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text))


def shown(value: Value) -> str:
    """A value as a table has it; of a list how many values there are, and their least and greatest."""
    if isinstance(value, list):
        known = [each for each in value if each is not None]
        return f"{len(value)} values, {min(known):,.3g} to {max(known):,.3g}" if known else "–"
    if value is None or isinstance(value, str):
        return "–" if value is None else plain(value)
    return f"{value:,.4g}"


# -- what is served ----------------------------------------------------------------------------------------------------


def _online(settings: Settings, events: pl.DataFrame, customer: str) -> dict[str, Served] | None:
    """What is served; None without a Redis, or when it is away: what is known can be shown all the same."""
    if not settings.redis_url:
        return None
    store = PackedStore.of(settings)
    try:
        with console.step("What is served") as at:
            found = served(events, customer, store, all_views())
            at.note = f"{sum(each.differs for each in found.values())} values differ from what the events say"
            return found
    except Unavailable as away:
        console.err.print(str(away), markup=False)
        return None
    finally:
        store.close()


def _of_online(each: Served) -> str:
    if each.age is None:
        return "nothing"
    age = _age(each.age) + (" old, expired" if each.status.name == "EXPIRED" else " old")
    return f"[red]{shown(each.value)} ({age}) differs[/]" if each.differs else f"{shown(each.value)} ({age})"


def _age(age: timedelta) -> str:
    seconds = age.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"


# -- printing ----------------------------------------------------------------------------------------------------------


def _features(
    name: str, found: Lineage, online: Mapping[str, Served] | None, types: Mapping[str, tuple[str, datetime]]
) -> None:
    headings = ["feature", ">value", "unit", ">from", "the newest of them"]
    rows = []
    for ref, value in found.values.items():
        view, _, feature = ref.partition(":")
        unit = next(each.unit for each in all_views()[view].features if each.name == feature)
        sources = found.sources[ref]
        newest = f"{types[sources[0]][0]} {_at(types[sources[0]][1])}" if sources else ""
        row = [ref, shown(value), unit, f"{len(sources):,}" if sources else "–", newest]
        rows.append([*row, _of_online(online[ref])] if online is not None else row)
    console.table(f"What was known of {name}", [*headings, "served"] if online is not None else headings, rows)


def _not_yet_known(later: pl.DataFrame) -> None:
    if later.is_empty():
        return
    columns = ("event_id", "type", "occurred_at", "received_at")
    rows = [
        (plain(event), kind, _at(occurred), _at(received))
        for event, kind, occurred, received in later.head(_LATER).select(columns).iter_rows()
    ]
    title = f"Not yet known ({later.height:,}): had occurred, but were received later"
    console.table(title, ("event", "type", "occurred", "received"), rows)


def _notes(found: Lineage) -> list[str]:
    return [
        f"Events of the {entity}: {looked:,} of {of:,} were left out in turn, the newest."
        for entity, (looked, of) in found.examined.items()
        if looked < of
    ]


def _by_type(events: pl.DataFrame) -> list[tuple[str, int, datetime, datetime]]:
    when = pl.col("occurred_at")
    return events.group_by("type").agg(pl.len(), when.min(), when.max().alias("last")).sort("type").rows()


def _types(events: pl.DataFrame, found: Lineage) -> dict[str, tuple[str, datetime]]:
    """Type and time of every source, those of others at the account among them."""
    ids = pl.Series([each for sources in found.sources.values() for each in sources], dtype=pl.String).unique()
    rows = events.filter(pl.col("event_id").is_in(ids.implode())).select("event_id", "type", "occurred_at")
    return {event: (kind, when) for event, kind, when in rows.iter_rows()}


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"


def _as_json(customer: str, found: Lineage, online: Mapping[str, Served] | None) -> dict[str, Any]:
    features: dict[str, dict[str, Value]] = {name: {} for name in all_views()}
    for ref, value in found.values.items():
        view, _, feature = ref.partition(":")
        features[view][feature] = value
    columns = ("event_id", "type", "occurred_at", "received_at")
    return {
        "customer_id": customer,
        "as_of": found.as_of,
        "features": features,
        "events": {
            "known": found.events.height,
            "by_type": {
                kind: {"events": count, "first": first, "last": last}
                for kind, count, first, last in _by_type(found.events)
            },
            "not_yet_known": found.later.select(columns).to_dicts(),
        },
        "sources": found.sources,
        "left_out_in_turn": {kind: {"newest": n, "of": of} for kind, (n, of) in found.examined.items()},
        "served": None if online is None else {ref: _served_json(each) for ref, each in online.items()},
    }


def _served_json(each: Served) -> dict[str, Any]:
    return {
        "value": each.value,
        "computed": each.expected,
        "status": each.status.name.lower(),
        "age_seconds": None if each.age is None else each.age.total_seconds(),
        "differs": each.differs,
    }
