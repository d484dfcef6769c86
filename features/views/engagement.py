"""How a customer answers messages, channel by channel: sends, opens by a person, clicks, leaving, and fatigue.

Opens by machines (see `features.messages`) are counted apart and never as opens. A rate of a few sends says little, so
it is the mean of a Beta posterior: what a customer did weighs against `RATE_SENDS` sends at the mean rate that the
channel was known to have at the beginning of the month (`features.population`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from features.messages import CHANNELS, channel, opens, sends
from features.population import by_month
from features.view import Feature, FeatureView
from features.windows import days_since, over_spine, with_first, within

__all__ = ["view"]

RATE_SENDS = 10.0
"""Weight of the channel's mean in a customer's rate, in sends."""
PRIOR_RATES = {"email_open": 0.25, "push_open": 0.1, "email_click": 0.03, "sms_click": 0.05, "push_click": 0.03}
"""Mean rates of a channel of which nothing is known."""
PRIOR_SENDS = 100.0
"""Weight of those in the channel's mean, in sends."""

_SAID = {"email": "e-mails", "sms": "text messages", "push": "push messages"}
_OPENED = ("email", "push")


def _of_channel(name: str) -> Iterator[Feature]:
    said = _SAID[name]
    yield Feature(f"{name}_sends_30d", "messages", f"was sent {{value}} {said} in 30 days")
    if name in _OPENED:
        yield Feature(f"{name}_opens_90d", "opens", f"opened {said} {{value}} times in 90 days")
    yield Feature(f"{name}_clicks_90d", "clicks", f"clicked in {said} {{value}} times in 90 days")
    yield Feature(f"{name}_unsubscribes_365d", "times", f"unsubscribed from {said} {{value}} times in 365 days")
    if name in _OPENED:
        yield Feature(f"{name}_open_rate", "share", f"opens {{value}} of {said}")
    yield Feature(f"{name}_click_rate", "share", f"clicks in {{value}} of {said}")
    yield Feature(f"{name}_sends_since_click", "messages", f"was sent {{value}} {said} since the last click in one")


_FEATURES = (
    Feature("sends_7d", "messages", "was sent {value} messages in 7 days"),
    Feature("sends_90d", "messages", "was sent {value} messages in 90 days"),
    *(feature for name in CHANNELS for feature in _of_channel(name)),
    Feature("email_machine_opens_90d", "opens", "had {value} e-mails fetched by a machine in 90 days"),
    Feature("days_since_send", "days", "last got a message {value} days ago", absent="never got a message"),
    Feature("days_since_open", "days", "last opened a message {value} days ago", absent="never opened a message"),
    Feature("days_since_click", "days", "last clicked {value} days ago", absent="never clicked in a message"),
)
_COUNTS = ("sends_30d", "opens_90d", "machine_opens_90d", "clicks_90d", "unsubscribes_365d", "sends_since_click")
_YEAR = ("sent", "opened", "clicked")
_ZEROS = ("sends_7d", "sends_90d", *(f"{name}_{count}" for name in CHANNELS for count in (*_COUNTS, *_YEAR)))
_RATES = {f"{name}_{kind}": (name, f"{kind}ed") for name, _, kind in (each.partition("_") for each in PRIOR_RATES)}
_DERIVED = {
    f"{rate}_rate": (pl.col(f"{name}_{answered}") + RATE_SENDS * pl.col(f"{rate}_mean"))
    / (pl.col(f"{name}_sent") + RATE_SENDS)
    for rate, (name, answered) in _RATES.items()
}
"""Rates by the counts of a year: `email_open_rate` = (opened + 10 x mean) / (sent + 10)."""
_TYPE, _AS_OF = pl.col("type"), pl.col("as_of")
_SEND, _CLICK, _LEFT = _TYPE == "send", _TYPE == "click", _TYPE == "unsubscribe"
_YEARS_SEND = _SEND & within(365)


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, _prepare(events), with_first(events, spine), _summarise, _ZEROS, _DERIVED)


