"""Sends at random hours with random offers, and what people (and their privacy proxies) do with them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.simulation.frame import labels, micros, numbered
from features.simulation.lives import ACTIVE, FADING, LEAD, LOST, Lives
from features.simulation.people import PLACES, People
from features.simulation.processes import COOLING_DAYS, Floats, Ints, Points, sigmoid, steady_points

__all__ = [
    "CAMPAIGNS",
    "HOURS",
    "click_chance",
    "engagement",
    "hour_of_week",
    "message_events",
    "open_log_odds",
    "part",
    "sorted_points",
    "text_click_chance",
]

HOURS = 168
CAMPAIGNS = ("newsletter", "product_news", "discount_10", "discount_20")
_OFFER = (0.0, 0.0, 0.5, 1.0)
_EMAILS_A_DAY, _SMS_A_DAY = 0.09, 0.02
_SECOND = 1 / 86_400
_INSTANT = pl.Datetime("us", "UTC")

_PEAKS = ((7.5, 9.0), (20.0, 20.5), (19.0, 11.0))
"""Best hour on working days and at the weekend of the types morning, evening, weekend."""
_WEIGHTS = ((1.0, 0.35), (1.0, 0.55), (0.3, 1.1))
_CONCENTRATION = 3.0


def open_log_odds(people: People, who: Ints | slice, hour: Ints) -> Floats:
    """Log-odds that an engaged person opens a mail sent at local hour of week `hour` (Monday 00:00 = 0).

    floor + sharpness · weight · exp(3·(cos(2π(h + ½ - peak - shift)/24) - 1)), with weight and peak by type and by
    working day or weekend. `who` and `hour` broadcast.
    """
    weekend = (hour >= 120).astype(np.int64)
    kind = people.chronotype[who]
    peak = np.array(_PEAKS)[kind, weekend] + people.peak_shift[who]
    angle = 2 * np.pi * (hour % 24 + 0.5 - peak) / 24
    bump = np.array(_WEIGHTS)[kind, weekend] * np.exp(_CONCENTRATION * (np.cos(angle) - 1))
    return np.asarray(-2.6 + 0.55 * people.interest[who] + people.sharpness[who] * bump)


def engagement(lives: Lives, at: Floats | float, who: Ints | slice = slice(None)) -> Floats:
    """Factor of the open probability: 1 active, .45 fading, .12 lost; a lead's falls from 1 to .4 as they cool."""
    state = lives.state(at, who)
    warmth = 1.0 / (1.0 + np.maximum(at - lives.arrival[who], 0.0) / COOLING_DAYS)
    factors = [0.4 + 0.6 * warmth, np.ones(len(state)), np.full(len(state), 0.45), np.full(len(state), 0.12)]
    return np.select([state == LEAD, state == ACTIVE, state == FADING, state == LOST], factors, 0.0)


def hour_of_week(points: Points, people: People, start: datetime) -> Ints:
    """Local hour of week [m] of each point, daylight saving included; Monday 00:00 is 0."""
    instants = pl.Series(micros(points.at, start)).cast(_INSTANT)
    hours = np.zeros(len(points.at), dtype=np.int64)
    place = people.place[points.who]
    for code, (_, zone, _) in enumerate(PLACES):
        there = np.flatnonzero(place == code)
        local = instants.gather(there).dt.convert_time_zone(zone)
        hours[there] = (local.dt.weekday().cast(pl.Int64) - 1).to_numpy() * 24 + local.dt.hour().to_numpy()
    return hours


def message_events(
    rng: np.random.Generator, people: People, lives: Lives, email_from: Floats, start: datetime, days: float
) -> tuple[list[pl.DataFrame], Points]:
    """Send, open, click and unsubscribe events, and the clicks as points (each begins a visit)."""
    email, email_clicks = _emails(rng, people, lives, email_from, start, days)
    sms, sms_clicks = _texts(rng, people, lives, days)
    clicks = [np.concatenate(pair) for pair in zip(email_clicks, sms_clicks, strict=True)]
    return [*email, *sms], Points(clicks[0], clicks[1])


