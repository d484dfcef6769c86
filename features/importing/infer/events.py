"""A recipe for a table of what happened: who, when, what, how much."""

from __future__ import annotations

from typing import Any

import polars as pl

from features.importing.infer import roles
from features.importing.infer.facts import Facts, share
from features.importing.infer.places import currency_column, say_currency, say_zone
from features.importing.infer.proposal import Draft, Table
from features.importing.infer.roles import Found
from features.importing.infer.signs import Money, money
from features.importing.reasons import BUILT_IN

__all__ = ["draft_events", "repeating_customer"]

_WORDS = {
    **dict.fromkeys(
        ("view", "page_view", "pageview", "pageviews", "visit", "browse", "detail", "page view"), "page_view"
    ),
    **dict.fromkeys(("send", "sent", "delivered", "delivery"), "send"),
    **dict.fromkeys(("open", "opened"), "open"),
    **dict.fromkeys(("click", "clicked"), "click"),
    **dict.fromkeys(("unsubscribe", "unsubscribed", "optout", "opt_out", "opt-out"), "unsubscribe"),
    **dict.fromkeys(("form", "submit", "form_submit", "enquiry", "inquiry", "contact_form"), "form"),
    **dict.fromkeys(("cart", "addtocart", "add_to_cart", "add to cart", "basket"), "cart"),
    **dict.fromkeys(("order", "purchase", "purchased", "transaction", "buy", "bought", "sale", "checkout"), "order"),
    **dict.fromkeys(("refund", "return", "returned", "refunded", "cancellation", "cancelled"), "refund"),
}
"""What others call the kernel's types."""
_MOST_TYPES = 20
_ATTRIBUTES = 6
"""Profile attributes proposed, at most."""


def repeating_customer(table: Table, when: Found | None) -> Found | None:
    """Whose rows these are, if people come again: the sign of a table of events."""
    found = roles.customer(table, [when.facts.name] if when else [])
    return found if found and found.facts.distinct < found.facts.present else None


def draft_events(table: Table, who: Found, when: Found) -> Draft:
    """The recipe, all but how the file is written."""
    draft = Draft({"kind": "events"})
    draft.say("kind", "events", f"{who.facts.name} comes again and {when.facts.name} says when: rows are what happened")
    draft.column(who.facts, "id", who.why, "customer")
    _say_time(draft, when)
    taken = [who.facts.name, when.facts.name]
    number = roles.order_number(table, who.facts, taken)
    taken += [number.facts.name] if number else []
    kind = roles.event_type(table, _WORDS, taken)
    taken += [kind.facts.name] if kind else []
    pieces = roles.quantity(table, taken)
    worth = roles.amount(table, [*taken, *([pieces.facts.name] if pieces else [])])
    found = money(draft, worth, pieces, number) if worth else None
    _refuse(draft, table, who, found, apart=number is not None or not (when.facts.time and when.facts.time.days_only))
    if worth is not None:
        say_currency(draft, table, worth.facts)
    say_zone(draft, table, when.facts)
    key = _one_per(draft, number)
    if kind is not None:
        _use_by_type(draft, table, kind, found, key)
    elif found is not None:
        _use_orders(draft, found, key)
    else:
        _use_custom(draft, table, key)
    _say_profile(draft, table, who)
    return draft


def _say_time(draft: Draft, when: Found) -> None:
    guess = when.facts.time
    assert guess is not None
    more = {"format": guess.format} if guess.format else {}
    why = when.why
    if guess.other:
        why += f"; {guess.other} fits as well: check which of day and month comes first"
    draft.column(when.facts, "time", why, "at", **more)


def _refuse(draft: Draft, table: Table, who: Found, found: Money | None, *, apart: bool) -> None:
    """Rules of refusal. Where nothing tells two purchases of one day apart, equal rows may be two purchases."""
    frame = pl.DataFrame([each.given for each in table.columns.values()])
    repeats = int(frame.select(pl.struct(pl.all()).is_first_distinct().not_().sum()).item())
    rules = draft.document.setdefault("refused", [])
    if repeats and apart:
        rules.append({"reason": "duplicate", "repeats": "all"})
        draft.say(
            "refused.duplicate", "repeats: all", f"{repeats:,} rows are the same as an earlier one in every column"
        )
    lost = table.rows - who.facts.present
    if lost:
        rules.append({"reason": "no_customer_id", "when": "customer IS NULL"})
        draft.say("refused.no_customer_id", "customer IS NULL", f"{lost:,} rows name nobody")
    for reason, condition, why in found.refused if found else ():
        rules.append({"reason": reason, "when": condition})
        draft.say(f"refused.{reason}", condition, why)
    if not rules:
        del draft.document["refused"]


