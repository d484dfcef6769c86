"""What people buy: orders at their own pace, by season and time of day, with discounts, and what they return."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.simulation.frame import json_object, labels
from features.simulation.lives import ACTIVE, FADING, SLOWED, Lives
from features.simulation.people import People
from features.simulation.processes import DAY_SWING, Ints, Points, day_rhythm, keep, season, sigmoid, steady_points

__all__ = ["CATEGORIES", "CURRENCY", "draw_orders", "order_events", "thin_by_day"]

CURRENCY = "EUR"
CATEGORIES = ("books", "kitchen", "garden", "toys")
_SHARES = (0.4, 0.3, 0.2, 0.1)
_FAVOURITE = 0.6
_DISCOUNTS = (0.1, 0.2, 0.3)
_SPREAD = 0.45
_DEPTH = 1.4
"""How much more is ordered, in log value, for each unit of discount."""


def thin_by_day(rng: np.random.Generator, points: Points, people: People) -> Points:
    """Thin a process of rate (1 + DAY_SWING)·r to rate r·day_rhythm."""
    rhythm = day_rhythm(points.at, people.offset_hours[points.who])
    return keep(points, rng.random(len(points.at)) * (1 + DAY_SWING) < rhythm)


def draw_orders(rng: np.random.Generator, people: People, lives: Lives, days: float) -> Points:
    """Every order before `days`: the first at conversion, then a Poisson process by state, season and time of day."""
    peak = float(season(np.arange(366.0)).max())
    end = np.minimum(lives.lost, days)
    points = steady_points(rng, people.order_rate * peak * (1 + DAY_SWING), lives.converted, end)
    points = thin_by_day(rng, points, people)
    state = lives.state(points.at, points.who)
    share = np.select([state == ACTIVE, state == FADING], [1.0, SLOWED], 0.0) * season(points.at) / peak
    points = keep(points, rng.random(len(points.at)) < share)
    first = np.flatnonzero(people.lead & (lives.converted < days))
    who, at = np.concatenate([first, points.who]), np.concatenate([lives.converted[first], points.at])
    return Points(who, at)


def order_events(
    rng: np.random.Generator, shelves: np.random.Generator, orders: Points, people: People
) -> list[pl.DataFrame]:
    """Order and refund events. Amounts are what was paid, in EUR, after the discount."""
    who, n = orders.who, len(orders.who)
    taken = rng.random(n) < sigmoid(-1.3 + 1.0 * people.thrift[who])
    discount = np.where(taken, rng.choice(_DISCOUNTS, n, p=(0.5, 0.3, 0.2)), 0.0)
    value = np.exp(people.log_value[who] + _DEPTH * discount + rng.normal(0.0, _SPREAD, n))
    items = 1 + rng.poisson(np.clip(value / 60.0, 0.0, 20.0))
    amount = np.round(np.maximum(value * (1 - discount), 1.0), 2)
    returned = np.flatnonzero(rng.random(n) < sigmoid(-3.2 - 0.6 * people.satisfaction[who]))
    part = np.where(rng.random(len(returned)) < 0.6, 1.0, rng.uniform(0.2, 0.8, len(returned)))
    after = rng.gamma(4.0, 2.0, len(returned))
    return [
        pl.DataFrame(
            {
                "who": who,
                "at": orders.at,
                "amount": amount,
                "properties": json_object(
                    category=labels(CATEGORIES, _categories(shelves, orders, people)),
                    discount=pl.Series(discount),
                    items=pl.Series(items),
                ),
            }
        ).with_columns(pl.lit("order").alias("type"), pl.lit(CURRENCY).alias("currency")),
        pl.DataFrame(
            {
                "who": who[returned],
                "at": orders.at[returned] + after,
                "amount": np.round(amount[returned] * part, 2),
            }
        ).with_columns(pl.lit("refund").alias("type"), pl.lit(CURRENCY).alias("currency")),
    ]


def _categories(rng: np.random.Generator, orders: Points, people: People) -> Ints:
    """What each order is of: three in five times the person's favourite, else anything, popular things more often."""
    favourite = rng.choice(len(CATEGORIES), len(people), p=_SHARES)
    other = rng.choice(len(CATEGORIES), len(orders.who), p=_SHARES)
    return np.where(rng.random(len(orders.who)) < _FAVOURITE, favourite[orders.who], other)
