"""What stands in a table for "not known": blanks, and the words and signs that people and forms put there."""

from __future__ import annotations

import polars as pl

__all__ = ["MARKERS", "plain_text", "without_markers"]

MARKERS = frozenset(
    {
        *("unknown", "select", "please select", "not known", "not available", "not specified", "undefined", "missing"),
        *("n/a", "#n/a", "na", "n.a.", "nan", "null", "<null>", "?", "-", "--", "#value!", "#ref!", "(blank)", "nat"),
    }
)
"""In lower case. `none` is not among them: it may well be an answer."""
_LONGEST = max(map(len, MARKERS))


def plain_text(given: pl.Series) -> pl.Series:
    """Text without blanks at its ends, null where nothing is left."""
    text = given.cast(pl.String).str.strip_chars()
    return pl.select(pl.when(text != "").then(text).alias(given.name)).to_series()


def without_markers(text: pl.Series) -> tuple[pl.Series, dict[str, int]]:
    """Text with null for each marker, and how many rows each marker stood in, the most frequent first.

    >>> values, gone = without_markers(pl.Series(["mail", "Select", "?", "Select", None]))
    >>> values.to_list(), gone
    (['mail', None, None, None, None], {'Select': 2, '?': 1})
    """
    short = text.filter((text.str.len_chars() <= _LONGEST).fill_null(False)).unique().drop_nulls()
    found = short.filter(short.str.to_lowercase().is_in(list(MARKERS)))
    if found.is_empty():
        return text, {}
    gone = text.is_in(found.implode()).fill_null(False)
    counts = text.filter(gone).value_counts().rows()
    kept = pl.select(pl.when(~gone).then(text).alias(text.name)).to_series()
    return kept, dict(sorted(counts, key=lambda each: (-each[1], each[0])))
