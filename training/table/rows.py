"""Which rows are used, whose they are, when they were known, and in which split each stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.importing.infer.timeformat import guess_time
from features.importing.table import as_text
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.seeds import generator
from training.table.missing import plain_text, without_markers

__all__ = ["NO_TIME", "Placed", "at_random", "in_time", "persons", "times"]

FITTED, CHOSEN = 0.6, 0.8
"""Shares of the rows before validation and before test."""
MOSTLY_DIFFERENT = 0.9
"""Share of different rows from which on two equal ones are thought to be copies, not chance."""
NO_TIME = np.datetime64(0, "us")
"""Stands for the instant of rows without a time: the same for all, so that nothing orders them."""

Ints = NDArray[np.intp]

_YEAR, _MONTH = r"^((?:19|20)\d{2})$", r"^((?:19|20)\d{2}-\d{2})$"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where each row stands.

    Attributes:
        split: by time, or at random where rows have none.
        rows: by split, positions of its rows; in time order, or as in the file.
        said: how it was done, a sentence each; `limits`: what that cannot support.
    """

    split: Literal["time", "random"]
    rows: dict[str, Ints]
    said: tuple[str, ...]
    limits: tuple[str, ...]


def times(given: pl.Series) -> pl.Series:
    """When each row was known: UTC instants, null where that cannot be read.

    Raises:
        InvalidInput: the column holds no times; names examples and a remedy.
    """
    text = without_markers(plain_text(as_text(given)))[0] if not given.dtype.is_nested() else given.cast(pl.String)
    text = text.str.replace(_YEAR, "${1}-01-01").str.replace(_MONTH, "${1}-01")
    guess = guess_time(given, text, frozenset({"time"}))
    if guess is None or guess.instants.null_count() == len(guess.instants):
        few = ", ".join(repr(each) for each in text.drop_nulls().unique(maintain_order=True).head(3))
        raise InvalidInput(
            f"holds no times that can be read, e.g. {few}" if few else "is empty",
            field="--time",
            value=given.name,
            remedy="write them like 2024-05-31 or 2024-05-31 14:00, or leave --time out for a random split",
        )
    return guess.instants.alias(given.name)


def persons(frame: pl.DataFrame, numbers: pl.Series, column: str) -> tuple[pl.Series, pl.Series, tuple[str, ...]]:
    """Whose each row is, and a mask of rows that are a record written twice.

    With ids, a row equal to an earlier one in every column, its id included, is that record again. Without, two equal
    rows may be two people who are alike; they are kept, but where nearly all others differ they count as one person,
    so that no copy of what was learnt stands in the test split.

    Args:
        frame: the table as it stands.
        numbers: the rows' numbers in the file.
        column: of the ids; empty where there are none.
    """
    everything = frame.hash_rows(7)
    first = everything.is_first_distinct()
    repeats = int((~first).sum())
    own = pl.select(pl.format("row-{}", numbers)).to_series()
    if column:
        ids = plain_text(as_text(frame.get_column(column)))
        without = ids.null_count()
        said = [f"{repeats:,} rows repeat an earlier one in every column: left out."] if repeats else []
        said += [f"{without:,} rows have no {column}: each is taken as somebody of their own."] if without else []
        return ids.zip_with(ids.is_not_null(), own), ~first, tuple(said)
    never = pl.repeat(False, len(own), eager=True, dtype=pl.Boolean)
    if not repeats:
        return own, never, ()
    if repeats > (1 - MOSTLY_DIFFERENT) * len(own):
        return own, never, (f"{repeats:,} rows equal an earlier one: kept, for so many may well be alike by chance.",)
    shared = pl.DataFrame({"key": everything, "own": own}).select(pl.col("own").first().over("key")).to_series()
    return shared, never, (f"{repeats:,} rows equal an earlier one: kept, in the same split as that one.",)


def in_time(as_of: pl.Series, settled: timedelta) -> Placed:
    """Split where about 60 % and 80 % of the rows have passed, at a change of instant.

    Args:
        as_of: [n] instants, none missing.
        settled: after which a row's outcome is known; rows not settled when the next split begins are left out.

    Raises:
        NotEnoughData: there are fewer than three instants.
    """
    order = as_of.to_physical().to_numpy().argsort(kind="stable")
    instants, firsts = np.unique(as_of.to_physical().to_numpy()[order], return_index=True)
    if len(instants) < 3:
        raise NotEnoughData(
            f"holds {len(instants)} different instants, and a split in time needs three",
            field=as_of.name,
            remedy="leave --time out: the rows are then split at random",
        )
    n = len(order)
    validation = 1 + int(np.abs(firsts[1:-1] - FITTED * n).argmin())
    test = validation + 1 + int(np.abs(firsts[validation + 1 :] - CHOSEN * n).argmin())
    bounds, gap = instants[[validation, test]], settled // timedelta(microseconds=1)
    when = as_of.to_physical().to_numpy()[order]
    masks = {
        "train": (when < bounds[0]) & (when + gap <= bounds[0]),
        "validation": (when >= bounds[0]) & (when < bounds[1]) & (when + gap <= bounds[1]),
        "test": when >= bounds[1],
    }
    rows = {name: order[mask] for name, mask in masks.items()}
    said = [f"Split in time by {as_of.name}: " + _stretches(as_of, rows) + "."]
    left = n - sum(map(len, rows.values()))
    if left:
        said.append(f"{left:,} rows left out: not settled ({settled.days} days) when the next split begins.")
    return Placed("time", rows, tuple(said), ())


def at_random(person: pl.Series, strata: pl.Series) -> Placed:
    """Split 60/20/20 by person, the same each time; each stratum (outcome, arm) as evenly as it goes.

    Args:
        person: [n] whose each row is; nobody stands in two splits.
        strata: [n] whole numbers; a person's is the greatest of their rows.
    """
    rows = pl.DataFrame({"person": person, "stratum": strata})
    people = rows.group_by("person", maintain_order=True).agg(pl.col("stratum").max())
    code = np.empty(len(people), dtype=np.int8)
    strata_of = people.get_column("stratum").to_numpy()
    for stratum in np.unique(strata_of):
        members = np.flatnonzero(strata_of == stratum)
        drawn = generator("table", "split", int(stratum)).permutation(members)
        bounds = [round(share * len(drawn)) for share in (FITTED, CHOSEN)]
        for i, part in enumerate(np.split(drawn, bounds)):
            code[part] = i
    placed = rows.join(people.with_columns(pl.Series("split", code)), on="person", how="left", maintain_order="left")
    splits = placed.get_column("split").to_numpy()
    found = {name: np.flatnonzero(splits == i) for i, name in enumerate(("train", "validation", "test"))}
    said = "Split at random, 60/20/20: the rows have no time (--time names its column)."
    limit = "The rows have no time and were split at random: the figures hold only while tomorrow is like the table."
    return Placed("random", found, (said,), (limit,))


def _stretches(as_of: pl.Series, rows: dict[str, Ints]) -> str:
    parts = []
    for name, places in rows.items():
        if len(places):
            first, last = as_of[int(places[0])], as_of[int(places[-1])]
            parts.append(f"{name} {_day(first)} to {_day(last)} ({len(places):,} rows)")
    return ", ".join(parts)


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"
