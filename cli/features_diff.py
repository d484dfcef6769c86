"""`kairos features diff`: what differs between two customers, two instants of one, or two runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from cli import console
from cli.console import JsonOption
from cli.features_show import plain, shown
from features import history
from features.compare import Shift, Value, compare_runs, rows_of_run, run_at, side_by_side
from features.compute import all_views
from features.kernel import clock
from features.kernel.errors import InvalidInput
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings

__all__ = ["Operand", "diff", "operand"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Operand:
    """What is compared: a customer at an instant, or everyone at one."""

    customer: str | None
    instant: datetime | None
    """Of a customer, None stands for now."""


def operand(text: str, field: str) -> Operand:
    """An operand from `CUSTOMER`, `CUSTOMER@INSTANT` or `INSTANT`; an id may have an @ in it.

    Raises:
        InvalidSetting: an instant names no time zone.

    >>> operand("ann@example.org@2026-06-01T00:00:00Z", "A").customer
    'ann@example.org'
    >>> operand("ann@example.org", "A")
    Operand(customer='ann@example.org', instant=None)
    """
    if (instant := _instant(text, field)) is not None:
        return Operand(None, instant)
    customer, _, when = text.rpartition("@")
    if customer and (instant := _instant(when, field)) is not None:
        return Operand(customer, instant)
    return Operand(text, None)


def diff(
    a: Annotated[str, typer.Argument(help="CUSTOMER, CUSTOMER@INSTANT or INSTANT.")],
    b: Annotated[str, typer.Argument(help="The same kind as the first.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two customers (or one at two instants), or everyone in two stored runs.

    Of customers: every feature that differs. Of runs, each the newest that is not after the instant: the population of
    every feature, the largest change first. PSI is the population stability index: below 0.1 little has changed, above
    0.25 a lot.

    Example:

        kairos features diff c00042 c00043
        kairos features diff c00042@2026-06-01T00:00:00Z c00042 --json
        kairos features diff 2026-06-01T00:00:00Z 2026-09-01T00:00:00Z
    """
    settings, first, second = Settings.from_env(), operand(a, "A"), operand(b, "B")
    if (first.customer is None) != (second.customer is None):
        remedy = "give two customers or two instants"
        raise InvalidInput("are of different kinds", field="A and B", value=f"{a} and {b}", remedy=remedy)
    if first.customer is None:
        _runs(settings, first, second, as_json)
    else:
        _customers(settings, first, second, as_json)


def _instant(text: str, field: str) -> datetime | None:
    """An instant if it reads as one; what only begins like a date is an id."""
    if not _DATE.match(text):
        return None
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return clock.parse_instant(text, field=field)


# -- customers ---------------------------------------------------------------------------------------------------------


def _customers(settings: Settings, a: Operand, b: Operand, as_json: bool) -> None:
    now = clock.now()
    sides = [(str(each.customer), each.instant or now) for each in (a, b)]
    with console.step("What was known of either"):
        with Ledger.of(settings) as ledger:
            events = history.refreshed(settings, ledger)
        values = side_by_side(events, sides)
    differ = {ref: pair for ref, pair in values.items() if pair[0] != pair[1]}
    units = {f"{view.name}:{each.name}": each.unit for view in all_views().values() for each in view.features}
    if as_json:
        named = [{"customer_id": customer, "as_of": as_of} for customer, as_of in sides]
        rows = [{"ref": ref, "unit": units[ref], "a": x, "b": y} for ref, (x, y) in differ.items()]
        console.print_json({"a": named[0], "b": named[1], "features": len(values), "differ": rows})
        return
    title = f"{len(differ)} of {len(values)} features differ"
    headings = [f">{plain(customer)} {as_of:%Y-%m-%d %H:%M}" for customer, as_of in sides]
    console.table(
        title, ("feature", *headings, "unit"), [(ref, *_pair(*pair), units[ref]) for ref, pair in differ.items()]
    )


def _pair(a: Value, b: Value) -> tuple[str, str]:
    """Both values; of two lists the element that differs most, if they differ in one."""
    if isinstance(a, list) and isinstance(b, list):
        apart = [abs((x or 0.0) - (y or 0.0)) for x, y in zip(a, b, strict=True)]
        most = apart.index(max(apart))
        others = f"{sum(x != y for x, y in zip(a, b, strict=True))} of {len(a)} differ, most "
        return f"{others}[{most}]: {shown(a[most])}".replace("[", r"\["), shown(b[most])
    return shown(a), shown(b)


# -- runs --------------------------------------------------------------------------------------------------------------


def _runs(settings: Settings, a: Operand, b: Operand, as_json: bool) -> None:
    views, offline = all_views(), settings.offline
    runs = [run_at(offline, views, each.instant) for each in (a, b) if each.instant is not None]
    if runs[0] == runs[1]:
        remedy = "see kairos features build --as-of"
        raise InvalidInput(f"both come to the run of {_at(runs[0])}", field="A and B", value=None, remedy=remedy)
    rows = [
        max(
            int(rows_of_run(offline, each, run).collect().height)
            for each in views.values()
            if each.entity == "customer"
        )
        for run in runs
    ]
    with console.step(f"Compare the runs of {_at(runs[0])} and {_at(runs[1])}"):
        found = compare_runs(offline, views, *runs)
    if as_json:
        named = [{"as_of": run, "customers": n} for run, n in zip(runs, rows, strict=True)]
        console.print_json({"a": named[0], "b": named[1], "features": found})
        return
    title = f"{_at(runs[0])} ({rows[0]:,} customers) and {_at(runs[1])} ({rows[1]:,})"
    headings = ("feature", ">PSI", ">means apart", ">mean A", ">mean B", ">missing A", ">missing B")
    console.table(title, headings, [_shift_row(each) for each in found])


def _shift_row(each: Shift) -> tuple[str, ...]:
    apart = "–" if each.difference is None else f"{each.difference:+.2f} sd"
    missing = (f"{share:.1%}" for share in each.missing)
    return (escape(each.ref), f"{each.psi:.3f}", apart, *map(shown, each.mean), *missing)


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
