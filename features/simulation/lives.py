"""How lives go: lead → active → fading → lost, and the probabilities that follow from a state at an instant.

A lead of age x converts with hazard h·exp(appeal)/(1 + x/60) a day: survival is (1 + x/60)^(-60·h·exp(appeal)), a
Lomax law. An active customer starts fading with a constant hazard of their own, and a fading one is lost with a
constant hazard: after that they never order again. Orders are a Poisson process of rate `order_rate · season(t)` while
active, `SLOWED` times that while fading, 0 once lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.simulation.people import People
from features.simulation.processes import COOLING_DAYS, Floats, Ints, season

__all__ = [
    "ACTIVE",
    "FADING",
    "LEAD",
    "LOST",
    "SLOWED",
    "UNKNOWN",
    "Lives",
    "conversion_probability",
    "draw_lives",
    "fading_hazard",
    "loss_probability",
    "order_probability",
]

UNKNOWN, LEAD, ACTIVE, FADING, LOST = range(5)
"""States of a person; `UNKNOWN` before they arrive."""

SLOWED: Final = 0.35
"""Order rate while fading, as a share of the rate while active."""
LOSS_HAZARD: Final = 1 / 75
"""Per day, while fading."""
_CONVERSION_HAZARD = 0.0062
_FADING_HAZARD = 1 / 720
_FADING_AT_START = 0.12


@dataclass(frozen=True, slots=True)
class Lives:
    """Arrays [n] of days since the market's start at which each change of state comes, be it after the market's end."""

    arrival: Floats
    converted: Floats
    fading: Floats
    lost: Floats

    def state(self, at: Floats | float, who: Ints | slice = slice(None)) -> Ints:
        """The state of people `who` at `at`: one of UNKNOWN, LEAD, ACTIVE, FADING, LOST."""
        changes = (self.arrival, self.converted, self.fading, self.lost)
        return np.asarray(sum((np.asarray(at) >= change[who]).astype(np.int64) for change in changes))


def fading_hazard(people: People) -> Floats:
    """Hazard [n] per day of starting to fade: higher for the dissatisfied and for those who buy by discount."""
    return np.asarray(_FADING_HAZARD * np.exp(-0.55 * people.satisfaction + 0.3 * people.thrift))


def draw_lives(rng: np.random.Generator, people: People) -> Lives:
    """Draw each person's times of change."""
    n = len(people)
    strength = _CONVERSION_HAZARD * np.exp(people.appeal) * COOLING_DAYS
    wait = COOLING_DAYS * np.expm1(np.minimum(rng.exponential(size=n) / strength, 60.0))  # exp(60): beyond any market
    converted = np.where(people.lead, people.arrival + wait, people.arrival)
    already = ~people.lead & (rng.random(n) < _FADING_AT_START)
    fading = converted + np.where(already, 0.0, rng.exponential(size=n) / fading_hazard(people))
    return Lives(people.arrival, converted, fading, fading + rng.exponential(1 / LOSS_HAZARD, n))


def conversion_probability(people: People, at: float, days: float) -> Floats:
    """P(a lead at `at` converts within `days`) [n]: 1 - ((1 + (x + days)/60) / (1 + x/60))^(-60·h·exp(appeal))."""
    age = np.maximum(at - people.arrival, 0.0)
    ratio = np.log1p((age + days) / COOLING_DAYS) - np.log1p(age / COOLING_DAYS)
    return np.asarray(-np.expm1(-_CONVERSION_HAZARD * np.exp(people.appeal) * COOLING_DAYS * ratio))


def loss_probability(people: People, state: Ints, days: float) -> Floats:
    """P(lost within `days` | state) [n]: exponential while fading, sum of two such waits while active, 1 once lost."""
    fade, gap = fading_hazard(people), LOSS_HAZARD - fading_hazard(people)
    x = np.where(np.abs(gap * days) < 1e-9, 1e-9, gap * days)
    active = 1.0 - np.exp(-fade * days) * (1.0 + fade * days * -np.expm1(-x) / x)
    fading = np.full(len(people), -np.expm1(-LOSS_HAZARD * days))
    return np.select([state == ACTIVE, state == FADING, state == LOST], [active, fading, np.ones(len(people))], np.nan)


def order_probability(people: People, state: Ints, at: float, days: float) -> Floats:
    """P(at least one order in [at, at + days) | customer's state at `at`) [n], nan for who is no customer.

    Solves v_F' = (SLOWED·r + l)·v_F - l and v_A' = (r + f)·v_A - f·v_F backwards from v = 1, where v is the probability
    of no order, r(t) = order_rate·season(t), f the fading and l the loss hazard: Runge-Kutta of order 4, steps of at
    most a day.
    """
    fade = fading_hazard(people)

    def slope(t: float, v: Floats) -> Floats:
        rate = people.order_rate * season(t)
        active = (rate + fade) * v[0] - fade * v[1]
        return np.stack([active, (SLOWED * rate + LOSS_HAZARD) * v[1] - LOSS_HAZARD])

    steps = max(int(np.ceil(days)), 1)
    t, step, v = at + days, -days / steps, np.ones((2, len(people)))
    for _ in range(steps):
        first = slope(t, v)
        second = slope(t + step / 2, v + step / 2 * first)
        third = slope(t + step / 2, v + step / 2 * second)
        fourth = slope(t + step, v + step * third)
        v, t = v + step / 6 * (first + 2 * second + 2 * third + fourth), t + step
    return np.select(
        [state == ACTIVE, state == FADING, state == LOST], [1 - v[0], 1 - v[1], np.zeros(len(people))], np.nan
    )
