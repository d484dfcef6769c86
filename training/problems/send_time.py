"""Send-time: at which hour of the week will this person open.

A problem with candidates: the 168 local hours of the week, Monday 00:00 being 0. It learns from sends whose hours
were randomised or at least varied; each send of the window is one row, its local hour the candidate that was taken.
An open made by a machine (a privacy proxy marks itself, or answers within ten seconds) is no open.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import available_timezones

import polars as pl

from features.clocks import HOURS
from features.kernel.card import CandidateColumn, Candidates
from features.messages import MACHINE_SECONDS, openable
from training.labels import before, latest_property, within
from training.problem import Problem

__all__ = ["problem"]

RECENTLY = timedelta(days=90)
OPEN_WINDOW = timedelta(days=2)
_MESSAGE = ["customer_id", "message_id"]


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    """People written to lately, with the time zone they were known to live in (UTC where none, or none that exists)."""
    people = before(events, cutoff, "send", since=RECENTLY).select("customer_id").unique().sort("customer_id")
    zones = latest_property(before(events, cutoff, "profile"), "timezone")
    exists = zones.filter(pl.col("timezone").is_in(sorted(available_timezones())))
    return people.join(exists, on="customer_id", how="left").with_columns(pl.col("timezone").fill_null("UTC"))


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    """Sends that still leave time to be opened inside the window, and whether a person opened them in that time."""
    patience = min(OPEN_WINDOW, horizon / 2)
    sends = (
        within(events, cutoff, horizon - patience, "send")
        .filter(openable())
        .select("customer_id", "message_id", pl.col("occurred_at").alias("sent_at"))
    )
    opened = _human_opens(within(events, cutoff, horizon, "open"), sends, patience)
    rows = sends.join(population, on="customer_id", how="inner").join(opened, on=_MESSAGE, how="left")
    return (
        rows.with_columns(pl.col("label").fill_null(0).cast(pl.Int8), _local_hour_of_week(population))
        .sort("sent_at", "message_id")
        .select("customer_id", "label", "candidate")
    )


def _human_opens(opens: pl.DataFrame, sends: pl.DataFrame, patience: timedelta) -> pl.DataFrame:
    pairs = opens.join(sends, on=_MESSAGE, how="inner")
    taken = pl.col("occurred_at") - pl.col("sent_at")
    marked = pl.col("properties").str.json_path_match("$.machine").fill_null("false") == "true"
    human = pairs.filter(~marked & (taken >= timedelta(seconds=MACHINE_SECONDS)) & (taken <= patience))
    return human.select(_MESSAGE).unique().with_columns(pl.lit(1, pl.Int8).alias("label"))


def _local_hour_of_week(population: pl.DataFrame) -> pl.Expr:
    """The hour of the week at `sent_at` in each row's own `timezone`."""
    hour = pl.lit(None, pl.Int16)
    for zone in population.get_column("timezone").unique().sort():
        local = pl.col("sent_at").dt.convert_time_zone(zone)
        value = (local.dt.weekday().cast(pl.Int16) - 1) * 24 + local.dt.hour().cast(pl.Int16)
        hour = pl.when(pl.col("timezone") == zone).then(value).otherwise(hour)
    return hour.alias("candidate")


problem = Problem(
    name="send_time",
    question="At which hour of the week will this person open a message of the next {days} days?",
    population=_population,
    label=_label,
    horizon=timedelta(days=30),
    features=("engagement:*", "profile:*", "send_hours:best_open_rate", "send_hours:sends_365d"),
    baseline=("engagement:email_open_rate", "affinity"),
    needs=("send", "open"),
    kind="candidates",
    candidates=Candidates(
        name="hour of the week",
        count=HOURS,
        columns=(
            CandidateColumn(
                name="hour_of_day",
                values=tuple(float(hour % 24) for hour in range(HOURS)),
                unit="hour",
                phrase="sent at {value} o'clock local time",
            ),
            CandidateColumn(
                name="day_of_week",
                values=tuple(float(hour // 24) for hour in range(HOURS)),
                unit="day",
                phrase="sent on day {value} of the week (Monday is 0)",
            ),
            CandidateColumn(
                name="affinity",
                refs=tuple(f"send_hours:open_rate[{hour}]" for hour in range(HOURS)),
                unit="share",
                phrase="opens {value} of what arrives at this hour",
            ),
        ),
    ),
    monotone={"affinity": 1},
)
