"""A table of an experiment: which arm each row was given, as the `arm` and `propensity` an uplift problem learns from.

rows = two_arms(rows, "segment", control="No E-Mail", treated="Womens E-Mail").rows
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from features.kernel.errors import InvalidInput, NotEnoughData
from training.problem import Problem

__all__ = ["TwoArms", "as_uplift", "two_arms"]

UNIT = "change of probability"


class TwoArms(NamedTuple):
    """The rows of two arms, and what they cannot support."""

    rows: pl.DataFrame
    """The rows given, without those of other arms and without the column, with `arm` (1 treated, 0 control) and
    `propensity` (probability of arm 1)."""
    limits: tuple[str, ...]


def two_arms(rows: pl.DataFrame, column: str, *, control: str, treated: str = "", propensity: str = "") -> TwoArms:
    """The rows that were given one treatment or none.

    Args:
        column: holds the name of the arm each row was given.
        control: the value that means untreated.
        treated: the value that means treated; may be left out where there are but two.
        propensity: column with the probability of being treated, given that it was one of the two. Where it was not
            recorded, everybody is taken to have had the same: the share of treated rows.

    Raises:
        InvalidInput: a column is not there, or there are several treatments and none is named.
        NotEnoughData: nobody was given one of the arms.
    """
    for name in (column, propensity):
        if name and name not in rows.columns:
            raise InvalidInput("is no column", field=name, remedy=f"use one of {', '.join(rows.columns)}")
    given = pl.col(column).cast(pl.String)
    treated = treated or _other(rows, column, control)
    kept = rows.filter(given.is_in([control, treated]).fill_null(False))
    arm = (given == treated).cast(pl.Float64)
    share = kept.select(arm.mean()).item()
    for value, absent in ((treated, share == 0), (control, share == 1)):
        if absent or kept.is_empty():
            raise NotEnoughData(f"holds nobody given {value!r}", field=column, remedy="look at its values")
    chance = pl.col(propensity).cast(pl.Float64) if propensity else pl.lit(share)
    made = kept.with_columns(arm.alias("arm"), chance.alias("propensity"))
    dropped = {column, propensity} - {"", "arm", "propensity"}
    return TwoArms(made.drop(dropped), () if propensity else (_assumed(share),))


def _other(rows: pl.DataFrame, column: str, control: str) -> str:
    """The one value that is not the control."""
    values = rows.get_column(column).cast(pl.String).drop_nulls().unique().sort().to_list()
    others = [each for each in values if each != control]
    if len(others) != 1:
        raise InvalidInput(
            "holds several treatments" if others else f"holds nothing but {control!r}",
            field=column,
            value=others,
            remedy="say which one is to be judged against the control",
        )
    return str(others[0])


def as_uplift(problem: Problem, question: str = "") -> Problem:
    """The yes-or-no question of a table as the question of what the treatment adds to its probability."""
    days = max(problem.horizon, timedelta(days=1)).days
    return replace(
        problem,
        kind="uplift",
        unit=UNIT,
        metric="",
        monotone={},
        question=question or f"By how much does the treatment change the probability of a yes within {days} days?",
    )


def _assumed(share: float) -> str:
    return (
        "The probability of treatment was not recorded; "
        f"everybody is taken to have had the same, the share of treated rows ({share:.3f})."
    )
