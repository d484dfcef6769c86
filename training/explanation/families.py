"""Families of features: one thing counted over several windows, or a state and how long it has held.

Trees split one effect among such columns as it happens, so that each alone says little; a family is one reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["families"]

_WINDOW = re.compile(r"_(\d+[hdwmy]|total)$")
_ELEMENT = re.compile(r"\[\d+\]$")
_SINCE = ":days_since_"


def families(refs: Iterable[str]) -> dict[str, str]:
    """The family of each reference, named as its members without their window; empty for one without relatives.

    >>> found = families(["orders:count_30d", "orders:count_total", "orders:trend_90d", "web:count_30d"])
    >>> [each for each in found.items() if each[1]]
    [('orders:count_30d', 'orders:count'), ('orders:count_total', 'orders:count')]
    >>> families(["profile:stage", "profile:days_since_stage"])
    {'profile:stage': 'profile:stage', 'profile:days_since_stage': 'profile:stage'}
    >>> set(families(["send_hours:open_rate[0]", "send_hours:open_rate[1]"]).values())
    {'send_hours:open_rate'}
    """
    stems = {ref: _WINDOW.sub("", _ELEMENT.sub("", ref)) for ref in refs}
    present = set(stems.values())
    found = {ref: state if (state := stem.replace(_SINCE, ":")) in present else stem for ref, stem in stems.items()}
    members = Counter(found.values())
    return {ref: family if members[family] > 1 else "" for ref, family in found.items()}
