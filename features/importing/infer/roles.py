"""Which column is the customer, the time, the order's number, the amount: by name, and by what the values say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from features.importing.infer.facts import Facts, share
from features.importing.infer.proposal import Table

__all__ = [
    "Found",
    "amount",
    "customer",
    "event_type",
    "is_price",
    "order_number",
    "quantity",
    "time",
    "unique_id",
]

_PERSON = {
    *("customer", "client", "user", "member", "person", "contact", "visitor", "cust", "buyer", "subscriber"),
    *("shopper", "guest", "patient", "uid", "userid", "customerid", "clientid", "cid", "recipient", "lead", "kunde"),
    *("kundennr", "email", "mail", "account"),
}
_ID = {"id", "no", "nr", "num", "number", "key", "code", "hash", "uuid", "guid", "ref"}
_ORDER = {
    *("invoice", "order", "transaction", "basket", "receipt", "bill", "checkout", "orderid", "invoiceno", "txn", "trx"),
    *("purchase", "booking", "ticket", "bestellung", "rechnung"),
}
_TOTAL = {
    *("amount", "total", "value", "revenue", "spend", "spent", "sales", "paid", "payment", "gross", "net", "sum"),
    *("subtotal", "gmv", "turnover", "betrag", "umsatz", "montant", "importe"),
}
_PRICE = {"price", "unitprice", "preis", "prix", "precio", "rate"}
_QUANTITY = {"quantity", "qty", "units", "pieces", "count", "items", "cds", "menge", "anzahl", "volume"}
_NO_AMOUNT = {"id", "no", "code", "count", "number", "year", "month", "day", "percent", "pct", "share", "tax", "zip"}
_WHEN = {"date", "time", "datetime", "timestamp", "ts", "at", "when", "created", "ordered", "occurred", "purchased"}
_NOT_WHEN = {"birth", "birthday", "dob", "born", "expiry", "expires", "updated", "modified", "due", "valid", "signup"}
_TYPE = {"event", "type", "action", "activity", "behavior", "behaviour", "kind"}
_LEAST = 0.9


@dataclass(frozen=True, slots=True)
class Found:
    """A column in its role, and why."""

    facts: Facts
    why: str


def _time_candidates(table: Table) -> list[Facts]:
    """Columns that read as times, the likeliest first."""
    found = [each for each in table.columns.values() if each.time and each.time.share >= _LEAST and not each.constant]

    def likelihood(each: Facts) -> tuple[int, float, bool]:
        named = bool(each.words & _WHEN) - 2 * bool(each.words & _NOT_WHEN)
        return named, each.filled, not (each.time and each.time.days_only)

    return sorted(found, key=likelihood, reverse=True)


def time(table: Table) -> Found | None:
    """When it happened."""
    found = _time_candidates(table)
    if not found:
        return None
    best, guess = found[0], found[0].time
    assert guess is not None
    first, last = guess.instants.min(), guess.instants.max()
    why = f"{share(guess.share)} of {best.present:,} values read as times, from {first:%Y-%m-%d} to {last:%Y-%m-%d}"  # type: ignore[str-bytes-safe]
    others = ", ".join(each.name for each in found[1:])
    return Found(best, why + (f"; not taken: {others}" if others else "") + f"; e.g. {best.examples(2)}")


def customer(table: Table, but: Iterable[str]) -> Found | None:
    """Who it happened to: named like a person's id, or whole numbers with leading zeros that come again and again."""

    def score(each: Facts) -> float:
        repeats = each.present > each.distinct
        named = 3 * bool(each.words & _PERSON) + bool(each.words & _ID)
        padded = each.values.str.contains(r"^0\d+$").any() and each.whole
        mail = each.values.str.contains("@").sum() > 0.9 * each.present
        return named + repeats + 2 * bool(padded) + 3 * bool(mail) - 4 * bool(each.words & _ORDER)

    found = _best(table, but, score, least=3, fit=_like_an_id)
    if found is None:
        return None
    often = found.present / max(found.distinct, 1)
    why = f"{_named(found, _PERSON)}{found.distinct:,} different values, each on {often:.1f} rows"
    why += f"; e.g. {found.examples(2)}"
    return Found(found, why + ("" if found.filled == 1 else f"; {share(1 - found.filled)} of the rows have none"))


