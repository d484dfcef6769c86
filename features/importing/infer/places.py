"""Time zone and currency, from what a table lets see of where it comes from: a guess, and said to be one."""

from __future__ import annotations

import polars as pl

from features.importing.infer.facts import Facts, share
from features.importing.infer.proposal import Draft, Table

__all__ = ["currency_column", "say_currency", "say_zone"]

_COUNTRIES = {
    "united kingdom": ("Europe/London", "GBP"),
    "uk": ("Europe/London", "GBP"),
    "gb": ("Europe/London", "GBP"),
    "great britain": ("Europe/London", "GBP"),
    "england": ("Europe/London", "GBP"),
    "ireland": ("Europe/Dublin", "EUR"),
    "ie": ("Europe/Dublin", "EUR"),
    "germany": ("Europe/Berlin", "EUR"),
    "deutschland": ("Europe/Berlin", "EUR"),
    "de": ("Europe/Berlin", "EUR"),
    "france": ("Europe/Paris", "EUR"),
    "fr": ("Europe/Paris", "EUR"),
    "spain": ("Europe/Madrid", "EUR"),
    "es": ("Europe/Madrid", "EUR"),
    "italy": ("Europe/Rome", "EUR"),
    "it": ("Europe/Rome", "EUR"),
    "portugal": ("Europe/Lisbon", "EUR"),
    "pt": ("Europe/Lisbon", "EUR"),
    "netherlands": ("Europe/Amsterdam", "EUR"),
    "nl": ("Europe/Amsterdam", "EUR"),
    "austria": ("Europe/Vienna", "EUR"),
    "at": ("Europe/Vienna", "EUR"),
    "switzerland": ("Europe/Zurich", "CHF"),
    "ch": ("Europe/Zurich", "CHF"),
    "united states": ("America/New_York", "USD"),
    "usa": ("America/New_York", "USD"),
    "us": ("America/New_York", "USD"),
    "canada": ("America/Toronto", "CAD"),
    "brazil": ("America/Sao_Paulo", "BRL"),
    "br": ("America/Sao_Paulo", "BRL"),
    "japan": ("Asia/Tokyo", "JPY"),
    "jp": ("Asia/Tokyo", "JPY"),
    "india": ("Asia/Kolkata", "INR"),
    "in": ("Asia/Kolkata", "INR"),
    "australia": ("Australia/Sydney", "AUD"),
    "au": ("Australia/Sydney", "AUD"),
}
_ZONES = {
    "GBP": "Europe/London",
    "USD": "America/New_York",
    "EUR": "Europe/Berlin",
    "CHF": "Europe/Zurich",
    "JPY": "Asia/Tokyo",
    "INR": "Asia/Kolkata",
    "CAD": "America/Toronto",
    "AUD": "Australia/Sydney",
    "BRL": "America/Sao_Paulo",
}
_WORDS = {
    "dollar": "USD",
    "dollars": "USD",
    "pound": "GBP",
    "pounds": "GBP",
    "euro": "EUR",
    "euros": "EUR",
    "yen": "JPY",
}
_SIGNS = {"$": "USD", "£": "GBP", "€": "EUR", "¥": "JPY", "₹": "INR"}
_UNKNOWN = "XXX"


def say_zone(draft: Draft, table: Table, when: Facts | None) -> None:
    """Fill `time_zone`, unless every time names its own."""
    zone, why = _zone(draft, table)
    if when is not None and when.time is not None and when.time.zoned:
        zone, why = "UTC", "its times name their own zone; this is for those that do not"
    draft.document["time_zone"] = zone
    draft.say("time_zone", zone, why)


def say_currency(draft: Draft, table: Table, amount: Facts) -> None:
    """Fill `currency` from a column, a sign, a name or the country; and refuse the rows of another one."""
    column = currency_column(table)
    if column is not None:
        code, rows = column.counts[0]
        draft.document["currency"] = code.upper()
        draft.say("currency", code.upper(), f"{share(rows / column.present)} of the values of {column.name}")
        if column.distinct > 1:
            name = draft.column(column, "text", "amounts of several currencies cannot be added up")
            rule = {"reason": "other_currency", "when": f"{name} <> '{code}'"}
            draft.document.setdefault("refused", []).append(rule)
            draft.say("refused.other_currency", rule["when"], f"{column.distinct} currencies: {column.examples(5)}")
        return
    code, why = _currency(table, amount)
    draft.document["currency"] = code
    draft.say("currency", code, why)


def currency_column(table: Table) -> Facts | None:
    """A column of currencies' codes."""
    for each in table.columns.values():
        if each.present and each.has("currency", "ccy", "curr", "waehrung"):
            codes = each.values.drop_nulls().str.contains(r"^[A-Za-z]{3}$").all()
            if codes and each.distinct <= 200:
                return each
    return None


def _zone(draft: Draft, table: Table) -> tuple[str, str]:
    country = _country(table)
    if country is not None:
        column, name, part = country
        return _COUNTRIES[name.lower()][0], f"a guess: {share(part)} of {column} are {name}, and the times name no zone"
    currency = draft.document.get("currency", _UNKNOWN)
    if currency in _ZONES:
        return _ZONES[currency], f"a guess from the currency {currency}: nothing else says where the times are of"
    return "UTC", "a guess: nothing in the file says where its times are of; put your own, like Europe/London"


def _currency(table: Table, amount: Facts) -> tuple[str, str]:
    for code in (*_ZONES, *(_WORDS[each] for each in amount.words if each in _WORDS)):
        named = code.lower() in amount.words or any(_WORDS.get(each) == code for each in amount.words)
        if named:
            return code, f"the name of {amount.name} says so"
    for sign, code in _SIGNS.items():
        if amount.values.dtype == pl.String and amount.values.str.contains(sign, literal=True).any():
            return code, f"{sign} stands in the values of {amount.name}"
    country = _country(table)
    if country is not None:
        column, name, part = country
        return _COUNTRIES[name.lower()][1], f"a guess: {share(part)} of {column} are {name}"
    return _UNKNOWN, "nothing in the file says which: put your own, like EUR (XXX is the code for none)"


def _country(table: Table) -> tuple[str, str, float] | None:
    """The column of countries, its most frequent value if we know it, and the share of it."""
    for each in table.columns.values():
        if each.has("country", "land", "nation", "market", "pays", "pais") and each.counts:
            name, rows = each.counts[0]
            if name.lower() in _COUNTRIES and rows > each.present / 2:
                return each.name, name, rows / each.present
    return None
