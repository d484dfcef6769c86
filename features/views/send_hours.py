"""At which of the 168 hours of their week a person opens, and clicks, what was sent then, by their own clock.

A year holds few sends an hour, so three things lend what a single hour lacks:

- neighbours: a send counts fully at its own hour and in part at hours near it, the same day or another;
- the segment: the rate of an hour is shrunk (the mean of a Beta posterior) to what people of the same stage of the
  lifecycle do at that hour, as everyone was known at the beginning of the month (`features.population`);
- the person: that profile is first scaled to how much this person opens altogether, shrunk to the segment's mean.

Sends of channels that report no opens (text messages) are left out of both lists.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.clocks import HOURS, local_slot, zones
from features.messages import sends
from features.population import by_month
from features.view import Feature, FeatureView
from features.windows import frame_of, latest, paired, text, with_first, within

__all__ = ["SEGMENTS", "view"]

Floats = NDArray[np.float64]

SEGMENTS = ("lead", "customer", "other")
"""Stages of the lifecycle; `other` is any other, or none known."""
PRIOR_RATES = {"open": 0.25, "click": 0.03}
"""Share of messages opened, clicked, where nothing is known of anyone."""
PRIOR_SENDS = 200.0
"""Weight of those in a segment's mean, in sends."""
PROFILE_SENDS = 50.0
"""Weight of a segment's mean in its rate of an hour, in sends."""
OWN_SENDS = 8.0
"""Weight of the segment's mean in a person's overall rate, in sends."""
SLOT_SENDS = 2.0
"""Weight of the scaled profile in a person's rate of an hour, in sends at that very hour."""
_BY_HOURS = (8, 6, 3, 1)
"""Weight of a send by how many hours of the day lie between (23:00 and 0:00 are neighbours)."""
_BY_DAYS = (4, 3, 1)
"""Weight of a send of the same day, of the same kind of day (working day or weekend), of the other kind."""


_WEIGHT = SLOT_SENDS * _BY_HOURS[0] * _BY_DAYS[0]

_FEATURES = (
    Feature("open_rate", "share", "opens {value} of what is sent at this hour", length=HOURS),
    Feature("click_rate", "share", "clicks in {value} of what is sent at this hour", length=HOURS),
    Feature("best_open_rate", "share", "opens {value} of what is sent at the best hour"),
    Feature("sends_365d", "messages", "was sent {value} messages by e-mail or push in 365 days"),
)
_TYPE, _AS_OF = pl.col("type"), pl.col("as_of")
_ANSWERS = {"open": "opened_from", "click": "clicked_from"}


class _Means(NamedTuple):
    """Of each row its segment's mean [n] and profile [n, 168]."""

    mean: Floats
    profile: Floats


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    rows, pairs = paired(_prepare(events), with_first(events, spine))
    segments = rows.select("row").join(_segments(pairs), on="row", how="left", maintain_order="left")["segment"]
    codes = segments.fill_null("other").replace_strict(SEGMENTS, range(len(SEGMENTS)), return_dtype=pl.Int64).to_numpy()
    sent = _sent(pairs)
    counts = _histogram(sent, rows.height)
    near = _smoothed(counts)
    rates = {}
    for kind in PRIOR_RATES:
        answers = _histogram(sent.filter(kind), rows.height)
        expected = _expected(counts, answers, _means(rows, codes, kind))
        rates[kind] = (_smoothed(answers) + _WEIGHT * expected) / (near + _WEIGHT)
    known = rows["first_at"].is_not_null().to_numpy()
    values = rows.with_columns(
        *(pl.Series(f"{kind}_rate", rate.astype(np.float32)) for kind, rate in rates.items()),
        pl.Series("best_open_rate", rates["open"].max(axis=1, initial=0.0)),
        pl.Series("sends_365d", counts.sum(axis=1)),
    ).with_columns(pl.when(pl.Series(known)).then(pl.col(each.name)).alias(each.name) for each in _FEATURES)
    return frame_of(_FEATURES, values, spine)


