"""Random generators from names: every draw in Kairos takes one, none uses a global state."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["generator", "uniform"]


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()


def generator(*parts: object) -> np.random.Generator:
    """A generator that depends on the names and numbers given, and on nothing else.

    >>> int(generator("market", 7).integers(1000)) == int(generator("market", 7).integers(1000))
    True
    """
    return np.random.default_rng(int.from_bytes(_digest(parts), "little"))


def uniform(*parts: object) -> float:
    """A number in [0, 1) by hashing `parts`: the same parts, the same number, on every machine.

    >>> 0.0 <= uniform("salt", "customer-1") < 1.0
    True
    """
    return int.from_bytes(_digest(parts)[:8], "little") / 2.0**64
