"""Push messages of the shop's app: who has it, who likes to be written to in it, and what they do with it.

Drawn from generators of their own, so that a market with pushes is, but for them, the market without.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.simulation.frame import json_object, labels, numbered
from features.simulation.lives import Lives
from features.simulation.messages import (
    CAMPAIGNS,
    click_chance,
    engagement,
    hour_of_week,
    open_log_odds,
    part,
    sorted_points,
)
from features.simulation.people import People
from features.simulation.processes import Floats, Ints, sigmoid, steady_points

__all__ = ["App", "draw_app", "push_events", "push_open_log_odds"]

_HAS_IT = 0.4
_PUSHES_A_DAY = 0.04
_LIKING = 1.2
_SECOND = 1 / 86_400


@dataclass(frozen=True, slots=True)
class App:
    """Arrays [n] over people: who installs the app when they become a customer, and how they take its messages."""

    has: NDArray[np.bool_]
    liking: Floats
    """Standard normal, hidden: drives opens of pushes beyond what drives those of mails."""


def draw_app(rng: np.random.Generator, n: int) -> App:
    """Draw who has the app and likes it; neither depends on anything else of a person."""
    return App(rng.random(n) < _HAS_IT, rng.standard_normal(n))


def push_open_log_odds(people: People, app: App, who: Ints | slice, hour: Ints) -> Floats:
    """Log-odds that an engaged person opens a push at a local hour: those of a mail + 1.2·liking; broadcasts."""
    return np.asarray(open_log_odds(people, who, hour) + _LIKING * app.liking[who])


def push_events(
    rng: np.random.Generator, people: People, lives: Lives, app: App, start: datetime, days: float
) -> list[pl.DataFrame]:
    """Consent, send, open and click events; a click opens the app, so that no visit to the site begins with it."""
    begin = np.where(app.has, lives.converted, np.inf)
    sends = sorted_points(steady_points(rng, np.full(len(people), _PUSHES_A_DAY), begin, np.full(len(people), days)))
    m = len(sends.at)
    campaign = rng.integers(len(CAMPAIGNS), size=m)
    chance = sigmoid(push_open_log_odds(people, app, sends.who, hour_of_week(sends, people, start)))
    opened = rng.random(m) < chance * engagement(lives, sends.at, sends.who)
    open_at = sends.at + (15 + rng.lognormal(np.log(240.0), 1.0, m)) * _SECOND
    clicked = opened & (rng.random(m) < click_chance(people, sends.who, campaign))
    click_at = open_at + rng.lognormal(np.log(10.0), 0.8, m) * _SECOND
    base = pl.DataFrame({"who": sends.who, "campaign": labels(CAMPAIGNS, campaign)}).with_columns(
        numbered("p", np.arange(m)).alias("message_id"), pl.lit("push").alias("channel")
    )
    installs = np.flatnonzero(np.isfinite(begin) & (begin < days))
    granted = json_object(granted=pl.Series(np.ones(len(installs), dtype=np.bool_)))
    return [
        part(base, "send", sends.at, np.ones(m, dtype=np.bool_)),
        part(base, "open", open_at, opened),
        part(base, "click", click_at, clicked),
        pl.DataFrame({"who": installs, "at": begin[installs] + 3 * _SECOND, "properties": granted}).with_columns(
            pl.lit("consent").alias("type"), pl.lit("push").alias("channel")
        ),
    ]
