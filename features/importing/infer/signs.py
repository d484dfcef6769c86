"""What amounts below zero mean in a table: returns, by their sign or by the letter of their order number."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from features.importing.infer.facts import share
from features.importing.infer.proposal import Draft
from features.importing.infer.roles import Found, is_price

__all__ = ["Money", "money"]

_OF_LETTER = 0.99


@dataclass(frozen=True, slots=True)
class Money:
    """How a row's worth is written in SQL.

    Attributes:
        each: the worth of one row.
        pieces: the field of how many pieces; empty where there is none.
        refund: the condition of a row that is a return; empty where there are none.
        refund_why: the evidence for that.
        refused: rows that are neither: reason, condition, evidence.
    """

    each: str
    pieces: str
    refund: str = ""
    refund_why: str = ""
    refused: tuple[tuple[str, str, str], ...] = ()


def money(draft: Draft, worth: Found, pieces: Found | None, number: Found | None) -> Money:
    """Add the columns of an amount to the draft, and say what their signs mean."""
    count = draft.column(pieces.facts, "number", pieces.why) if pieces else ""
    amount = draft.column(worth.facts, "number", worth.why)
    values = worth.facts.numbers
    if pieces is None or not is_price(worth):
        negative = int((values < 0).sum())
        why = f"{negative:,} of {len(values):,} amounts are below zero"
        return Money(amount, count, f"{amount} < 0" if negative else "", why)
    refused = [
        (reason, condition, f"{rows:,} rows")
        for reason, condition, rows in (
            ("zero_price", f"{amount} = 0", int((values == 0).sum())),
            ("negative_price", f"{amount} < 0", int((values < 0).sum())),
        )
        if rows
    ]
    below = (pieces.facts.numbers <= 0).fill_null(False)
    if not below.any():
        return Money(f"{count} * {amount}", count, refused=tuple(refused))
    letter, why = _letter(number, below)
    if letter and number is not None:
        name = draft.column(number.facts, "text", number.why)
        other = f"{count} <= 0 AND {name} NOT LIKE '{letter}%'"
        refused.insert(0, ("negative_quantity", other, f"a quantity of zero or less, but its number has no {letter}"))
        return Money(f"{count} * {amount}", count, f"{name} LIKE '{letter}%'", why, tuple(refused))
    why = f"{int(below.sum()):,} rows have a quantity of zero or less"
    return Money(f"{count} * {amount}", count, f"{count} < 0", why, tuple(refused))


def _letter(number: Found | None, below: pl.Series) -> tuple[str, str]:
    """The letter with which the numbers of returns begin, and nobody else's; empty where there is none."""
    if number is None:
        return "", ""
    first = number.facts.values.str.slice(0, 1)
    counts = first.filter(below).drop_nulls().value_counts(sort=True)
    for letter, rows in counts.iter_rows():
        part = rows / max(int((first == letter).sum()), 1)
        if letter.isalpha() and part >= _OF_LETTER and rows >= len(below.filter(below)) / 2:
            name = number.facts.name
            return (
                letter,
                f"{rows:,} rows of {name} begin with {letter}, and {share(part)} of these have a quantity below zero",
            )
    return "", ""