def population(events: pl.DataFrame, months: pl.Series) -> pl.DataFrame:
    """Of each month and segment the mean, `open_mean_lead`, and the profile [168], `open_profile_lead`, of a year."""

    def profiles(known: pl.DataFrame) -> pl.DataFrame:
        ago = (_AS_OF - pl.col("occurred_at")).dt.total_microseconds()
        pairs = known.rename({"customer_id": "row"}).with_columns(ago=ago)
        sent = (
            _sent(pairs).join(_segments(pairs), on="row", how="left").with_columns(pl.col("segment").fill_null("other"))
        )
        columns: dict[str, pl.Series | float] = {}
        for segment in SEGMENTS:
            own = sent.filter(pl.col("segment") == segment).with_columns(pl.lit(0).alias("row"))
            counts = _histogram(own, 1)[0]
            for kind, prior in PRIOR_RATES.items():
                answers = _histogram(own.filter(kind), 1)[0]
                mean = (answers.sum() + PRIOR_SENDS * prior) / (counts.sum() + PRIOR_SENDS)
                profile = (answers + PROFILE_SENDS * mean) / (counts + PROFILE_SENDS)
                columns[f"{kind}_mean_{segment}"] = pl.Series([mean], dtype=pl.Float64)
                columns[f"{kind}_profile_{segment}"] = pl.Series(profile.astype(np.float32)[None, :])
        return pl.DataFrame(columns)

    return by_month(_prepare(events), months, None, profiles)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    columns = ("customer_id", "type", "occurred_at", "received_at", "event_id")
    sent = sends(events).filter("openable").select(*columns, "opened_from", "clicked_from")
    stages = events.filter(_TYPE == "lifecycle").select(*columns, stage=text("stage")).drop_nulls("stage")
    return pl.concat([sent, stages, zones(events).with_columns(type=pl.lit("profile"))], how="diagonal")


def _segments(pairs: pl.DataFrame) -> pl.DataFrame:
    """Of each row with a stage its `segment`."""
    stage = latest(pairs.filter(_TYPE == "lifecycle")).group_by("row").agg(pl.col("stage").last())
    named = pl.when(pl.col("stage").is_in(SEGMENTS)).then(pl.col("stage")).otherwise(pl.lit("other"))
    return stage.select("row", segment=named)


def _sent(pairs: pl.DataFrame) -> pl.DataFrame:
    """A year's sends: `row`, `slot`, and whether a person is known to have answered: `open`, `click`."""
    zone = latest(pairs.filter(_TYPE == "profile")).group_by("row").agg(pl.col("zone").last())
    sent = pairs.filter((_TYPE == "send") & within(365)).select(
        "row", "occurred_at", **{kind: (pl.col(since) <= _AS_OF).fill_null(False) for kind, since in _ANSWERS.items()}
    )
    return local_slot(sent.join(zone, on="row", how="left"))


def _histogram(sent: pl.DataFrame, n: int) -> Floats:
    """Sends of each row and hour [n, 168]."""
    cell = (sent["row"].cast(pl.Int64) * HOURS + sent["slot"]).to_numpy()
    return np.bincount(cell, minlength=n * HOURS).reshape(n, HOURS).astype(np.float64)


def _means(rows: pl.DataFrame, codes: NDArray[np.int64], kind: str) -> _Means:
    months = rows.unique("month", keep="first")  # rows of one month hold the same
    means = np.stack([months[f"{kind}_mean_{segment}"].to_numpy() for segment in SEGMENTS])
    profiles = np.stack([months[f"{kind}_profile_{segment}"].to_numpy() for segment in SEGMENTS]).astype(np.float64)
    place = rows.select("month").join(
        months.select("month").with_row_index("place"), on="month", how="left", maintain_order="left"
    )["place"]
    each = place.to_numpy()
    return _Means(means[codes, each], profiles[codes, each])


def _expected(counts: Floats, answers: Floats, segment: _Means) -> Floats:
    """[n, 168]: the segment's profile at each person's level, from the sends and answers of all hours."""
    own = (answers.sum(axis=1) + OWN_SENDS * segment.mean) / (counts.sum(axis=1) + OWN_SENDS)
    return np.asarray(np.minimum(segment.profile * (own / segment.mean)[:, None], 1.0))


def _smoothed(counts: Floats) -> Floats:
    """[n, 168]: what lies at each hour and near it, each by its weight; whole numbers, so exact in any order."""
    days = counts.reshape(-1, 7, 24)
    by_hour = _BY_HOURS[0] * days
    for apart, weight in enumerate(_BY_HOURS[1:], start=1):
        by_hour += weight * (np.roll(days, apart, axis=2) + np.roll(days, -apart, axis=2))
    working, weekend = by_hour[:, :5].sum(axis=1), by_hour[:, 5:].sum(axis=1)
    same, kind, other = _BY_DAYS
    near = (same - kind) * by_hour
    near[:, :5] += (kind * working + other * weekend)[:, None]
    near[:, 5:] += (kind * weekend + other * working)[:, None]
    return near.reshape(-1, HOURS)


view = FeatureView("send_hours", _FEATURES, aggregate, population=population, reads=("send",), fresh=timedelta(days=90))
