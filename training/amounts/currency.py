"""The unit of an answer in money: the currency that the events carry, where they agree on one."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from training.problem import Problem

__all__ = ["MONEY", "currencies", "in_currency"]

MONEY = "money"
"""The unit of a problem whose amounts are in whatever currency the events have."""


def currencies(events: pl.DataFrame) -> list[str]:
    """What orders and refunds are paid in, sorted."""
    paid = events.filter(pl.col("type").is_in(["order", "refund"])).get_column("currency")
    return [str(each) for each in paid.drop_nulls().unique().sort().to_list()]


def in_currency(problem: Problem, events: pl.DataFrame) -> Problem:
    """The problem with the events' one currency as its unit; itself where its answer is no money, or they have several.

    >>> from training.problems.clv import problem
    >>> events = pl.DataFrame({"type": ["order", "order"], "currency": ["EUR", None]})
    >>> in_currency(problem, events).unit
    'EUR'
    """
    if problem.unit != MONEY:
        return problem
    found = currencies(events)
    return replace(problem, unit=found[0]) if len(found) == 1 else problem