def _one_per(draft: Draft, number: Found | None) -> list[str]:
    if number is not None:
        name = draft.column(number.facts, "text", number.why)
        return [name]
    return ["at"]


def _use_orders(draft: Draft, found: Money, key: list[str]) -> None:
    why = "rows with the same number are one order" if key != ["at"] else _NO_NUMBER
    rules: list[dict[str, Any]] = []
    if found.refund:
        rules.append(
            {"reason": "return", "when": found.refund, "event": "refund", "one_per": key}
            | {"amount": f"SUM(-{found.each})"}
        )
        draft.say("used.return", found.refund, found.refund_why)
    rules.append({"reason": "sale", "event": "order", "one_per": key, "amount": f"SUM({found.each})"})
    if found.pieces:
        for rule, sign in zip(reversed(rules), ("", "-"), strict=False):
            rule["properties"] = {"items": f"SUM({sign}{found.pieces})"}
    draft.document["used"] = rules
    draft.say("used.sale", f"order, {found.each}", f"there is an amount and no column says what happened; {why}")


_NO_NUMBER = "no column tells orders apart: what a customer bought at one time is one order"


def _use_by_type(draft: Draft, table: Table, kind: Found, found: Money | None, key: list[str]) -> None:
    name = draft.column(kind.facts, "text", kind.why)
    alone = roles.unique_id(table, draft.fields)
    single = [draft.column(alone.facts, "text", alone.why)] if alone else ["at"]
    taken = {*BUILT_IN, "profile", *(each["reason"] for each in draft.document.get("refused", ()))}
    rules: list[dict[str, Any]] = []
    for value, rows in kind.facts.counts[:_MOST_TYPES]:
        event = _WORDS.get(value.lower().strip(), "custom")
        event = event if found is not None or event not in ("order", "refund") else "custom"
        quoted = value.replace("'", "''")
        reason = _slug(value, taken)
        taken.add(reason)
        rule: dict[str, Any] = {"reason": reason, "when": f"{name} = '{quoted}'", "event": event}
        rule["one_per"] = key if event in ("order", "refund") else single
        if event in ("order", "refund") and found is not None:
            rule["amount"] = f"SUM({found.each})" if event == "order" else f"SUM(ABS({found.each}))"
        if event == "custom":
            rule["properties"] = {"name": f"'{quoted}'"}
        rules.append(rule)
        named = "its word" if event != "custom" else "no type of Kairos has its name"
        draft.say(f"used.{reason}", event, f"{named}; {rows:,} rows with {value!r}")
    draft.document["used"] = rules
    left = kind.facts.distinct - len(rules)
    if left > 0:
        draft.say("used", f"{len(rules)} rules", f"{left} rarer values of {kind.facts.name} are left to no_rule_fits")


def _use_custom(draft: Draft, table: Table, key: list[str]) -> None:
    single = key if key != ["at"] else ["row"]
    draft.document["used"] = [
        {"reason": "entry", "event": "custom", "one_per": single, "properties": {"name": "'entry'"}}
    ]
    draft.say("used.entry", "custom", f"neither an amount nor a type of event among {', '.join(table.columns)}")


def _say_profile(draft: Draft, table: Table, who: Found) -> None:
    """Attributes: texts of few values that stay the same for nearly everyone."""
    money_column = currency_column(table)
    chosen: dict[str, str] = {}
    for each in table.but(*draft.fields, *([money_column.name] if money_column else [])):
        part = _steady(each, who.facts)
        if part is None or len(chosen) >= _ATTRIBUTES:
            continue
        why = f"{each.distinct} different values, the same for {share(part)} of those with several rows"
        name = draft.column(each, "text", why)
        chosen[name] = name
    if chosen:
        draft.document["profile"] = chosen
        draft.say("profile", ", ".join(chosen), "they stay the same for nearly everyone: what somebody is, not does")


def _steady(each: Facts, who: Facts) -> float | None:
    """Share of the customers of several rows for whom a column has one value; None where it is no attribute."""
    if not 2 <= each.distinct <= 500 or each.numeric > 0.5 or each.time is not None or each.filled < 0.5:
        return None
    pairs = pl.DataFrame([each.values.alias("value"), who.values.alias("who")]).drop_nulls()
    several = (
        pairs.group_by("who")
        .agg(pl.len().alias("n"), pl.col("value").n_unique().alias("values"))
        .filter(pl.col("n") > 1)
    )
    if several.height < 10:
        return None
    part = float((several["values"] == 1).sum()) / several.height
    return part if part >= 0.95 else None


def _slug(value: str, taken: set[str]) -> str:
    """A reason's name that is not taken yet."""
    name = "_".join("".join(each if each.isalnum() else " " for each in value.lower()).split()) or "other"
    return next(each for n in range(len(taken) + 2) if (each := f"{name}_{n + 1}" if n else name) not in taken)
