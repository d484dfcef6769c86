"""The simulated market: seeded, and its truth known, so that what is learnt from it can be held against what is so.

    people ─► lives ─► orders ─┬─► visits ─► events
       └───────────► messages ─┘

A person arrives as a lead (or is a customer at the start), converts, orders, fades and is lost; is sent messages at
random hours and opens those that suit their day; visits the site, the more the more they want to buy. Each step is a
function of `features.simulation`, drawn from its own generator, for everyone at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from features.kernel.clock import to_micros
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator
from features.simulation.arrivals import draw_email_consent, people_events
from features.simulation.frame import DAY_MICROS, assemble
from features.simulation.lives import Lives, draw_lives
from features.simulation.messages import message_events
from features.simulation.people import People, draw_people
from features.simulation.processes import Ints, Points, steady_points
from features.simulation.purchases import draw_orders, order_events
from features.simulation.push import draw_app, push_events
from features.simulation.truth import ACTIONS, Truth
from features.simulation.visits import Visits, draw_visits, visit_events
from features.simulation.win_back import assignment_events, draw_win_back

__all__ = ["ACTIONS", "START", "Market", "Shifted", "Truth", "simulate"]

START = datetime(2024, 5, 1, tzinfo=UTC)
AFTER_DAYS = 30
"""Days that are simulated beyond the end, for those who want to know how it goes on."""
_SURGE = 0.5  # visits a day and person
_SURGE_REFS = (
    "web:views_7d",
    "web:views_30d",
    "web:views_90d",
    "web:sessions_30d",
    "web:active_days_30d",
    "web:intent_views_30d",
    "web:intent_views_90d",
    "web:carts_30d",
    "web:carts_90d",
    "web:days_since_visit",
    "web:days_since_intent",
    "web:days_since_cart",
)
_RECENT = timedelta(days=180)


class Shifted(NamedTuple):
    """Events of a changed market, and the features whose distribution they change by construction."""

    events: pl.DataFrame
    refs: tuple[str, ...]


@dataclass(frozen=True)
class Market:
    """A simulated market: its events in [start, end) as received, and the truth behind them."""

    seed: int
    start: datetime
    end: datetime
    events: pl.DataFrame
    """Columns `features.frames.EVENT_SCHEMA`, sorted by received_at."""
    after: pl.DataFrame
    """How it goes on: events received in the `AFTER_DAYS` days from `end` on, in the same unchanged market."""
    truth: Truth
    people: People
    lives: Lives

    def respond(self, customer_id: str, action: str, u: float) -> bool:
        """Whether the person orders after `action` of `win_back`: u in [0, 1) below `Truth.response`.

        Raises:
            NotFound: the person or the action is not of this market.
        """
        return bool(u < self.truth.response([customer_id], [action])[0, 0])

    def with_test(self) -> Market:
        """The same market in which a win-back test ran (`features.simulation.win_back`): its events, assignments, and
        the orders that the discount caused. The truth knows the effect: `Truth.discount_effect`.
        """
        rng = generator("market", self.seed, "win back")
        until = self.end + timedelta(days=AFTER_DAYS)
        ids, days = self.people.ids, (until - self.start) / timedelta(days=1)
        pull = self.truth.response(ids, ["discount"])[:, 0] - self.truth.response(ids, ["none"])[:, 0]
        found = draw_win_back(rng, self._orders(), pull, days)
        parts = [assignment_events(found), *order_events(rng, rng, found.caused, self.people)]
        new = assemble(rng, parts, self.people, self.start, until, f"sim{self.seed}t-")
        before = pl.col("received_at") < self.end
        events, after = (
            pl.concat([old, new.filter(mine)]).sort("received_at", "event_id")
            for old, mine in ((self.events, before), (self.after, ~before))
        )
        return replace(self, events=events, after=after)

    def _orders(self) -> Points:
        """Every order, those after the end too."""
        row = {name: i for i, name in enumerate(self.people.ids)}
        orders = pl.concat([self.events, self.after]).filter(pl.col("type") == "order").sort("occurred_at", "event_id")
        at = (orders["occurred_at"] - self.start).dt.total_microseconds().to_numpy() / DAY_MICROS
        return Points(np.array([row[each] for each in orders["customer_id"].to_list()], dtype=np.int64), at)

    def shifted(self, days: int = 14, people: int = 600) -> Shifted:
        """Events received in [end, end + days) in a changed market: life goes on, and recent buyers surge to the site.

        Up to `people` of them visit .5 times a day more than before, half of the pages are pricing pages, and every
        fifth visit leaves a cart behind. Nothing else changes.

        Raises:
            InvalidInput: `days` is more than is simulated.
        """
        if not 0 < days <= AFTER_DAYS:
            raise InvalidInput("is not simulated", field="days", value=days, remedy=f"use 1 to {AFTER_DAYS}")
        rng = generator("market", self.seed, "shifted")
        after = (to_micros(self.end) - to_micros(self.start)) / DAY_MICROS
        rate = np.where(np.isin(np.arange(len(self.people)), self._recent_buyers(rng, people)), _SURGE, 0.0)
        points = steady_points(rng, rate, np.full(len(rate), after), np.full(len(rate), after + days))
        m = len(points.at)
        chances = {"depth": 2.0, "pricing": 0.5, "cart": 0.2, "form": 0.0, "buys": np.nan}
        visits = Visits(points.who, points.at, **{name: np.full(m, value) for name, value in chances.items()})
        parts = visit_events(rng, visits, self.people, f"w{self.seed}x-", signups=False)
        until = self.end + timedelta(days=days)
        surge = assemble(rng, parts, self.people, self.start, until, f"sim{self.seed}x-")
        usual = self.after.filter(pl.col("received_at") < until)
        return Shifted(pl.concat([usual, surge]).sort("received_at", "event_id"), _SURGE_REFS)

    def _recent_buyers(self, rng: np.random.Generator, people: int) -> Ints:
        since = self.end - _RECENT
        orders = self.events.filter(pl.col("type") == "order", pl.col("occurred_at") >= since)
        buyers = np.flatnonzero(pl.Series(self.people.ids).is_in(orders["customer_id"].unique().implode()).to_numpy())
        return rng.permutation(buyers)[:people]


def simulate(seed: int = 7, people: int = 3000, months: int = 30) -> Market:
    """Simulate `people` over `months` from 1 May 2024: the same arguments, the same market, event for event.

    Raises:
        InvalidInput: fewer than 10 people or less than 2 months.

    >>> market = simulate(people=50, months=3)
    >>> market.end.isoformat(), market.truth.response(["c00001"], ["none", "discount"]).shape
    ('2024-08-01T00:00:00+00:00', (1, 2))
    """
    for name, value, least in (("people", people, 10), ("months", months, 2)):
        if value < least:
            raise InvalidInput("is too small a market", field=name, value=value, remedy=f"use {least} or more")
    end = _months_after(START, months)
    whole = (to_micros(end) - to_micros(START)) / DAY_MICROS
    who = draw_people(generator("market", seed, "people"), people, whole)
    days = whole + AFTER_DAYS
    lives = draw_lives(generator("market", seed, "lives"), who)
    mail = draw_email_consent(generator("market", seed, "consent"), who, lives)
    orders = draw_orders(generator("market", seed, "orders"), who, lives, days)
    messages, clicks = message_events(generator("market", seed, "messages"), who, lives, mail, START, days)
    web = generator("market", seed, "visits")
    parts = [
        *people_events(who, lives, mail),
        *order_events(generator("market", seed, "baskets"), generator("market", seed, "shelves"), orders, who),
        *messages,
        *visit_events(web, draw_visits(web, who, lives, orders, clicks, days), who, f"w{seed}-", signups=True),
    ]
    until = end + timedelta(days=AFTER_DAYS)
    events = assemble(generator("market", seed, "receipt"), parts, who, START, until, f"sim{seed}-")
    app = draw_app(generator("market", seed, "app"), people)
    push = push_events(generator("market", seed, "push"), who, lives, app, START, days)
    pushes = assemble(generator("market", seed, "push receipt"), push, who, START, until, f"sim{seed}p-")
    events = pl.concat([events, pushes]).sort("received_at", "event_id")
    before, truth = pl.col("received_at") < end, Truth(who, lives, app, START)
    return Market(seed, START, end, events.filter(before), events.filter(~before), truth, who, lives)


def _months_after(start: datetime, months: int) -> datetime:
    years, month = divmod(start.month - 1 + months, 12)
    return start.replace(year=start.year + years, month=month + 1)