def population(events: pl.DataFrame, months: pl.Series) -> pl.DataFrame:
    """Of each month the mean rates a channel, `email_open_mean` and so on, by the sends of the year before it."""
    sent = sends(events).select("channel", "occurred_at", "received_at", "opened_from", "clicked_from")

    def means(known: pl.DataFrame) -> pl.DataFrame:
        return known.select(
            _shrunk(
                (pl.col("channel") == name).sum(),
                ((pl.col("channel") == name) & (pl.col(f"{answered}_from") <= _AS_OF)).sum(),
                PRIOR_RATES[rate],
            ).alias(f"{rate}_mean")
            for rate, (name, answered) in _RATES.items()
        )

    return by_month(sent, months, 365, means)


def _shrunk(sent: pl.Expr, answered: pl.Expr, prior: float) -> pl.Expr:
    return (answered + PRIOR_SENDS * prior) / (sent + PRIOR_SENDS)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    columns = ("customer_id", "type", "channel", "occurred_at", "received_at")
    clicks = events.filter(_CLICK).with_columns(channel()).select(columns)
    # Who leaves without naming a channel has left all of them.
    every = pl.lit(list(CHANNELS), pl.List(pl.String))
    channels = pl.when(pl.col("channel").is_null()).then(every).otherwise(pl.concat_list("channel"))
    left = events.filter(_LEFT).with_columns(channel=channels).explode("channel", empty_as_null=True).select(columns)
    sent = sends(events).select(*columns, "opened_from", "clicked_from")
    opened = opens(events).select(*columns, "machine", "machine_from")
    return pl.concat([clicks, left, sent, opened], how="diagonal")


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    by_machine = pl.col("machine") | (pl.col("machine_from") <= _AS_OF).fill_null(False)
    last_click = pairs.filter(_CLICK).group_by("row", "channel").agg(clicked_ago=pl.col("ago").min())
    marked = pairs.with_columns(
        human=((_TYPE == "open") & ~by_machine).fill_null(False),
        by_machine=((_TYPE == "open") & by_machine).fill_null(False),
    ).join(last_click, on=["row", "channel"], how="left")
    unanswered = (pl.col("ago") < pl.col("clicked_ago")).fill_null(True)
    apart = marked.group_by("row", "channel").agg(
        (_SEND & within(7)).sum().alias("sends_7d"),
        (_SEND & within(30)).sum().alias("sends_30d"),
        (_SEND & within(90)).sum().alias("sends_90d"),
        (pl.col("human") & within(90)).sum().alias("opens_90d"),
        (pl.col("by_machine") & within(90)).sum().alias("machine_opens_90d"),
        (_CLICK & within(90)).sum().alias("clicks_90d"),
        (_LEFT & within(365)).sum().alias("unsubscribes_365d"),
        (_SEND & unanswered).sum().alias("sends_since_click"),
        _YEARS_SEND.sum().alias("sent"),
        (_YEARS_SEND & (pl.col("opened_from") <= _AS_OF)).sum().alias("opened"),
        (_YEARS_SEND & (pl.col("clicked_from") <= _AS_OF)).sum().alias("clicked"),
        days_since(_SEND).alias("days_since_send"),
        days_since(pl.col("human")).alias("days_since_open"),
        days_since(_CLICK).alias("days_since_click"),
    )
    return apart.group_by("row").agg(
        pl.col("sends_7d", "sends_90d").sum(),
        pl.col("days_since_send", "days_since_open", "days_since_click").min(),
        *(
            pl.when(pl.col("channel") == name).then(pl.col(count)).sum().alias(f"{name}_{count}")
            for name in CHANNELS
            for count in (*_COUNTS, *_YEAR)
        ),
    )


view = FeatureView(
    "engagement",
    _FEATURES,
    aggregate,
    population=population,
    reads=("send", "open", "click", "unsubscribe"),
    fresh=timedelta(days=90),
)
