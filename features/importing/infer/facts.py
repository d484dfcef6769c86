"""What a column's values say about it: how many there are, whether they read as numbers or times, and which."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from features.importing.infer.timeformat import TimeGuess, guess_time
from features.importing.numbers import DECIMAL_COMMA, read_numbers
from features.importing.table import as_text

__all__ = ["MISSING", "Facts", "share", "tokens"]

MISSING = ("unknown", "n/a", "na", "null", "none", "nan", "nil", "?", "-", "--", "#n/a", "not available", "missing")
"""Texts that usually mean "not known", in lower case."""
_SENTINELS = (-1.0, -999.0, 999.0, 9999.0)


@dataclass(frozen=True)
class Facts:
    """A column as it stands. `values` is text without blanks at its ends, null where there is nothing."""

    name: str
    given: pl.Series
    values: pl.Series
    missing: tuple[str, ...] = ()
    """Texts among its values that mean "not known"; they are null in `values`."""
    words: frozenset[str] = field(default_factory=frozenset)
    """The words of its name."""

    @classmethod
    def of(cls, given: pl.Series) -> Facts:
        """Look at a column."""
        if given.dtype.is_nested():
            given = pl.Series(given.name, [None if each is None else str(each) for each in given], dtype=pl.String)
        text = as_text(given.cast(pl.String) if isinstance(given.dtype, (pl.Categorical, pl.Enum)) else given)
        text = text.str.strip_chars()
        gone = sorted(
            {each for each in text.filter(text.str.len_chars() <= 13).unique() if each and each.lower() in MISSING}
        )
        values = pl.select(pl.when(~text.is_in(["", "NaN", *gone])).then(text).alias(given.name)).to_series()
        return cls(given.name, given, values, tuple(gone), frozenset(tokens(given.name)))

    @cached_property
    def present(self) -> int:
        """Values that are there."""
        return len(self.values) - self.values.null_count()

    @cached_property
    def distinct(self) -> int:
        """Different values."""
        return self.values.drop_nulls().n_unique()

    @cached_property
    def filled(self) -> float:
        """Share of the rows that have a value."""
        return self.present / len(self.values) if len(self.values) else 0.0

    @cached_property
    def decimal(self) -> str:
        """The mark before the fraction: a comma where the values can only be read so."""
        texts = self.values.drop_nulls()
        commas = texts.str.contains(DECIMAL_COMMA).sum()
        return "," if commas and not texts.str.contains(r"^[+-]?\d+\.\d{1,2}$").any() else "."

    @cached_property
    def numbers(self) -> pl.Series:
        """The values as numbers, null where they are none or infinite."""
        if self.given.dtype.is_numeric():
            read = self.given.cast(pl.Float64)
            read = pl.select(pl.when(self.values.is_not_null()).then(read)).to_series()
        else:
            read = read_numbers(self.values, self.decimal)[0]
        return pl.select(pl.when(read.is_finite()).then(read).alias(self.name)).to_series()

    @cached_property
    def numeric(self) -> float:
        """Share of the values that read as numbers."""
        return (len(self.values) - self.numbers.null_count()) / self.present if self.present else 0.0

    @cached_property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        known = self.numbers.drop_nulls()
        return self.numeric == 1.0 and bool((known == known.round()).all())

    @cached_property
    def sentinel(self) -> str:
        """A number that stands for "not known", like -1 where all others are 0 or more; empty where there is none."""
        known = self.numbers.drop_nulls()
        for each in _SENTINELS:
            count = (known == each).sum()
            rest = known.filter(known != each)
            far = len(rest) and (rest.min() >= 0) and (each < 0 or rest.max() < each / 2)  # type: ignore[operator]
            if count >= 0.05 * len(known) and far:
                return f"{each:g}"
        return ""

    @cached_property
    def time(self) -> TimeGuess | None:
        """How its values read as times; None where they do not."""
        return guess_time(self.given, self.values, self.words)

    @cached_property
    def constant(self) -> bool:
        """Whether all its values are the same."""
        return self.distinct <= 1

    @cached_property
    def unique(self) -> bool:
        """Whether no value stands there twice."""
        return self.present > 1 and self.distinct == self.present

    @cached_property
    def counts(self) -> list[tuple[str, int]]:
        """Its most frequent values with their rows; of equals the first by name."""
        frame = self.values.drop_nulls().value_counts(name="n").rename({self.name: "value"})
        return list(frame.sort(["n", "value"], descending=[True, False]).head(1000).iter_rows())

    def examples(self, most: int = 3) -> str:
        """A few different values, for people."""
        few = self.values.drop_nulls().unique(maintain_order=True).head(most)
        return ", ".join(_short(each) for each in few)

    def has(self, *words: str) -> bool:
        """Whether its name has one of the words."""
        return not self.words.isdisjoint(words)


def tokens(name: str) -> list[str]:
    """The words of a name, in lower case.

    >>> tokens("CustomerID"), tokens("number_of_cds"), tokens("user.id")
    (['customer', 'id'], ['number', 'of', 'cds'], ['user', 'id'])
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+", name)
    return [each.lower() for each in parts]


def share(part: float) -> str:
    """A share for people; never 100 % of what is not all.

    >>> share(0.99999), share(1.0), share(0.117)
    ('99.9 %', '100 %', '11.7 %')
    """
    if part == 1:
        return "100 %"
    return f"{min(part * 100, 99.9):.1f} %" if part >= 0.001 or part == 0 else "under 0.1 %"


def _short(value: Any, most: int = 30) -> str:
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
