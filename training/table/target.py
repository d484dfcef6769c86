"""The outcome: which value means yes, or that it is an amount; what is unclear is asked back, never guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import msgspec
import polars as pl

from features.importing.infer.facts import share
from features.importing.table import as_text
from features.kernel.errors import InvalidInput, NotEnoughData
from training.table.asked import Asked
from training.table.columns import readable
from training.table.missing import plain_text, without_markers
from training.table.numeric import numbers_of

__all__ = ["Target", "find"]

_YES = (
    *("yes", "y", "true", "t", "1", "positive", "won", "converted", "churned", "churn", "bought", "purchased"),
    *("subscribed", "clicked", "opened", "accepted", "responded", "success", "exited", "left", "lapsed", "ja", "oui"),
    *("si", "sí", "sim"),
)
_NO = ("no", "n", "false", "f", "0", "-1", "negative", "lost", "retained", "stayed", "none", "nein", "non", "não")
_AMOUNTS = 20
"""Different numbers from which on an outcome is an amount."""
MOST_SPELLINGS = 1_000
"""Different texts beyond which an outcome is no yes or no in several spellings."""
_POINT_ZERO = r"^(-?\d+)\.0+$"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Target:
    """The outcome of each row.

    Attributes:
        kind: binary, or regression where it is an amount.
        values: Float64: 1 or 0, or the amount; null where it is not known.
        positive: the text that means yes; empty of an amount.
        said: how it was decided, a sentence each.
    """

    kind: Literal["binary", "regression"]
    values: pl.Series
    positive: str
    said: tuple[str, ...]

    @property
    def question(self) -> str:
        """What a model of it answers."""
        name = readable(self.values.name)
        asked = f"Will {name} be {self.positive}?" if self.kind == "binary" else f"How much will {name} be?"
        return asked.replace("{", "{{").replace("}", "}}")  # the problem formats its question


def find(given: pl.Series, asked: Asked) -> Target:
    """Read the outcome.

    Raises:
        NotEnoughData: it is missing everywhere, or has one value only.
        InvalidInput: which value means yes cannot be told, or the one named is not there.
    """
    if given.dtype.is_nested() or given.dtype.is_temporal():
        raise InvalidInput("is neither a yes or no nor an amount", field="--target", value=given.name)
    text = _one_spelling(plain_text(as_text(given)))
    known = without_markers(text)[0]
    if asked.positive:  # which may be a word that elsewhere means "not known"
        same = text.str.to_lowercase() == _folded(asked.positive)
        known = known.zip_with(~same.fill_null(False), text)
        spelt = text.filter(same.fill_null(False))
        asked = msgspec.structs.replace(asked, positive=spelt[0]) if len(spelt) else asked
    counts: dict[str, int] = dict(known.drop_nulls().value_counts(sort=True).rows())
    if not counts:
        raise NotEnoughData("is missing in every row", field=asked.target, remedy="name another column with --target")
    missing = _missing(known, len(known))
    if asked.positive:
        return _one_against_rest(known, counts, asked, missing)
    if len(counts) == 1:
        raise _one_class(asked, next(iter(counts)), "it needs rows with another outcome, too")
    if len(counts) == 2:
        return _of_two(known, counts, missing)
    amount = numbers_of(known)
    if amount is not None and len(counts) > _AMOUNTS:
        return _amount(amount.values.alias(given.name), len(counts), missing)
    raise _of_many(counts, asked)


def _one_spelling(text: pl.Series) -> pl.Series:
    """`YES`, `Yes` and `yes` are one value, as are `1` and `1.0`: the most frequent spelling of each."""
    counts = text.drop_nulls().value_counts(name="rows").rename({text.name: "was"})
    if counts.height > MOST_SPELLINGS:
        return text
    folded = pl.col("was").str.to_lowercase().str.replace(_POINT_ZERO, "${1}").alias("key")
    whole = pl.col("was").str.replace(_POINT_ZERO, "${1}")
    ranked = counts.with_columns(folded, whole).sort(["rows", "was"], descending=[True, False])
    spelt = ranked.with_columns(pl.col("was").first().over("key").alias("becomes"))
    was = counts.with_columns(folded).join(spelt.unique("key").select("key", "becomes"), on="key")
    return text.replace_strict(was["was"], was["becomes"], default=None, return_dtype=pl.String)


def _folded(value: str) -> str:
    return re.sub(_POINT_ZERO, r"\1", value.strip().lower())


def _one_against_rest(text: pl.Series, counts: dict[str, int], asked: Asked, missing: tuple[str, ...]) -> Target:
    if asked.positive not in counts:
        remedy = f"it has {_named(counts)}"
        raise InvalidInput("is no value of the target", field="--positive", value=asked.positive, remedy=remedy)
    if len(counts) == 1:
        raise _one_class(asked, asked.positive, "there is no row of anything else")
    rest = (
        f"the other {len(counts) - 1} values"
        if len(counts) > 2
        else repr(next(v for v in counts if v != asked.positive))
    )
    return _target(text, asked.positive, f"against {rest}", missing)


def _of_two(text: pl.Series, counts: dict[str, int], missing: tuple[str, ...]) -> Target:
    first, second = counts
    for yes, no in ((first, second), (second, first)):
        plainly_no = no.lower() in _NO or (no.lower() not in _YES and not _is_number(no))
        if yes.lower() in _YES and plainly_no:
            return _target(text, yes, f"against {no!r}", missing)
    raise InvalidInput(
        f"has the values {first!r} and {second!r}, and neither plainly means yes",
        field="--target",
        value=text.name,
        remedy=f"say which, e.g. --positive {_quoted(second)}",
    )


def _amount(values: pl.Series, distinct: int, missing: tuple[str, ...]) -> Target:
    below = int((values < 0).sum())
    if below:
        raise InvalidInput(
            f"is an amount below zero in {below:,} rows, and an amount that can be learnt is zero or more",
            field="--target",
            value=values.name,
            remedy="take refunds out of it, or make a yes or no of it",
        )
    how = f"{values.name} holds {distinct:,} different numbers: it is an amount, and the model a regression."
    return Target("regression", values, "", (how, *missing))


def _of_many(counts: dict[str, int], asked: Asked) -> InvalidInput:
    rare = min(counts, key=lambda each: counts[each])
    return InvalidInput(
        f"has {len(counts)} values: {_named(counts)}",
        field="--target",
        value=asked.target,
        remedy=f"say which one means yes, against all others, e.g. --positive {_quoted(rare)}",
    )


def _one_class(asked: Asked, value: str, what: str) -> NotEnoughData:
    return NotEnoughData(
        f"is {value!r} in every row where it is known: {what}",
        field=asked.target,
        remedy="give a table with both outcomes",
    )


def _target(text: pl.Series, positive: str, against: str, missing: tuple[str, ...]) -> Target:
    values = (text == positive).cast(pl.Float64).alias(text.name)
    how = f"{text.name}: {positive!r} means yes, {against}; {share(_mean(values))} are yes."
    return Target("binary", values, positive, (how, *missing))


def _mean(values: pl.Series) -> float:
    known = values.drop_nulls()
    return float(known.sum()) / len(known)


def _missing(text: pl.Series, rows: int) -> tuple[str, ...]:
    gone = text.null_count()
    return (f"{text.name} is missing in {gone:,} of {rows:,} rows: these were left out.",) if gone else ()


def _named(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{each!r} ({counts[each]:,} rows)" for each in list(counts)[:_SHOWN])
    return shown + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def _quoted(text: str) -> str:
    return text if text.replace("_", "").isalnum() else f"'{text}'"


def _is_number(text: str) -> bool:
    return pl.Series([text]).cast(pl.Float64, strict=False).null_count() == 0
