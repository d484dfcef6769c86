"""How a customer answers messages: sends, opens by a person, clicks, on every channel.

Opens by machines (see `features.messages`) are counted apart and never as opens.
"""

from __future__ import annotations

import polars as pl

from features.messages import opens, sends
from features.view import Feature, FeatureView
from features.windows import days_since, over_spine, within

__all__ = ["view"]

_FEATURES = (
    *(Feature(f"sends_{days}d", "messages", f"was sent {{value}} messages in {days} days") for days in (7, 30, 90)),
    *(Feature(f"opens_{days}d", "opens", f"opened messages {{value}} times in {days} days") for days in (30, 90)),
    *(Feature(f"clicks_{days}d", "clicks", f"clicked {{value}} times in {days} days") for days in (30, 90)),
    Feature("machine_opens_90d", "opens", "had {value} messages fetched by a machine in 90 days"),
    Feature("open_rate", "share", "opened {value} of the e-mails and pushes of a year"),
    Feature("click_rate", "share", "clicked in {value} of the messages of a year"),
    Feature("sends_since_click", "messages", "was sent {value} messages since the last click"),
    Feature("days_since_send", "days", "last got a message {value} days ago"),
    Feature("days_since_open", "days", "last opened a message {value} days ago"),
    Feature("days_since_click", "days", "last clicked {value} days ago"),
    Feature("unsubscribes_365d", "times", "left a channel {value} times in 365 days"),
)
_NOT_COUNTS = ("open_rate", "click_rate", "days_since_send", "days_since_open", "days_since_click")
_DEFAULTS = {each.name: 0.0 for each in _FEATURES if each.name not in _NOT_COUNTS}
_TYPE, _AS_OF = pl.col("type"), pl.col("as_of")
_SEND, _CLICK = _TYPE == "send", _TYPE == "click"
_YEAR = _SEND & within(365)
_NEVER = pl.datetime(1900, 1, 1, time_unit="us", time_zone="UTC")


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, events, _prepare(events), spine, _summarise, _DEFAULTS)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    columns = ("customer_id", "type", "occurred_at", "received_at")
    others = events.filter(_TYPE.is_in(["click", "unsubscribe"])).select(columns)
    sent = sends(events).select(*columns, "openable", "opened_from", "clicked_from")
    opened = opens(events).select(*columns, "machine", "machine_from")
    return pl.concat([others, sent, opened], how="diagonal")


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    by_machine = pl.col("machine") | (pl.col("machine_from") <= _AS_OF).fill_null(False)
    human, machine = (_TYPE == "open") & ~by_machine, (_TYPE == "open") & by_machine
    marked = pairs.with_columns(human=human.fill_null(False), by_machine=machine.fill_null(False))
    last_click = pl.col("occurred_at").filter(_CLICK).max().fill_null(_NEVER)
    rows = marked.group_by("customer_id", "as_of").agg(
        *((_SEND & within(days)).sum().alias(f"sends_{days}d") for days in (7, 30, 90)),
        *((pl.col("human") & within(days)).sum().alias(f"opens_{days}d") for days in (30, 90)),
        *((_CLICK & within(days)).sum().alias(f"clicks_{days}d") for days in (30, 90)),
        (pl.col("by_machine") & within(90)).sum().alias("machine_opens_90d"),
        _YEAR.sum().alias("year"),
        (_YEAR & pl.col("openable")).sum().alias("year_openable"),
        (_YEAR & pl.col("openable") & (pl.col("opened_from") <= _AS_OF)).sum().alias("opened"),
        (_YEAR & (pl.col("clicked_from") <= _AS_OF)).sum().alias("clicked"),
        (_SEND & (pl.col("occurred_at") > last_click)).sum().alias("sends_since_click"),
        days_since(_SEND).alias("days_since_send"),
        days_since(pl.col("human")).alias("days_since_open"),
        days_since(_CLICK).alias("days_since_click"),
        ((_TYPE == "unsubscribe") & within(365)).sum().alias("unsubscribes_365d"),
    )
    return rows.with_columns(open_rate=_share("opened", "year_openable"), click_rate=_share("clicked", "year"))


def _share(part: str, whole: str) -> pl.Expr:
    return pl.col(part) / pl.when(pl.col(whole) > 0).then(pl.col(whole))


view = FeatureView("engagement", _FEATURES, aggregate)
