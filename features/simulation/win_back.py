"""A randomised test in the market: a discount against nothing for customers who have not ordered for a while.

Every day a tenth of the customers whose last order lies 45 to 365 days back, and who were not drawn in the last 30, are
drawn into it: a discount with probability .6, of those with five orders or more .35 (a shop spares what its regulars
would pay anyway). The probability is recorded. Who gets the discount places one more order within two weeks with
probability `pull`, whatever else they do; so the effect on "orders within two weeks" is pull · P(no order without it).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from features.simulation.frame import json_object, labels
from features.simulation.processes import Floats, Ints, Points

__all__ = ["CONTROL", "DAYS", "NAME", "TREATED", "WinBack", "assignment_events", "draw_win_back"]

NAME, TREATED, CONTROL = "win_back", "discount", "control"
DAYS = 14.0
"""Within so many days of the assignment falls the order a discount brings."""
_STARTS, _A_DAY = 60, 0.1
_QUIET, _GONE, _AGAIN = 45.0, 365.0, 30.0
_REGULAR, _USUAL, _SPARED = 5, 0.6, 0.35
_EIGHT, _HOURS = 8 / 24, 12 / 24


class WinBack(NamedTuple):
    """Assignments [m] by day, and the orders they caused [k]."""

    who: Ints
    at: Floats
    treated: Ints
    propensity: Floats
    """Probability of the discount."""
    caused: Points


def draw_win_back(rng: np.random.Generator, orders: Points, pull: Floats, days: float) -> WinBack:
    """Draw the test over `days` among people [n] with their `pull` and the `orders` they place without it."""
    n = len(pull)
    order = np.argsort(orders.at, kind="stable")
    who, at = orders.who[order], orders.at[order]
    last, assigned, count = np.full(n, -np.inf), np.full(n, -np.inf), np.zeros(n)
    parts, caused, seen = [], [], 0
    for day in range(int(days)):
        until = int(np.searchsorted(at, day))
        np.maximum.at(last, who[seen:until], at[seen:until])
        np.add.at(count, who[seen:until], 1)
        seen = until
        u = rng.random((5, n))
        quiet = (day - last >= _QUIET) & (day - last <= _GONE) & (day - assigned >= _AGAIN)
        drawn = np.flatnonzero(quiet & (u[0] < _A_DAY)) if day >= _STARTS else np.zeros(0, dtype=np.intp)
        propensity = np.where(count[drawn] >= _REGULAR, _SPARED, _USUAL)
        moment, treated = day + _EIGHT + _HOURS * u[1][drawn], u[2][drawn] < propensity
        assigned[drawn] = moment
        parts.append((drawn, moment, treated.astype(np.int64), propensity))
        buys = treated & (u[3][drawn] < pull[drawn])
        bought, when = drawn[buys], moment[buys] + 0.1 + (DAYS - 0.2) * u[4][drawn[buys]]
        last[bought] = when  # nobody is looked at again before it has happened
        count[bought] += 1
        caused.append((bought, when))
    who, at, treated, propensity = (np.concatenate(each) for each in zip(*parts, strict=True))
    bought, when = (np.concatenate(each) for each in zip(*caused, strict=True))
    return WinBack(who, at, treated, propensity, Points(bought, when))


def assignment_events(test: WinBack) -> pl.DataFrame:
    """Events of type `assignment`, with the arm drawn and the probability of that arm."""
    own = np.where(test.treated == 1, test.propensity, 1 - test.propensity)
    properties = json_object(
        arm=labels((CONTROL, TREATED), test.treated),
        propensity=pl.Series(own).round(2),
        test=labels((NAME,), np.zeros(len(test.who), dtype=np.int64)),
    )
    return pl.DataFrame(
        {"who": test.who, "at": test.at, "properties": properties}, schema_overrides={"who": pl.Int64}
    ).with_columns(pl.lit("assignment").alias("type"))
