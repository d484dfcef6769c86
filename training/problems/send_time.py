"""Send-time: at which hour of the week will this person answer an e-mail.

A problem with candidates: the 168 local hours of the week, Monday 00:00 being 0. Each send of the window is one row,
its local hour the candidate that was taken, and an open or click by a person the answer. What an hour does can be
learnt only from sends whose hour did not hang on who the person is: see `training.choices.randomised`. `send_time_push`
asks the same of push messages.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import available_timezones

import numpy as np
import polars as pl

from features.clocks import HOURS
from features.kernel.card import CandidateColumn, Candidates, Cutoffs
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator
from features.messages import CHANNELS, channel
from training.choices.randomised import dependence, known_chances, limits, one_hot, stabilised
from training.choices.sends import answered, in_window
from training.choices.traits import TRAITS, traits
from training.problem import Problem
from training.rows.labels import before, latest_property

__all__ = ["problem"]

RECENTLY = timedelta(days=90)
HORIZON = timedelta(days=30)


def _population(kind: str, events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    """People written to lately, with the time zone they were known to live in (UTC where none, or none that exists)."""
    sends = before(events, cutoff, "send", since=RECENTLY).filter(channel() == kind)
    people = sends.select("customer_id").unique().sort("customer_id")
    zones = latest_property(before(events, cutoff, "profile"), "timezone")
    exists = zones.filter(pl.col("timezone").is_in(sorted(available_timezones())))
    return people.join(exists, on="customer_id", how="left").with_columns(pl.col("timezone").fill_null("UTC"))


def _label(
    kind: str, events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta
) -> pl.DataFrame:
    """Sends that still leave time to be answered inside the window, and whether a person answered in that time."""
    rows = answered(_sends(kind, events, population, cutoff, horizon), events, cutoff, horizon, "open", "click")
    return rows.select("customer_id", "label", "candidate", "weight")


def _sends(
    kind: str, events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta
) -> pl.DataFrame:
    """The window's sends to the population with `candidate` and `weight`; of known chance only, where there are any."""
    sends = in_window(events, cutoff, horizon).filter(pl.col("channel") == kind)
    rows = sends.join(population, on="customer_id", how="inner", maintain_order="left")
    chosen = known_chances(rows.with_columns(_local_hour_of_week(population)), "hour_propensity")
    weight = stabilised(pl.col("candidate"), pl.col("hour_propensity"))
    return chosen.with_columns(weight.fill_null(1.0).alias("weight"))


def _local_hour_of_week(population: pl.DataFrame) -> pl.Expr:
    """The hour of the week at `sent_at` in each row's own `timezone`."""
    hour = pl.lit(None, pl.Int16)
    for zone in population.get_column("timezone").unique().sort():
        local = pl.col("sent_at").dt.convert_time_zone(zone)
        value = (local.dt.weekday().cast(pl.Int16) - 1) * 24 + local.dt.hour().cast(pl.Int16)
        hour = pl.when(pl.col("timezone") == zone).then(value).otherwise(hour)
    return hour.alias("candidate")


def _caution(kind: str, events: pl.DataFrame, cutoffs: Cutoffs) -> tuple[str, ...]:
    """Whether hours were drawn by chance, and which of them nobody was ever written to at."""
    parts = []
    for place, cutoff in enumerate((*cutoffs.train, *cutoffs.validation, *cutoffs.test)):
        sends = _sends(kind, events, _population(kind, events, cutoff), cutoff, HORIZON)
        known = sends.join(traits(events, cutoff), on="customer_id", how="left", maintain_order="left")
        parts.append(known.with_columns(stratum=pl.lit(place)))
    rows = pl.concat(parts)
    open_to_doubt = rows.filter(pl.col("hour_propensity").is_null())
    found = None
    if len(open_to_doubt):
        hour = open_to_doubt.get_column("candidate").to_numpy().astype(np.int64)
        zone = open_to_doubt.get_column("timezone").rank("dense").to_numpy().astype(np.int64)
        whom = np.column_stack([open_to_doubt.select(pl.col(*TRAITS).fill_null(0.0)).to_numpy(), one_hot(zone)])
        stratum = open_to_doubt.get_column("stratum").to_numpy().astype(np.int64)
        found = dependence(one_hot(hour % 24, hour // 24), whom, stratum, generator("send_time", "caution"))
    never = HOURS - rows.get_column("candidate").n_unique()
    unseen = (f"Nothing was sent at {never} of the {HOURS} hours: what is said of those is a guess.",) if never else ()
    return limits("hour of a send", rows.get_column("hour_propensity"), rows.get_column("weight"), found) + unseen


def _about(kind: str) -> Problem:
    if kind not in CHANNELS:
        remedy = f"use one of: {', '.join(CHANNELS)}"
        raise InvalidInput("is no channel", field="part of send_time", value=kind, remedy=remedy)
    return replace(
        problem,
        question=problem.question.replace("an e-mail", f"a message by {kind}"),
        population=partial(_population, kind),
        label=partial(_label, kind),
        baseline=("send_hours:best_open_rate", "affinity"),
        caution=partial(_caution, kind),
    )


problem = Problem(
    name="send_time",
    question="At which hour of the week will this person open an e-mail of the next {days} days?",
    population=partial(_population, "email"),
    label=partial(_label, "email"),
    horizon=HORIZON,
    features=("engagement:*", "profile:*", "send_hours:best_open_rate", "send_hours:sends_365d"),
    baseline=("engagement:email_open_rate", "affinity"),
    needs=("send", "open"),
    kind="candidates",
    variant=_about,
    caution=partial(_caution, "email"),
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
                unit="weekday",
                phrase="sent on a {value}",
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
