"""Intervals for rates and for what lies between two rates, and how many customers it takes to see it.

All are score intervals: they stay inside what is possible and hold their level for small and for rare counts, where the
textbook interval (rate ± 1.96 standard errors) does not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import ndtr, ndtri

__all__ = ["Interval", "detectable", "needed", "newcombe", "power", "ratio", "wilson"]


class Interval(NamedTuple):
    """An estimate and its two-sided interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """A rate with its score interval (Wilson, 1927): all p that a z-test would not reject. n ≥ 1.

    >>> wilson(0, 10)
    Interval(value=0.0, low=0.0, high=0.2775...)
    """
    z2 = _z(level) ** 2
    p = successes / n
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if successes == 0 else middle - half  # exactly, where rounding would leave 1e-18
    high = 1.0 if successes == n else middle + half
    return Interval(p, low, high)


def newcombe(s1: int, n1: int, s2: int, n2: int, level: float = 0.95) -> Interval:
    """p1 - p2 with the hybrid score interval (Newcombe, 1998, method 10), from the two Wilson intervals.

    >>> tuple(round(each, 4) for each in newcombe(56, 70, 48, 80))  # Newcombe's example (a)
    (0.2, 0.0524, 0.3339)
    """
    a, b = wilson(s1, n1, level), wilson(s2, n2, level)
    difference = a.value - b.value
    return Interval(
        difference,
        difference - math.hypot(a.value - a.low, b.high - b.value),
        difference + math.hypot(a.high - a.value, b.value - b.low),
    )


def ratio(s1: int, n1: int, s2: int, n2: int, level: float = 0.95) -> Interval | None:
    """p1 / p2 with the interval of Donner & Zou (2012, MOVER-R) from the two Wilson intervals.

    The upper end is infinite where p2 = 0 cannot be ruled out; None where s2 = 0 and the ratio has no value.
    """
    a, b = wilson(s1, n1, level), wilson(s2, n2, level)
    if s2 == 0:
        return None
    product = a.value * b.value
    low = product - _root(product, a.low * b.high, (2 * a.value - a.low) * (2 * b.value - b.high))
    high = product + _root(product, a.high * b.low, (2 * a.value - a.high) * (2 * b.value - b.low))
    under, over = b.high * (2 * b.value - b.high), b.low * (2 * b.value - b.low)
    return Interval(
        a.value / b.value,
        # With so few successes that b.high ≥ 2 p2 the quotient is not defined; 0 is then a safe lower end.
        max(0.0, low / under) if under > 0 else 0.0,
        high / over if over > 0 else math.inf,
    )


def power(p1: float, n1: int, p2: float, n2: int, level: float = 0.95) -> float:
    """Chance that n1 and n2 customers with these true rates show a difference at this level (normal approximation)."""
    error = math.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
    if error == 0:
        return float(p1 != p2)
    shift = abs(p1 - p2) / error
    return float(ndtr(shift - _z(level)) + ndtr(-shift - _z(level)))


def needed(p1: float, p2: float, share: float, power: float = 0.9, level: float = 0.95) -> int | None:
    """Customers in all, `share` of them in the first group, to show p1 - p2 with this power; None if they are equal."""
    if p1 == p2:
        return None
    spread = p1 * (1 - p1) / share + p2 * (1 - p2) / (1 - share)
    return math.ceil((_z(level) + float(ndtri(power))) ** 2 * spread / (p1 - p2) ** 2)


def detectable(p: float, n1: int, n2: int, power: float = 0.9, level: float = 0.95) -> float:
    """The smallest difference that n1 and n2 customers show with this power where rates lie about p."""
    return (_z(level) + float(ndtri(power))) * math.sqrt(p * (1 - p) * (1 / n1 + 1 / n2))


def _z(level: float) -> float:
    return float(ndtri(0.5 + level / 2))


def _root(product: float, ends: float, mirrored: float) -> float:
    return math.sqrt(max(0.0, product**2 - ends * mirrored))
