"""SQL expressions of a recipe: parsed and type-checked against its fields before any file is read."""

from __future__ import annotations

import polars as pl
from polars.exceptions import PolarsError

from features.importing.schema import Recipe, did_you_mean
from features.kernel.errors import InvalidRecipe

__all__ = ["aggregate", "condition", "empty_rows"]

_TYPES: dict[str, pl.DataType] = {
    "id": pl.String(),
    "text": pl.String(),
    "category": pl.String(),
    "number": pl.Float64(),
    "time": pl.Datetime("us", "UTC"),
}


def empty_rows(recipe: Recipe) -> pl.DataFrame:
    """The recipe's fields and `row` as a frame of no rows: what an expression is type-checked against."""
    schema = {name: _TYPES[each.type] for name, each in recipe.columns.items()}
    return pl.DataFrame(schema={**schema, "row": pl.Int64()})


def condition(recipe: Recipe, text: str, path: str) -> pl.Expr:
    """A row-wise condition; it may be NULL, which is not true.

    Raises:
        InvalidRecipe: it is no SQL, names a field there is not, or is no condition.
    """
    expr = _parsed(recipe, text, path)
    dtype = _run(empty_rows(recipe).lazy().select(expr.alias("_")), text, path)
    if dtype != pl.Boolean:
        raise InvalidRecipe("is no condition", field=path, value=text, remedy="write a comparison, like price = 0")
    return expr


def aggregate(recipe: Recipe, text: str, path: str, *, keep_first: bool) -> pl.Expr:
    """One value of several lines. A bare field means its first line's value if `keep_first`.

    Raises:
        InvalidRecipe: it is no SQL, names a field there is not, or aggregates nothing and `keep_first` is not set.
    """
    expr = _parsed(recipe, text, path)
    dtype = _run(empty_rows(recipe).lazy().group_by(pl.lit(1).alias("_key")).agg(expr.alias("_")), text, path)
    if not isinstance(dtype, pl.List):
        return expr
    if not keep_first:
        raise InvalidRecipe("must sum up the lines of an event", field=path, value=text, remedy=f"write SUM({text})")
    return expr.first()


def _parsed(recipe: Recipe, text: str, path: str) -> pl.Expr:
    known = [*recipe.columns, "row"]
    try:
        expr = pl.sql_expr(text)
        names = expr.meta.root_names()
    except PolarsError as error:
        raise InvalidRecipe(f"is no SQL expression: {_line(error)}", field=path, value=text) from None
    for name in names:
        if name not in known:
            raise InvalidRecipe(
                f"names `{name}`, which is none of the recipe's columns",
                field=path,
                value=text,
                remedy=did_you_mean(name, known),
            )
    return expr


def _run(frame: pl.LazyFrame, text: str, path: str) -> pl.DataType:
    try:
        return frame.collect().schema["_"]
    except PolarsError as error:
        raise InvalidRecipe(f"cannot be computed: {_line(error)}", field=path, value=text) from None


def _line(error: PolarsError) -> str:
    return str(error).splitlines()[0]
