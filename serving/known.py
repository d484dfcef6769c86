"""What is known about a customer when a question is answered: values from the online store, and their rung.

`fresh`, `stale` (features older than their TTL), `default` (customer unknown: the card's typical values) or `prior` (no
store, or a damaged model: the training rows' mean). A missing dependency lowers the rung.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from features.kernel.errors import NotFound, Unavailable
from features.vectors import Value, VectorReader

__all__ = ["PRIOR", "Known", "Rung", "Value", "look_up"]

_log = logging.getLogger(__name__)

Rung = Literal["fresh", "stale", "default", "prior"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about one customer when a question is answered."""

    rung: Rung
    values: Mapping[str, Value]
    """By feature reference; empty on the rung `prior`."""
    age_seconds: float | None = None
    """Age of the oldest feature, where features were read."""


PRIOR = Known("prior", {})
"""Nothing could be read."""


def look_up(
    reader: VectorReader | None,
    customers: Sequence[str],
    refs: Sequence[str],
    defaults: Mapping[str, Value],
    ttl_seconds: float,
) -> list[Known]:
    """Read each customer's features; one `Known` a customer, in order. Never raises for a store that is away.

    Args:
        reader: the online store, or None while there is none.
        defaults: values of an unknown customer, by reference.
        ttl_seconds: age beyond which features are `stale`, as are those that outlived their own view's TTL.
    """
    if reader is None:
        return [PRIOR] * len(customers)
    try:
        vectors = reader.read_vectors(customers, refs)
    except (Unavailable, NotFound) as error:  # NotFound: the model asks for a feature that the store no longer has
        _log.warning("scoring on the rung prior: %s", error)
        return [PRIOR] * len(customers)
    typical = Known("default", {ref: defaults.get(ref) for ref in refs})
    found = []
    rows = zip(vectors.values, vectors.age_seconds, vectors.known, vectors.expired, strict=True)
    for values, age, known, expired in rows:
        seconds = None if math.isnan(age) else float(age)
        rung: Rung = "stale" if seconds is None or seconds > ttl_seconds or expired else "fresh"
        found.append(Known(rung, dict(zip(refs, values, strict=True)), seconds) if known else typical)
    return found