def order_number(table: Table, who: Facts, but: Iterable[str]) -> Found | None:
    """What tells orders apart: values that belong to one customer each."""

    def score(each: Facts) -> float:
        return 3 * bool(each.words & _ORDER) + bool(each.words & _ID) + bool(each.words & {"session", "event"})

    found = _best(table, but, score, least=2, fit=_like_an_id)
    if found is None:
        return None
    pairs = pl.DataFrame([found.values.alias("order"), who.values.alias("who")]).drop_nulls()
    owners = pairs.group_by("order").agg(pl.col("who").n_unique())["who"]
    alone = float((owners == 1).sum()) / max(len(owners), 1)
    if alone < 0.95:
        return None
    lines = f"{pairs.height / max(len(owners), 1):.1f} rows each"
    why = f"{found.distinct:,} different values, {lines}; {share(alone)} of them belong to one customer"
    return Found(found, f"{why}; e.g. {found.examples(2)}")


def quantity(table: Table, but: Iterable[str]) -> Found | None:
    """How many pieces a row is about."""

    def score(each: Facts) -> float:
        return 2 * bool(each.words & _QUANTITY) or 2 * (each.has("column") and _small(each))

    found = _best(table, but, score, least=2, fit=lambda each: each.whole and each.time is None)
    return Found(found, f"{_named(found, _QUANTITY)}all are whole numbers; e.g. {found.examples()}") if found else None


def amount(table: Table, but: Iterable[str]) -> Found | None:
    """What a row is worth, or the price of one piece."""

    def score(each: Facts) -> float:
        named = 4 * bool(each.words & _TOTAL) + 3 * bool(each.words & _PRICE)
        unnamed = 3 * (not each.whole and each.has("column"))
        return named + unnamed + (not each.whole) - 3 * bool(each.words & _NO_AMOUNT)

    found = _best(table, but, score, least=3, fit=lambda each: each.numeric >= _LEAST)
    if found is None:
        return None
    low, high = found.numbers.min(), found.numbers.max()
    why = f"{_named(found, _TOTAL | _PRICE)}{share(found.numeric)} of its values are numbers, from {low:g} to {high:g}"  # type: ignore[str-bytes-safe]
    return Found(found, why + ("; with a decimal comma" if found.decimal == "," else ""))


def is_price(found: Found) -> bool:
    """Whether an amount is that of one piece."""
    return bool(found.facts.words & _PRICE) and not found.facts.words & _TOTAL


def event_type(table: Table, known: Iterable[str], but: Iterable[str]) -> Found | None:
    """What happened, if a column says so: few different values, some of them words for events."""
    words = set(known)

    def score(each: Facts) -> float:
        rows = sum(count for value, count in each.counts if value.lower().strip() in words)
        return 2 * bool(each.words & _TYPE) + 4 * rows / max(each.present, 1)

    found = _best(table, but, score, least=3, fit=lambda each: 1 <= each.distinct <= 50 and each.numeric < 0.5)
    if found is None:
        return None
    shown = ", ".join(f"{value} ({count:,})" for value, count in found.counts[:5])
    return Found(found, f"{found.distinct} different values, some of them words for events: {shown}")


def unique_id(table: Table, but: Iterable[str]) -> Found | None:
    """An id of each row, by which two rows are the same event."""
    for each in table.but(*but):
        if each.unique and each.filled == 1 and each.words & (_ID | {"event"}) and _like_an_id(each):
            return Found(each, f"no value stands there twice; e.g. {each.examples(2)}")
    return None


def _named(each: Facts, words: set[str]) -> str:
    return "its name says so; " if each.words & words else "a guess, for it has no name; " if each.has("column") else ""


def _small(each: Facts) -> bool:
    """Whether all are counts of things: below a thousand, and no id with leading zeros."""
    return bool((each.numbers.drop_nulls() < 1000).all()) and not each.values.str.contains(r"^0\d").any()


def _like_an_id(each: Facts) -> bool:
    """Not fractions, not times, not one value only."""
    if each.distinct < 2 or each.time is not None:
        return False
    return each.whole or each.numeric < 0.995


def _best(
    table: Table,
    but: Iterable[str],
    score: Callable[[Facts], float],
    *,
    least: float,
    fit: Callable[[Facts], bool],
) -> Facts | None:
    scored = [(score(each), each) for each in table.but(*but) if each.present]
    good = [(points, each) for points, each in scored if points >= least and fit(each)]
    return max(good, key=lambda pair: pair[0])[1] if good else None