def _emails(
    rng: np.random.Generator, people: People, lives: Lives, email_from: Floats, start: datetime, days: float
) -> tuple[list[pl.DataFrame], Points]:
    sends = sorted_points(
        steady_points(rng, np.full(len(people), _EMAILS_A_DAY), email_from, np.full(len(people), days))
    )
    m = len(sends.at)
    campaign = rng.integers(len(CAMPAIGNS), size=m)
    chance = sigmoid(open_log_odds(people, sends.who, hour_of_week(sends, people, start)))
    opened = rng.random(m) < chance * engagement(lives, sends.at, sends.who)
    open_at = sends.at + rng.lognormal(np.log(35.0), 1.2, m) * 60 * _SECOND
    clicked = opened & (rng.random(m) < click_chance(people, sends.who, campaign))
    click_at = open_at + rng.lognormal(np.log(40.0), 0.8, m) * _SECOND
    leaves = opened & (rng.random(m) < 0.01 * np.exp(-0.5 * people.satisfaction[sends.who]))
    leave_at = _first_leave(len(people), sends.who, open_at + 120 * _SECOND, leaves)
    sent = sends.at < leave_at[sends.who]
    machine = people.proxy[sends.who] & (rng.random(m) < 0.97)
    machine_at = sends.at + rng.uniform(1.0, 8.0, m) * _SECOND
    base = pl.DataFrame({"who": sends.who, "campaign": labels(CAMPAIGNS, campaign)}).with_columns(
        numbered("e", np.cumsum(sent)).alias("message_id"), pl.lit("email").alias("channel")
    )
    gone = np.flatnonzero(np.isfinite(leave_at))
    parts = [
        part(base, "send", sends.at, sent),
        part(base, "open", open_at, sent & opened, pl.lit('{"machine":false}')),
        part(base, "open", machine_at, sent & machine, pl.lit('{"machine":true}')),
        part(base, "click", click_at, sent & clicked),
        pl.DataFrame({"who": gone, "at": leave_at[gone]}).with_columns(
            pl.lit("unsubscribe").alias("type"), pl.lit("email").alias("channel")
        ),
    ]
    return parts, Points(sends.who[sent & clicked], click_at[sent & clicked])


def _texts(rng: np.random.Generator, people: People, lives: Lives, days: float) -> tuple[list[pl.DataFrame], Points]:
    begin = np.where(people.sms, people.arrival, np.inf)
    sends = sorted_points(steady_points(rng, np.full(len(people), _SMS_A_DAY), begin, np.full(len(people), days)))
    m = len(sends.at)
    campaign = rng.integers(len(CAMPAIGNS), size=m)
    chance = text_click_chance(people, sends.who, campaign) * engagement(lives, sends.at, sends.who)
    clicked = rng.random(m) < chance
    click_at = sends.at + rng.lognormal(np.log(15.0), 1.0, m) * 60 * _SECOND
    base = pl.DataFrame({"who": sends.who, "campaign": labels(CAMPAIGNS, campaign)}).with_columns(
        numbered("s", np.arange(m)).alias("message_id"), pl.lit("sms").alias("channel")
    )
    everything = np.ones(m, dtype=np.bool_)
    parts = [part(base, "send", sends.at, everything), part(base, "click", click_at, clicked)]
    return parts, Points(sends.who[clicked], click_at[clicked])


def click_chance(people: People, who: Ints | slice, campaign: Ints) -> Floats:
    """P(click | opened): interest, and thrift where the campaign offers a discount."""
    offer = np.array(_OFFER)[campaign]
    return sigmoid(-1.8 + 0.5 * people.interest[who] + offer * (0.8 + 0.7 * people.thrift[who]))


def text_click_chance(people: People, who: Ints | slice, campaign: Ints) -> Floats:
    """P(an engaged person clicks in a text message): everyone reads it; .3 of what an opened mail gets."""
    return np.asarray(0.3 * click_chance(people, who, campaign))


def _first_leave(n: int, who: Ints, at: Floats, leaves: NDArray[np.bool_]) -> Floats:
    """The first instant [n] at which each person unsubscribes, infinity for those who never do."""
    first = np.full(n, np.inf)
    np.minimum.at(first, who[leaves], at[leaves])
    return first


def sorted_points(points: Points) -> Points:
    """The points in time order."""
    order = np.argsort(points.at, kind="stable")
    return Points(points.who[order], points.at[order])


def part(
    base: pl.DataFrame, kind: str, at: Floats, mask: NDArray[np.bool_], properties: pl.Expr | None = None
) -> pl.DataFrame:
    """Events of one type, one a row of `base` where `mask` holds."""
    text = pl.lit(None, dtype=pl.String) if properties is None else properties
    return base.with_columns(pl.lit(kind).alias("type"), pl.Series("at", at), text.alias("properties")).filter(
        pl.Series(mask)
    )
