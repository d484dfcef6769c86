"""Visits to the web site: page views in sessions, carts and forms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from features.simulation.frame import json_object, labels, numbered
from features.simulation.lives import ACTIVE, FADING, LOST, Lives
from features.simulation.people import People
from features.simulation.processes import (
    DAY_SWING,
    Floats,
    Ints,
    Points,
    cooling_points,
    keep,
    sigmoid,
    steady_points,
)
from features.simulation.purchases import thin_by_day

__all__ = ["Visits", "draw_visits", "visit_events"]

_PAGES = ("pricing", "home", "product", "blog", "docs", "checkout")
_OTHER = (0.32, 0.38, 0.18, 0.12)
_FORMS = ("demo", "contact", "whitepaper", "signup")
_SECOND = 1 / 86_400
_PACE = 45.0 * _SECOND


class Visits(NamedTuple):
    """Visits [m]: whose, from when, views of further pages expected, share of pricing pages, and chances.

    `buys` is the instant of the order the visit ends in, nan for none; `cart` and `form` are probabilities.
    """

    who: Ints
    at: Floats
    depth: Floats
    pricing: Floats
    cart: Floats
    form: Floats
    buys: Floats


def draw_visits(
    rng: np.random.Generator, people: People, lives: Lives, orders: Points, clicks: Points, days: float
) -> Visits:
    """Leads browse by intent and cool down, customers by order rate and state; orders and clicks bring visits."""
    rate = 0.08 * np.exp(0.55 * people.intent) * (1 + DAY_SWING)
    lead_end = np.where(people.lead, np.minimum(lives.converted, days), people.arrival)
    looking = thin_by_day(rng, cooling_points(rng, rate, people.arrival, lead_end), people)
    rate = (0.008 + 0.7 * people.order_rate) * (1 + DAY_SWING)
    browsing = thin_by_day(rng, steady_points(rng, rate, lives.converted, np.full(len(people), days)), people)
    state = lives.state(browsing.at, browsing.who)
    share = np.select([state == ACTIVE, state == FADING, state == LOST], [1.0, 0.45, 0.08], 0.0)
    browsing = keep(browsing, rng.random(len(share)) < share)
    lead_time = rng.uniform(4.0, 25.0, len(orders.at)) * 60 * _SECOND
    intent = people.intent
    parts = [
        _visits(
            looking, 1.6, sigmoid(-1.8 + 1.3 * intent[looking.who]), form=sigmoid(-3.1 + 1.0 * intent[looking.who])
        ),
        _visits(browsing, 1.3, np.full(len(browsing.at), 0.08), cart=0.07),
        _visits(clicks, 0.8, np.full(len(clicks.at), 0.12), cart=0.05),
        _visits(Points(orders.who, orders.at - lead_time), 1.2, np.full(len(orders.at), 0.2), cart=1.0, buys=orders.at),
    ]
    return Visits(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _visits(
    points: Points,
    depth: float,
    pricing: Floats,
    *,
    cart: float = 0.0,
    form: Floats | None = None,
    buys: Floats | None = None,
) -> Visits:
    m = len(points.at)
    forms = np.zeros(m) if form is None else form
    bought = np.full(m, np.nan) if buys is None else buys
    return Visits(points.who, points.at, np.full(m, depth), pricing, np.full(m, cart), forms, bought)


def visit_events(
    rng: np.random.Generator, visits: Visits, people: People, prefix: str, *, signups: bool
) -> list[pl.DataFrame]:
    """Page view, cart and form events; with `signups`, every lead arrives by a form."""
    m = len(visits.at)
    count = 1 + rng.poisson(visits.depth)
    which = np.repeat(np.arange(m), count)
    step = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    at = visits.at[which] + step * _PACE * rng.uniform(0.5, 1.0, len(which))
    other = 1 + rng.choice(len(_OTHER), len(which), p=_OTHER)
    page = np.where(rng.random(len(which)) < visits.pricing[which], 0, other)
    buying = np.flatnonzero(np.isfinite(visits.buys))
    which, page = (
        np.concatenate([which, buying]),
        np.concatenate([page, np.full(len(buying), _PAGES.index("checkout"))]),
    )
    at = np.concatenate([at, visits.buys[buying] - 30 * _SECOND])
    session = numbered(prefix, np.argsort(np.argsort(visits.at, kind="stable"), kind="stable"))
    carts = np.flatnonzero(rng.random(m) < visits.cart)
    cart_at = np.where(np.isfinite(visits.buys), visits.buys - 90 * _SECOND, visits.at + 90 * _SECOND)[carts]
    forms = np.flatnonzero(rng.random(m) < visits.form)
    kinds = rng.choice(3, len(forms), p=(0.4, 0.25, 0.35))
    new = np.flatnonzero(people.lead) if signups else np.zeros(0, dtype=np.int64)
    form_who, form_at = (
        np.concatenate([visits.who[forms], new]),
        np.concatenate([visits.at[forms] + 120 * _SECOND, people.arrival[new]]),
    )
    kinds = np.concatenate([kinds, np.full(len(new), _FORMS.index("signup"))])
    return [
        _events(
            "page_view", visits.who[which], at, json_object(page=labels(_PAGES, page), session=session.gather(which))
        ),
        _events("cart", visits.who[carts], cart_at, json_object(items=pl.Series(1 + rng.poisson(0.8, len(carts))))),
        _events("form", form_who, form_at, json_object(form=labels(_FORMS, kinds))),
    ]


def _events(kind: str, who: Ints, at: Floats, properties: pl.Series) -> pl.DataFrame:
    frame = pl.DataFrame({"who": who, "at": at, "properties": properties})
    return frame.with_columns(pl.lit(kind).alias("type"))
