"""What becomes known of a person: profile, consent and lifecycle events."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.simulation.frame import json_object, labels
from features.simulation.lives import Lives
from features.simulation.people import COMPANY_SIZES, INDUSTRIES, PLACES, SOURCES, People
from features.simulation.processes import Floats, Ints

__all__ = ["draw_email_consent", "people_events"]

_SECOND = 1 / 86_400
_CONSENT_AT_CONVERSION = 0.4


def draw_email_consent(rng: np.random.Generator, people: People, lives: Lives) -> Floats:
    """Day [n] from which each person may be mailed: on arrival, on conversion for some of the others, else infinity."""
    later = rng.random(len(people)) < _CONSENT_AT_CONVERSION
    return np.where(people.email, people.arrival, np.where(later, lives.converted, np.inf))


def people_events(people: People, lives: Lives, email_from: Floats) -> list[pl.DataFrame]:
    """Profile, lifecycle and consent events of everyone, in the market's own time."""
    everyone = np.arange(len(people))
    early, late = np.flatnonzero(people.known_early), np.flatnonzero(~people.known_early & (people.account >= 0))
    bare = np.flatnonzero(~people.known_early)
    later_mail = np.flatnonzero(~people.email & np.isfinite(email_from) & people.lead)
    new = np.flatnonzero(people.lead)
    return [
        _profile(people, early, people.arrival, complete=True),
        _profile(people, bare, people.arrival, complete=False),
        _profile(people, late, lives.converted + 60 * _SECOND, complete=True),
        _stage(everyone, people.arrival + _SECOND, np.where(people.lead, "lead", "customer")),
        _stage(new, lives.converted[new] + _SECOND, np.full(len(new), "customer")),
        _consent(
            everyone, people.arrival + 2 * _SECOND, "email", people.email | (~people.lead & np.isfinite(email_from))
        ),
        _consent(everyone, people.arrival + 2 * _SECOND, "sms", people.sms),
        _consent(later_mail, email_from[later_mail] + 2 * _SECOND, "email", np.ones(len(later_mail), dtype=np.bool_)),
    ]


def _profile(people: People, who: Ints, at: Floats, *, complete: bool) -> pl.DataFrame:
    place = people.place[who]
    known = {
        "country": labels([country for country, _, _ in PLACES], place),
        "timezone": labels([zone for _, zone, _ in PLACES], place),
        "source": labels(SOURCES, people.source[who]),
    }
    if complete:
        known["company_size"] = labels([*COMPANY_SIZES, None], people.size[who])
        known["industry"] = labels([*INDUSTRIES, None], people.industry[who])
    return pl.DataFrame({"who": who, "at": at[who], "properties": json_object(**known)}).with_columns(
        pl.lit("profile").alias("type")
    )


def _stage(who: Ints, at: Floats, stage: NDArray[np.str_]) -> pl.DataFrame:
    frame = pl.DataFrame({"who": who, "at": at, "properties": json_object(stage=pl.Series(stage, dtype=pl.String))})
    return frame.with_columns(pl.lit("lifecycle").alias("type"))


def _consent(who: Ints, at: Floats, channel: str, granted: NDArray[np.bool_]) -> pl.DataFrame:
    frame = pl.DataFrame({"who": who, "at": at, "properties": json_object(granted=pl.Series(granted))})
    return frame.with_columns(pl.lit("consent").alias("type"), pl.lit(channel).alias("channel"))
