"""Numbers written as people write them: with a decimal comma, thousands apart, a currency's sign.

Only what can be read in one way is read: `1,234` is twelve hundred in London and one and a bit in Berlin, so it is
unreadable until the recipe says `decimal: ","` (or the file writes the number in another way).
"""

from __future__ import annotations

import polars as pl

__all__ = ["DECIMAL_COMMA", "is_number", "read_numbers"]

DECIMAL_COMMA = r"^[+-]?(?:\d+,(?:\d{1,2}|\d{4,})|\d{1,3}(?:[. '\u00a0\u202f]\d{3})+,\d+)$"
"""Numbers whose comma can only be a decimal one."""
_THOUSANDS = r"^[+-]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,}|(?:[ '\u00a0\u202f]\d{3})+(?:\.\d+)?)$"
_COMMA_SAID = r"^[+-]?(?:\d{1,3}(?:[. '\u00a0\u202f]\d{3})+|\d+)(?:,\d+)?$"
_PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)$"
_GAPS = "[ '\u00a0\u202f]"
_MONEY = r"^([+-]?)\s*(?:\p{Sc}|[A-Z]{3})?\s*([+-]?)\s*(\d[\d., '\u00a0\u202f]*?)\s*(?:\p{Sc}|[A-Z]{3})?$"


def read_numbers(given: pl.Series, decimal: str = ".") -> tuple[pl.Series, dict[str, pl.Series]]:
    """Float64 of text that is stripped and has no missing values among it but null; null where it is no number.

    Returns:
        The numbers, and by the reason of a correction a mask of the values that needed it.

    >>> values, corrected = read_numbers(pl.Series(["1.5", "1,5", "£2", "1,234", "two"]))
    >>> values.to_list(), sorted(corrected)
    ([1.5, 1.5, 2.0, None, None], ['currency_sign', 'decimal_comma'])
    """
    if decimal == ",":
        return _with_comma(given), {}
    plain = given.cast(pl.Float64, strict=False)
    failed = plain.is_null() & given.is_not_null()
    if not failed.any():
        return plain, {}
    looked = _looked_at(given, failed)
    if looked.is_empty():
        return plain, {}
    values = plain.scatter(looked["at"], looked["number"])
    corrected = {}
    for reason in ("decimal_comma", "thousands_separator", "currency_sign"):
        rows = looked.filter(pl.col(reason))["at"]
        if len(rows):
            corrected[reason] = pl.repeat(False, len(given), eager=True).scatter(rows, True)
    return values, corrected


def _looked_at(given: pl.Series, failed: pl.Series) -> pl.DataFrame:
    """Of the values that failed those that are numbers after all: `at`, `number`, and a mark for each correction."""
    bare, value = pl.col("bare"), pl.col("given")
    money = pl.concat_str([value.str.extract(_MONEY, part) for part in (1, 2, 3)])
    comma, apart = bare.str.contains(DECIMAL_COMMA), bare.str.contains(_THOUSANDS)
    as_comma = bare.str.replace_all(r"\.", "").str.replace_all(_GAPS, "").str.replace(",", ".", literal=True)
    as_apart = bare.str.replace_all(",", "", literal=True).str.replace_all(_GAPS, "")
    as_plain = pl.when(bare.str.contains(_PLAIN)).then(bare)
    number = pl.when(comma).then(as_comma).when(apart).then(as_apart).otherwise(as_plain)
    return (
        pl.DataFrame({"given": given, "failed": failed})
        .with_row_index("at")
        .filter("failed")
        .with_columns(money.alias("bare"))
        .with_columns(
            number.cast(pl.Float64, strict=False).alias("number"),
            comma.alias("decimal_comma"),
            apart.alias("thousands_separator"),
            (bare != value).alias("currency_sign"),
        )
        .filter(pl.col("number").is_not_null())
    )


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_comma(given: pl.Series) -> pl.Series:
    frame = given.to_frame("given")
    value = pl.col("given")
    point = value.str.replace_all(r"[. '\u00a0\u202f]", "").str.replace(",", ".", literal=True)
    return frame.select(pl.when(value.str.contains(_COMMA_SAID)).then(point).cast(pl.Float64)).to_series()
