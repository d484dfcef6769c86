"""What a recipe expects of its source, checked before anything is written: `expect:`, docs/recipes.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from features.importing.checks import check_day
from features.importing.imported import Imported
from features.importing.reasons import BUILT_IN
from features.importing.schema import Expected, Recipe, did_you_mean
from features.kernel.errors import InvalidRecipe, QualityBreach

__all__ = ["Breach", "breaches", "check_expected", "require"]

EXAMPLES = 5
_SHARES = ("refused_at_most", "positive_at_least", "positive_at_most")


@dataclass(frozen=True, slots=True)
class Breach:
    """One expectation that was not kept. `rows` says of some rows, or events, which they are."""

    expectation: str
    expected: float | str
    found: float | str
    rows: tuple[str, ...] = ()


def check_expected(recipe: Recipe) -> None:
    """Whether the recipe's expectations make sense; InvalidRecipe names the one that does not."""
    expect = recipe.expect
    reasons = [*BUILT_IN, *(each.reason for each in recipe.refused)]
    for name in _SHARES:
        _share(getattr(expect, name), f"expect.{name}")
    for reason, share in expect.refused.items():
        _share(share, f"expect.refused.{reason}")
        if reason not in reasons:
            remedy = did_you_mean(reason, reasons)
            raise InvalidRecipe("is no reason of refusal here", field=f"expect.refused.{reason}", remedy=remedy)
    for name in ("not_before", "not_after", "reaches"):
        if day := getattr(expect, name):
            check_day(day, f"expect.{name}")
            if not recipe.time_zone:
                raise InvalidRecipe("is missing", field="time_zone", remedy=f"expect.{name} needs one")


def require(recipe: Recipe, imported: Imported) -> None:
    """Raise unless everything expected holds.

    Raises:
        QualityBreach: names the first expectation that does not, what was found, and some of the rows.
    """
    found = breaches(recipe, imported)
    if not found:
        return
    first, more = found[0], f", and {len(found) - 1} more expectations are not kept" if len(found) > 1 else ""
    rows = f": {'; '.join(first.rows)}" if first.rows else ""
    raise QualityBreach(
        f"expected {first.expected}, found {first.found}{rows}{more}",
        field=f"expect.{first.expectation}",
        remedy="nothing was written; mend the file, or change `expect` in the recipe",
    )


def breaches(recipe: Recipe, imported: Imported) -> list[Breach]:
    """The expectations that do not hold, in the order of `Expected`."""
    expect = recipe.expect
    return [*_of_rows(expect, imported), *_of_values(expect, imported), *_of_times(recipe, imported)]


def _of_rows(expect: Expected, imported: Imported) -> Iterator[Breach]:
    read, counts = imported.rows_read, imported.counts
    if expect.rows_at_least is not None and read < expect.rows_at_least:
        yield Breach("rows_at_least", expect.rows_at_least, read)
    share = sum(counts.values()) / read
    if expect.refused_at_most is not None and share > expect.refused_at_most:
        worst = max(counts, key=lambda reason: counts[reason])
        yield Breach(
            "refused_at_most", expect.refused_at_most, _round(share), (f"most as {worst}", *_refused(imported, worst))
        )
    for reason, most in expect.refused.items():
        share = counts.get(reason, 0) / read
        if share > most:
            yield Breach(f"refused.{reason}", most, _round(share), _refused(imported, reason))


def _of_values(expect: Expected, imported: Imported) -> Iterator[Breach]:
    people = (imported.events["customer_id"] if imported.snapshot is None else imported.table["id"]).n_unique()
    if expect.customers_at_least is not None and people < expect.customers_at_least:
        yield Breach("customers_at_least", expect.customers_at_least, people)
    if expect.customers_at_most is not None and people > expect.customers_at_most:
        yield Breach("customers_at_most", expect.customers_at_most, people)
    amount = pl.col("amount")
    if expect.amount_at_least is not None:
        yield from _events(
            "amount_at_least", expect.amount_at_least, imported, amount < expect.amount_at_least, "amount"
        )
    if expect.amount_at_most is not None:
        yield from _events("amount_at_most", expect.amount_at_most, imported, amount > expect.amount_at_most, "amount")
    if imported.snapshot is not None and imported.table.height:
        share = float((imported.table["label"] == 1).sum()) / imported.table.height
        if expect.positive_at_least is not None and share < expect.positive_at_least:
            yield Breach("positive_at_least", expect.positive_at_least, _round(share))
        if expect.positive_at_most is not None and share > expect.positive_at_most:
            yield Breach("positive_at_most", expect.positive_at_most, _round(share))


def _of_times(recipe: Recipe, imported: Imported) -> Iterator[Breach]:
    expect = recipe.expect
    name, table = ("occurred_at", imported.events) if imported.snapshot is None else ("as_of", imported.table)
    if expect.not_before:
        start = _midnight(expect.not_before, recipe.time_zone)
        yield from _events("not_before", expect.not_before, imported, pl.col(name) < start, name)
    if expect.not_after:
        end = _midnight(expect.not_after, recipe.time_zone, days=1)
        yield from _events("not_after", expect.not_after, imported, pl.col(name) >= end, name)
    if expect.reaches:
        newest = table[name].max()
        if not isinstance(newest, datetime):
            yield Breach("reaches", expect.reaches, "nothing")
        elif newest < _midnight(expect.reaches, recipe.time_zone):
            yield Breach("reaches", expect.reaches, f"{newest:%Y-%m-%d %H:%M} UTC")


def _events(name: str, expected: float | str, imported: Imported, wrong: pl.Expr, column: str) -> Iterator[Breach]:
    table, key = (imported.events, "event_id") if imported.snapshot is None else (imported.table, "id")
    if column not in table.columns:
        return
    found = table.filter(wrong.fill_null(False)).select(key, column)
    if found.height:
        shown = tuple(f"{each} ({value})" for each, value in found.head(EXAMPLES).iter_rows())
        yield Breach(name, expected, f"{found.height:,} of {table.height:,} otherwise", shown)


def _refused(imported: Imported, reason: str) -> tuple[str, ...]:
    examples = imported.examples(reason)
    return tuple(f"row {each['row']} {each.get('text', each.get('values') or '')}".strip() for each in examples)


def _midnight(day: str, zone: str, days: int = 0) -> datetime:
    start = datetime.strptime(day, "%Y-%m-%d") + timedelta(days=days)  # noqa: DTZ007  the zone comes next
    return start.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _round(share: float) -> float:
    return round(share, 4)


def _share(value: float | None, path: str) -> None:
    if value is not None and not 0 <= value <= 1:
        raise InvalidRecipe("must be a share, from 0 to 1", field=path, value=value, remedy="0.05 is five in a hundred")
