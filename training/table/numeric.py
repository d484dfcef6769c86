"""Text that holds numbers, as people write them: a decimal comma, thousands apart, a currency's sign, per cent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import polars as pl

from features.importing.numbers import DECIMAL_COMMA, read_numbers

__all__ = ["Numbers", "numbers_of"]

LEAST = 0.98
"""Share of the values that must read as numbers; the few others are then mistakes, and missing."""
_SAMPLE = 2_000
_DOTTED = r"^[+-]?\d+\.\d{1,2}$"
_GROUPED = r"^\D{0,4}\d{1,3}(?:,\d{3})+\D{0,4}$"
_GROUPS_OF_POINTS = r"^\D{0,4}\d{1,3}(?:\.\d{3})+\D{0,4}$"

Reader = Callable[[pl.Series], pl.Series]


class Numbers(NamedTuple):
    """Numbers of a column of text.

    Attributes:
        values: Float64, null where there is none.
        how: what had to be done to read them, in words; empty where nothing.
        unread: values that are there and are no numbers, with their rows, the most frequent first.
    """

    values: pl.Series
    how: str
    unread: dict[str, int]


def numbers_of(text: pl.Series) -> Numbers | None:
    """The numbers of a column of text (stripped, markers of the missing null), or None if it holds none.

    >>> numbers_of(pl.Series(["€ 1.200,50", "€ 80,00"])).values.to_list()
    [1200.5, 80.0]
    >>> numbers_of(pl.Series(["1,200", "950"])).values.to_list()
    [1200.0, 950.0]
    """
    plain = text.cast(pl.Float64, strict=False)
    failed = text.filter(plain.is_null() & text.is_not_null())
    if failed.is_empty():
        return Numbers(_finite(plain), "", {})
    sample = text.drop_nulls().gather_every(max(1, (len(text) - text.null_count()) // _SAMPLE))
    for how, reader in _readers(sample):
        if _share(reader(sample)) < LEAST - 0.05:
            continue
        distinct = text.drop_nulls().unique()
        read = reader(distinct)
        values = text.replace_strict(distinct, read, default=None, return_dtype=pl.Float64)
        wrong = text.filter(values.is_null() & text.is_not_null())
        if len(wrong) <= (1 - LEAST) * (len(text) - text.null_count()):
            return Numbers(_finite(values), how, _counts(wrong))
    return None


def _readers(sample: pl.Series) -> Iterator[tuple[str, Reader]]:
    """Ways to read a column, the plainest first. All its values are read in one way."""
    yield "", lambda text: text.cast(pl.Float64, strict=False)
    if sample.str.ends_with("%").sum() >= LEAST * len(sample):
        yield "per cent", lambda text: read_numbers(text.str.strip_suffix("%").str.strip_chars_end())[0]
    comma = sample.str.contains(DECIMAL_COMMA).any() or _only_groups(sample, _GROUPS_OF_POINTS)
    if comma and not sample.str.contains(_DOTTED).any():
        yield "a decimal comma", lambda text: read_numbers(_bare(text), ",")[0]
    if _only_groups(sample, _GROUPED):
        yield "commas between thousands", lambda text: read_numbers(text.str.replace_all(",", "", literal=True))[0]
    yield "a currency or thousands apart", lambda text: read_numbers(text)[0]


def _only_groups(sample: pl.Series, pattern: str) -> bool:
    """Whether every number of a thousand or more has its thousands apart: then the sign between them is no decimal."""
    grouped = sample.str.contains(pattern)
    if not grouped.any():
        return False
    rest = sample.filter(~grouped)
    alone = rest.cast(pl.Float64, strict=False).drop_nulls()
    return bool((alone.abs() < 1000).all() and (alone == alone.round()).all())


def _bare(text: pl.Series) -> pl.Series:
    """Without a currency before or behind."""
    return text.str.replace(r"^([+-]?)\s*(?:\p{Sc}|[A-Z]{3})\s*", "${1}").str.replace(r"\s*(?:\p{Sc}|[A-Z]{3})$", "")


def _share(numbers: pl.Series) -> float:
    return 1 - numbers.null_count() / len(numbers) if len(numbers) else 0.0


def _finite(numbers: pl.Series) -> pl.Series:
    return pl.select(pl.when(numbers.is_finite()).then(numbers).alias(numbers.name)).to_series()


def _counts(text: pl.Series) -> dict[str, int]:
    return dict(sorted(text.value_counts().rows(), key=lambda each: (-each[1], each[0])))
