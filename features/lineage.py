"""From which events a customer's features come: each is left out in turn, and what changes comes from it.

An event is a *source* of a feature if the feature's value as of the instant would be another without it. That is exact,
whatever the view does, and says what must be corrected for the value to change. Of two events that say the same (two
profiles with one country) neither is a source: without either, the other says it.

All left-out events are computed at once: a made-up customer for each, who has all the events but that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from features.compare import Value
from features.compute import Population, all_views, compute, population
from features.frames import known, spine_of
from features.kernel.errors import NotFound
from features.population import months_of
from features.view import EntityName, FeatureView

__all__ = ["NEWEST", "Lineage", "trace"]

NEWEST = 500
"""Events left out in turn, the newest first; older ones are not looked at."""
PAIRS = 5_000_000
"""Events of all made-up customers together: with more than `PAIRS / NEWEST` events, fewer are left out in turn."""
PAIRS_AT_ONCE = 500_000
"""Events of made-up customers held at a time."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What was known of a customer at an instant, and from which events."""

    as_of: datetime
    events: pl.DataFrame
    """The customer's events known then, newest first; columns `features.frames.EVENT_SCHEMA`."""
    later: pl.DataFrame
    """Those that had occurred, but were received later: not known yet."""
    values: Mapping[str, Value]
    """By `view:feature`, views of accounts with those of the account the customer belonged to."""
    sources: Mapping[str, tuple[str, ...]]
    """By `view:feature`, the ids of the events it comes from, newest first; also those of others at the account."""
    examined: Mapping[EntityName, tuple[int, int]]
    """Of the customer's views and of the account's: how many events were left out in turn, and of how many."""


def trace(
    events: pl.DataFrame,
    customer: str,
    as_of: datetime,
    views: Mapping[str, FeatureView] | None = None,
    newest: int = NEWEST,
) -> Lineage:
    """What was known of a customer at an instant, and from which events.

    Args:
        events: everyone's; columns `features.frames.EVENT_SCHEMA`.
        as_of: nothing that was received later has any part in the result but `later`.
        views: those of `features/views`, if None.
        newest: how many events are left out in turn at most (`PAIRS` bounds them, too).

    Raises:
        NotFound: nothing was known of the customer.
    """
    chosen = all_views() if views is None else views
    spine = spine_of([customer], as_of)
    own = events.filter(pl.col("customer_id") == customer)
    then = _newest_first(known(own, spine))
    if then.is_empty():
        raise NotFound(f"is not known as of {as_of:%Y-%m-%d %H:%M:%S} UTC", field="customer", value=customer)
    everyone = population(events, months_of(spine), chosen)
    found = _Found({}, {}, {})
    found.add(_World(then, spine, everyone, _of(chosen, "customer")), "customer", newest)
    account = found.values.get("profile:account_id")
    if account is not None and (of_accounts := _of(chosen, "account")):
        theirs = _newest_first(_known_of_account(events, str(account), as_of))
        found.add(_World(theirs, spine, everyone, of_accounts, str(account)), "account", newest)
    later = own.filter((pl.col("occurred_at") < as_of) & (pl.col("received_at") > as_of))
    order = [f"{view.name}:{each.name}" for view in chosen.values() for each in view.features]
    values = {ref: found.values.get(ref) for ref in order}
    sources = {ref: found.sources.get(ref, ()) for ref in order}
    return Lineage(as_of, then, _newest_first(later), values, sources, found.examined)


@dataclass(frozen=True, slots=True)
class _World:
    """All that some views read as of one customer's instant."""

    events: pl.DataFrame
    """Known then, newest first."""
    spine: pl.DataFrame
    everyone: Population
    views: Mapping[str, FeatureView]
    account: str = ""
    """Whose row is meant, in views of accounts."""


@dataclass(frozen=True, slots=True)
class _Found:
    values: dict[str, Value]
    sources: dict[str, tuple[str, ...]]
    examined: dict[EntityName, tuple[int, int]]

    def add(self, world: _World, entity: EntityName, newest: int) -> None:
        """The values of a world's views, and their sources."""
        bound = min(newest, max(1, PAIRS // max(world.events.height, 1)))
        left_out = world.events.head(bound)["event_id"].to_list()
        rows = _without(world, [])
        self.values.update(rows.row(0, named=True))
        self.examined[entity] = (len(left_out), world.events.height)
        sources: dict[str, list[str]] = {ref: [] for ref in rows.columns}
        at_once = max(1, PAIRS_AT_ONCE // max(world.events.height, 1))
        for start in range(0, len(left_out), at_once):
            part = left_out[start : start + at_once]
            without = _without(world, part)
            for ref in rows.columns:
                changed = _differs(without[ref], rows[ref])
                sources[ref] += [event for event, does in zip(part, changed, strict=True) if does]
        self.sources.update({ref: tuple(each) for ref, each in sources.items()})


def _without(world: _World, left_out: list[str]) -> pl.DataFrame:
    """One row of values, columns by reference, for each event that is left out; the whole world's, if none is."""
    events: list[str] | list[None] = left_out or [None]
    made_up = pl.DataFrame({"event": events}, schema={"event": pl.String}).with_row_index("number")
    # Of one width, before each id: ids differ between the made-up worlds and keep their order within each.
    made_up = made_up.with_columns(before=pl.col("number").cast(pl.String).str.zfill(9) + ":").drop("number")
    ids = ("event_id", "customer_id", *(("account_id",) if world.account else ()))
    copies = world.events.join(made_up, how="cross").filter(pl.col("event_id").ne_missing(pl.col("event")))
    copies = copies.with_columns((pl.col("before") + pl.col(name)).alias(name) for name in ids).drop("event", "before")
    spine = world.spine.join(made_up, how="cross").select(
        customer_id=pl.col("before") + pl.col("customer_id"), as_of="as_of"
    )
    frames = compute(copies, spine, world.everyone, world.views)
    columns = []
    for view in world.views.values():
        frame = frames[view.name]
        if view.entity == "account":
            asked = made_up.select(account_id=pl.col("before") + pl.lit(world.account))
            frame = asked.join(frame, on="account_id", how="left", maintain_order="left")
        columns += [frame[each.name].alias(f"{view.name}:{each.name}") for each in view.features]
    return pl.DataFrame(columns)


def _differs(found: pl.Series, base: pl.Series) -> list[bool]:
    if isinstance(found.dtype, pl.Array):
        value = base.to_list()[0]
        return [each != value for each in found.to_list()]
    return found.ne_missing(base.new_from_index(0, len(found))).to_list()


def _of(views: Mapping[str, FeatureView], entity: EntityName) -> dict[str, FeatureView]:
    return {name: view for name, view in views.items() if view.entity == entity}


def _known_of_account(events: pl.DataFrame, account: str, as_of: datetime) -> pl.DataFrame:
    """What was known of everyone who had ever named the account."""
    people = events.filter(pl.col("account_id") == account).select("customer_id").unique()
    theirs = events.join(people, on="customer_id", how="semi")
    return known(theirs, spine_of(people["customer_id"], as_of))


def _newest_first(events: pl.DataFrame) -> pl.DataFrame:
    order = ("occurred_at", "received_at", "event_id")
    return events.drop("as_of", strict=False).sort(order, descending=True)
