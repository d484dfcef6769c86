"""What a person should look at before importing a table."""

from __future__ import annotations

import polars as pl

from features.importing.infer.facts import Facts, share
from features.importing.infer.proposal import Suspicion, Table
from features.importing.raw import Raw
from features.importing.reasons import BUILT_IN, CORRECTED

__all__ = ["suspicions"]

_EMPTY = 0.5


def suspicions(table: Table, raw: Raw) -> list[Suspicion]:
    """Rows that are none, repeats, and columns that are not what they seem; in the table's order."""
    found = [
        Suspicion("", f"{rows:,} rows are {reason}: {BUILT_IN[reason]}")
        for reason, rows in raw.broken["reason"].value_counts(sort=True).iter_rows()
    ]
    found += [
        Suspicion("", f"{rows:,} rows are {reason}: {CORRECTED[reason]}")
        for reason, rows in raw.corrections.counts().items()
    ]
    repeats = int(raw.frame.select(pl.struct(pl.all()).is_first_distinct().not_().sum()).item())
    if repeats:
        found.append(Suspicion("", f"{repeats:,} rows repeat an earlier one in every column"))
    for each in table.columns.values():
        found += [Suspicion(each.name, what) for what in _of(each)]
    return found


def _of(each: Facts) -> list[str]:
    if each.present == 0:
        return ["it is empty"]
    found = []
    if each.constant:
        found.append(f"it is always {each.examples(1)!r}")
    if each.filled < _EMPTY:
        found.append(f"{share(1 - each.filled)} of the rows have nothing there")
    if each.missing:
        found.append(f"{', '.join(map(repr, each.missing))} probably means not known")
    if each.unique and each.time is None and (each.whole or each.numeric < 1):
        found.append("no value stands there twice")
    if 0.02 < each.numeric < 0.98 and each.time is None:
        texts = each.values.filter(each.numbers.is_null()).drop_nulls().unique(maintain_order=True).head(2)
        found.append(
            f"mixed types: {share(each.numeric)} of the values are numbers, others not, like {', '.join(texts)}"
        )
    return found + _of_numbers(each) + _of_times(each)


def _of_numbers(each: Facts) -> list[str]:
    known = each.numbers.drop_nulls()
    if each.numeric < 1.0 or each.time is not None or not len(known):
        return []
    found = []
    if each.sentinel:
        found.append(f"{each.sentinel} probably means not known")
    below = int((known < 0).sum())
    if below and not each.sentinel:
        found.append(f"{below:,} values are below zero")
    return found


def _of_times(each: Facts) -> list[str]:
    guess = each.time
    if guess is None:
        return []
    found = [f"{guess.ahead:,} times lie ahead of now"] if guess.ahead else []
    if guess.share < 1:
        read = guess.instants.is_not_null()
        odd = each.values.filter(~read).drop_nulls().unique(maintain_order=True).head(2)
        found.append(f"{share(1 - guess.share)} of the values do not read as {guess.format}, like {', '.join(odd)}")
    if guess.other:
        found.append(f"day and month may be the other way round ({guess.other})")
    return found
