"""A world the demo can live in: what has happened, what happens next, and how people answer an action.

The simulated market knows its truth, so it can answer for the road not taken. Real transactions cannot: there the
actions are never really sent, people order or not as they did, and an honest verdict must find no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from features.market import simulate

__all__ = ["Respond", "World", "market_world", "transactions_world"]

Respond = Callable[[str, str, float], bool]
"""(customer_id, action, u uniform in [0, 1)) -> whether the customer converted within the reward window."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything a run of the loop needs to know about where its data come from."""

    title: str
    events: pl.DataFrame
    """Events known by `now` (columns `features.frames.EVENT_SCHEMA`)."""
    start: datetime
    now: datetime
    later: pl.DataFrame
    """Events after `now`, to be sent to the service when its clock stands at `later_now`."""
    later_now: datetime
    audience: Sequence[str]
    """Customers for whom the next best action is asked, in order."""
    point: str
    """The decision point that is asked."""
    respond: Respond
    answer_is_real: bool
    """Whether `respond` depends on the action; if not, the journey is an A/A test."""
    shifted: tuple[str, ...] = ()
    """Features that `later` shifts by construction, where that is known."""
    fates: Mapping[str, int] = field(default_factory=dict)
    """What became of every row of a real table: used as what, refused for what reason."""
    horizons: Mapping[str, timedelta] = field(default_factory=dict)
    """Problems asked over another horizon than their own."""


def _consenting(events: pl.DataFrame) -> pl.DataFrame:
    """Customers whose latest e-mail consent is granted."""
    latest = (
        events.filter((pl.col("type") == "consent") & (pl.col("channel") == "email"))
        .sort("occurred_at")
        .group_by("customer_id", maintain_order=True)
        .agg(pl.col("properties").last())
    )
    return latest.filter(pl.col("properties").str.json_path_match("$.granted") == "true").select("customer_id")


def market_world(*, seed: int, people: int, audience: int) -> World:
    """The simulated market, two weeks of a changed one after it, and answers by its known response function."""
    market = simulate(seed=seed, people=people).with_test()
    shifted = market.shifted()
    asked = _consenting(market.events)["customer_id"].sort().to_list()[:audience]
    return World(
        title=f"simulated market, {people:,} people over 30 months",
        events=market.events,
        start=market.start,
        now=market.end,
        later=shifted.events,
        later_now=market.end + timedelta(days=14),
        audience=asked,
        point="win_back",
        respond=market.respond,
        answer_is_real=True,
        shifted=shifted.refs,
    )


def transactions_world(title: str, events: pl.DataFrame, *, audience: int, held_back: timedelta) -> World:
    """Real transactions: the last days are held back and play the future."""
    start, end = events["occurred_at"].min(), events["occurred_at"].max()
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        raise TypeError("an event frame holds instants")
    until = (end + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    now = until - held_back
    past, later = events.filter(pl.col("occurred_at") < now), events.filter(pl.col("occurred_at") >= now)
    bought = set(later.filter(pl.col("type") == "order")["customer_id"])
    recent = past.filter((pl.col("type") == "order") & (pl.col("occurred_at") >= now - timedelta(days=180)))
    return World(
        title=title,
        events=past,
        start=start,
        now=now,
        later=later,
        later_now=until,
        audience=recent["customer_id"].unique().sort().to_list()[:audience],
        point="site_banner",
        respond=lambda customer, _action, _u: customer in bought,
        answer_is_real=False,
        horizons={"propensity": timedelta(days=90)},
    )
