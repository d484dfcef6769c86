"""Channel: through which channel will this person answer, of those through which they may be reached.

A problem with candidates: e-mail, text message, push. Each send of the window is one row, its channel the candidate
that was taken, and a click the answer: not every channel tells of opens. Asked about are people who may be reached by
two channels or more; the others leave no choice, and people with fewer consents are other people. Rows are weighted as
if each channel had been drawn alike among people with the same consents (`training.choices.randomised`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features.consent import as_of
from features.kernel.card import CandidateColumn, Candidates, Cutoffs
from features.kernel.errors import NotEnoughData
from features.kernel.seeds import generator
from features.messages import CHANNELS, channel
from training.choices.randomised import dependence, known_chances, limits, one_hot, stabilised
from training.choices.sends import answered, in_window
from training.choices.traits import TRAITS, traits
from training.problem import Problem
from training.rows.labels import before

__all__ = ["problem"]

RECENTLY = timedelta(days=180)
HORIZON = timedelta(days=30)


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    """Who may be reached by two channels or more: `customer_id`, `reachable` (the channels' names, sorted).

    By consent; where a person said nothing of a channel, by having been written to through it in 180 days.
    """
    said = as_of(before(events, cutoff, "consent", "unsubscribe"), cutoff).select("customer_id", "channel", "granted")
    sent = before(events, cutoff, "send", since=RECENTLY).select("customer_id", channel()).unique()
    either = said.join(sent.with_columns(used=True), on=["customer_id", "channel"], how="full", coalesce=True)
    may = either.filter(pl.col("granted").fill_null(pl.col("used")) & pl.col("channel").is_in(CHANNELS))
    reachable = may.group_by("customer_id").agg(pl.col("channel").sort().str.join(" ").alias("reachable"))
    return reachable.filter(pl.col("reachable").str.contains(" ")).sort("customer_id")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    """Sends that still leave time to be answered inside the window, and whether a click came in that time."""
    rows = answered(_sends(events, population, cutoff, horizon), events, cutoff, horizon, "click")
    return rows.select("customer_id", "label", "candidate", "weight")


def _sends(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    """The window's sends through a channel that was open, with `candidate` and `weight`."""
    sends = in_window(events, cutoff, horizon)
    rows = sends.join(population, on="customer_id", how="inner", maintain_order="left")
    chosen = known_chances(rows.filter(pl.col("reachable").str.contains(pl.col("channel"))), "channel_propensity")
    alike = pl.len().over("reachable", "channel") / pl.len().over("reachable")
    weight = stabilised(pl.col("channel"), pl.col("channel_propensity").fill_null(alike))
    taken = pl.col("channel").replace_strict(CHANNELS, range(len(CHANNELS)), return_dtype=pl.Int16)
    return chosen.with_columns(weight.alias("weight"), taken.alias("candidate"))


def _caution(events: pl.DataFrame, cutoffs: Cutoffs) -> tuple[str, ...]:
    """Whether channels were drawn by chance among people with the same consents, and which were never used."""
    parts = []
    for place, cutoff in enumerate((*cutoffs.train, *cutoffs.validation, *cutoffs.test)):
        sends = _sends(events, _population(events, cutoff), cutoff, HORIZON)
        known = sends.join(traits(events, cutoff), on="customer_id", how="left", maintain_order="left")
        parts.append(known.with_columns(stratum=pl.lit(f"{place} ") + pl.col("reachable")))
    rows = pl.concat(parts)
    used = set(rows.get_column("channel"))
    if len(used) < 2:
        raise NotEnoughData(
            f"people who may be reached by two channels were written to through {' '.join(used) or 'none'} only",
            field=problem.name,
            remedy="send through another channel, too, and record consent to it",
        )
    open_to_doubt = rows.filter(pl.col("channel_propensity").is_null())
    found = None
    if len(open_to_doubt):
        taken = open_to_doubt.get_column("candidate").to_numpy().astype(np.int64)
        whom = open_to_doubt.select(pl.col(*TRAITS).fill_null(0.0)).to_numpy()
        stratum = open_to_doubt.get_column("stratum").rank("dense").to_numpy().astype(np.int64)
        found = dependence(one_hot(taken), whom, stratum, generator("channel", "caution"))
    never = [each for each in CHANNELS if each not in used]
    unseen = (f"Nothing was sent by {' or '.join(never)}: what is said of it is a guess.",) if never else ()
    return limits("channel of a send", rows.get_column("channel_propensity"), rows.get_column("weight"), found) + unseen


def _own(name: str, feature: str, unit: str, phrase: str) -> CandidateColumn:
    """A person's own figure by channel."""
    refs = tuple(f"engagement:{each}_{feature}" for each in CHANNELS)
    return CandidateColumn(name=name, refs=refs, unit=unit, phrase=phrase)


problem = Problem(
    name="channel",
    question="Through which channel will this person answer a message of the next {days} days by a click?",
    population=_population,
    label=_label,
    horizon=HORIZON,
    features=("engagement:*", "profile:*", "orders:count_365d", "orders:days_since_last", "web:views_30d"),
    baseline=("answer_rate",),
    needs=("send", "click"),
    kind="candidates",
    caution=_caution,
    candidates=Candidates(
        name="channel",
        count=len(CHANNELS),
        columns=(
            *(
                CandidateColumn(
                    name=f"by_{each}",
                    values=tuple(float(each == other) for other in CHANNELS),
                    unit="yes = 1",
                    phrase=f"written to by {each}: {{value}}",
                )
                for each in CHANNELS[:-1]
            ),
            _own("answer_rate", "click_rate", "share", "clicks in {value} of what comes by this channel"),
            _own("answers", "clicks_90d", "clicks", "clicked {value} times in 90 days by this channel"),
            _own(
                "unanswered", "sends_since_click", "messages", "was sent {value} by this channel since the last click"
            ),
            _own("sends", "sends_30d", "messages", "was sent {value} by this channel in 30 days"),
        ),
        labels=CHANNELS,
    ),
    monotone={"answer_rate": 1},
)
