"""Point processes in continuous time, drawn for everyone at once. Times are days since the market's start."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COOLING_DAYS",
    "DAY_SWING",
    "Floats",
    "Ints",
    "Points",
    "cooling_points",
    "day_rhythm",
    "keep",
    "season",
    "sigmoid",
    "steady_points",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COOLING_DAYS = 60.0
"""A lead's warmth at age x days is 1 / (1 + x / COOLING_DAYS)."""
DAY_SWING = 0.8
_SEASON_SWING = 0.25
_SEASON_PEAK = 213.0  # days after 1 May: the end of November
_YEAR = 365.25
_AFTERNOON = 15.0


class Points(NamedTuple):
    """Points of a process: `who` [m] is the row of the person, `at` [m] the time in days."""

    who: Ints
    at: Floats


def sigmoid(x: Floats) -> Floats:
    """Log-odds to probability."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=np.float64)


def season(at: Floats | float) -> Floats:
    """Yearly factor of the order rate, mean 1 over a year, highest at the end of November."""
    return np.asarray(1.0 + _SEASON_SWING * np.cos(2 * np.pi * (np.asarray(at) - _SEASON_PEAK) / _YEAR))


def day_rhythm(at: Floats, offset_hours: Floats) -> Floats:
    """Factor of activity by standard local time, mean 1 over every 24 hours, highest at three in the afternoon."""
    hour = at * 24.0 + offset_hours
    return np.asarray(1.0 + DAY_SWING * np.cos(2 * np.pi * (hour - _AFTERNOON) / 24.0))


def keep(points: Points, mask: NDArray[np.bool_]) -> Points:
    """The points where `mask` holds."""
    return Points(points.who[mask], points.at[mask])


def steady_points(rng: np.random.Generator, rate: Floats, begin: Floats, end: Floats) -> Points:
    """A homogeneous Poisson process a person: `rate` [n] per day on [begin, end), empty where end <= begin."""
    length = np.maximum(end - begin, 0.0)
    who = np.repeat(np.arange(len(rate)), rng.poisson(rate * length))
    return Points(who, begin[who] + rng.random(len(who)) * length[who])


def cooling_points(rng: np.random.Generator, rate: Floats, begin: Floats, end: Floats) -> Points:
    """A Poisson process a person whose rate is `rate` [n] at `begin` and cools as warmth does."""
    mass = np.log1p(np.maximum(end - begin, 0.0) / COOLING_DAYS)
    who = np.repeat(np.arange(len(rate)), rng.poisson(rate * COOLING_DAYS * mass))
    return Points(who, begin[who] + COOLING_DAYS * np.expm1(rng.random(len(who)) * mass[who]))
