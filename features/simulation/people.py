"""Who is in the market: what a business may see of a person, and the latent traits that drive what they do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.simulation.processes import Floats, Ints

__all__ = ["COMPANY_SIZES", "INDUSTRIES", "PLACES", "SOURCES", "People", "draw_people"]

SOURCES = ("organic", "paid_search", "social", "referral", "event")
_SOURCE_SHARE = (0.30, 0.25, 0.20, 0.15, 0.10)
_SOURCE_EFFECT = (0.1, -0.2, -0.8, 0.8, 0.4)

PLACES = (
    ("DE", "Europe/Berlin", 1.0),
    ("GB", "Europe/London", 0.0),
    ("US", "America/New_York", -5.0),
    ("US", "America/Los_Angeles", -8.0),
    ("BR", "America/Sao_Paulo", -3.0),
    ("IN", "Asia/Kolkata", 5.5),
    ("JP", "Asia/Tokyo", 9.0),
    ("AU", "Australia/Sydney", 10.0),
)
"""Country, IANA time zone, hours of its standard time ahead of UTC."""
_PLACE_SHARE = (0.24, 0.18, 0.18, 0.10, 0.09, 0.09, 0.07, 0.05)

COMPANY_SIZES = ("1-10", "11-50", "51-200", "201-1000", "1001+")
_SIZE_SHARE = (0.32, 0.28, 0.20, 0.13, 0.07)
_SIZE_EFFECT = (-0.6, 0.0, 0.5, 0.8, 0.5)
INDUSTRIES = ("retail", "software", "manufacturing", "finance", "health", "education")

_CUSTOMERS_AT_START = 0.42
_LAST_ARRIVAL = 15.0  # days before the end: everyone has been seen for a while
_COMPANY = 0.7
_KNOWN_EARLY = 0.6
_EMAIL, _SMS, _PROXY = 0.88, 0.25, 0.22


@dataclass(frozen=True, slots=True)
class People:
    """Arrays [n] over people. The first block a business can see; the second drives behaviour and stays hidden."""

    ids: list[str]
    arrival: Floats
    """Day they became known; 0 for those who were customers when the market starts."""
    lead: NDArray[np.bool_]
    source: Ints
    place: Ints
    account: Ints
    """Number of the company they belong to, -1 for none."""
    size: Ints
    industry: Ints
    known_early: NDArray[np.bool_]
    """Whether company size and industry are known on arrival, or only once they are a customer."""
    email: NDArray[np.bool_]
    sms: NDArray[np.bool_]
    """Consent given on arrival."""
    proxy: NDArray[np.bool_]
    """Reads mail behind a privacy proxy that opens everything by itself."""

    intent: Floats
    """Standard normal: how seriously a lead looks; drives conversion, pricing views, forms."""
    satisfaction: Floats
    """Standard normal: drives fading away, refunds, the base response."""
    thrift: Floats
    """Standard normal: drives discounts taken, fading away, the response to a discount."""
    interest: Floats
    """Standard normal: drives opens, clicks and the response to a reminder."""
    appeal: Floats
    """Log hazard ratio of conversion: source + company size + intent."""
    order_rate: Floats
    """Orders per day while active, Gamma distributed."""
    log_value: Floats
    """Mean of the log of an order's undiscounted value."""
    chronotype: Ints
    peak_shift: Floats
    """Hours by which this person's day runs later than their type's."""
    sharpness: Floats
    """Log-odds between the person's best hour and an idle one."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def offset_hours(self) -> Floats:
        """Standard time of each person ahead of UTC."""
        return np.array([hours for _, _, hours in PLACES])[self.place]


def draw_people(rng: np.random.Generator, n: int, days: float) -> People:
    """Draw `n` people for a market of `days` days."""
    lead = rng.random(n) >= _CUSTOMERS_AT_START
    accounts = max(n // 2, 1)
    account = np.where(rng.random(n) < _COMPANY, rng.integers(accounts, size=n), -1)
    size = np.where(account >= 0, rng.choice(len(COMPANY_SIZES), accounts, p=_SIZE_SHARE)[account], -1)
    industry = np.where(account >= 0, rng.integers(len(INDUSTRIES), size=accounts)[account], -1)
    source = rng.choice(len(SOURCES), n, p=_SOURCE_SHARE)
    intent, satisfaction, thrift, interest = rng.standard_normal((4, n))
    size_effect = np.where(size >= 0, np.array(_SIZE_EFFECT)[size], 0.0)
    return People(
        ids=[f"c{i + 1:05d}" for i in range(n)],
        arrival=np.where(lead, rng.random(n) * max(days - _LAST_ARRIVAL, 0.0), 0.0),
        lead=lead,
        source=source,
        place=rng.choice(len(PLACES), n, p=_PLACE_SHARE),
        account=account,
        size=size,
        industry=industry,
        known_early=rng.random(n) < _KNOWN_EARLY,
        email=rng.random(n) < _EMAIL,
        sms=rng.random(n) < _SMS,
        proxy=rng.random(n) < _PROXY,
        intent=intent,
        satisfaction=satisfaction,
        thrift=thrift,
        interest=interest,
        appeal=np.array(_SOURCE_EFFECT)[source] + size_effect + 0.9 * intent,
        order_rate=rng.gamma(1.4, 0.015, n),
        log_value=rng.normal(3.9, 0.5, n) + 0.4 * size_effect,
        chronotype=rng.choice(3, n, p=(0.42, 0.36, 0.22)),
        peak_shift=rng.normal(0.0, 1.3, n),
        sharpness=rng.normal(3.0, 0.35, n),
    )
