"""What a list of references reads, worked out once: of the customers themselves, and of the accounts they belong to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import NotFound
from features.packed.decode import ABSENT, Found, Part, Pick
from features.packed.layout import Schema
from features.refs import Ref, parse_ref
from features.vectors import Status, Vectors

__all__ = ["ACCOUNT_OF", "CUSTOMER", "Plan", "compile_plan"]

CUSTOMER = "customer_id"
ACCOUNT_OF = "profile:account_id"
"""The feature that names a customer's account."""
_MICROSECONDS = 1_000_000
_NEVER = 2**62
_MISSING, _FRESH, _EXPIRED = map(int, (Status.MISSING, Status.FRESH, Status.EXPIRED))
Judged: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.int8]]"


@dataclass(frozen=True, slots=True)
class Plan:
    """How `refs` are read, and how what was read becomes `Vectors`."""

    views: tuple[str, ...]
    ttl_us: tuple[int, ...]
    """Of each view."""
    nothing: Found
    """What is known of one customer before anything was read."""
    customers: Part
    account: int | None
    """The column of strings that names the account; not one of those asked for. None: no view of accounts is read."""
    accounts: Part | None
    account_key: str = ""

    def vectors(self, found: Found, now_us: int) -> Vectors:
        """What was read, with ages and status at an instant."""
        if self.account is not None:
            found.strings.pop(self.account, None)
        judged = self._one if len(found.events) == 1 else self._many
        ages, status = judged(found.events[:, : len(self.views)], now_us)
        return Vectors(found.numbers, found.strings, self.views, ages, status)

    def _one(self, events: NDArray[np.int64], now_us: int) -> Judged:
        # What numpy takes for a call is what this takes for all.
        ages, status = [], []
        for event, ttl in zip(events[0].tolist(), self.ttl_us, strict=True):
            age = now_us - event
            ages.append(age / _MICROSECONDS if event != ABSENT else math.nan)
            status.append(_MISSING if event == ABSENT else _EXPIRED if age > ttl else _FRESH)
        return np.array([ages]), np.array([status], np.int8)

    def _many(self, events: NDArray[np.int64], now_us: int) -> Judged:
        age, absent = now_us - events, events == ABSENT
        status = np.where(age > np.array(self.ttl_us, np.int64), np.int8(_EXPIRED), np.int8(_FRESH))
        status[absent] = _MISSING
        ages = age / _MICROSECONDS
        ages[absent] = math.nan
        return ages, status


def compile_plan(refs: Sequence[str], schemas: Mapping[str, Schema]) -> Plan:
    """Work out how references are read.

    Raises:
        NotFound: one names no feature, no element of a list, or a list as a whole.
    """
    picks: dict[str, Pick] = {}
    for column, text in enumerate(refs):
        ref = _checked(text, schemas)
        picks.setdefault(ref.view, Pick(schemas[ref.view], len(picks))).take(ref, column)
    asked = tuple(picks)
    others = [each for each in picks.values() if each.schema.key != CUSTOMER]
    account = None
    if others:
        account = len(refs)
        link = _checked(ACCOUNT_OF, schemas)
        picks.setdefault(link.view, Pick(schemas[link.view], len(picks))).take(link, account)
    own = [each for each in picks.values() if each.schema.key == CUSTOMER]
    return Plan(
        views=asked,
        ttl_us=tuple(_NEVER if (ttl := schemas[each].ttl_us) is None else ttl for each in asked),
        nothing=Found(np.full((1, len(refs)), np.nan), np.full((1, len(picks)), ABSENT, np.int64)),
        customers=Part(own),
        account=account,
        accounts=Part(others) if others else None,
        account_key=others[0].schema.key if others else "",
    )


def _checked(text: str, schemas: Mapping[str, Schema]) -> Ref:
    ref = parse_ref(text)
    if ref.view not in schemas:
        raise NotFound("is no feature", field="feature", value=text, remedy=f"the views are {', '.join(schemas)}")
    found = next((each for each in schemas[ref.view].fields if each.name == ref.feature), None)
    if found is None:
        names = ", ".join(each.name for each in schemas[ref.view].fields)
        raise NotFound("is no feature", field="feature", value=text, remedy=f"{ref.view} has {names}")
    if (found.length is None) != (ref.index is None):
        remedy = f"write {ref.base}" + (f"[0] to [{found.length - 1}]" if found.length else "")
        raise NotFound("is a list" if found.length else "is no list", field="feature", value=text, remedy=remedy)
    if found.length is not None and ref.index is not None and ref.index >= found.length:
        raise NotFound("is beyond the list", field="feature", value=text, remedy=f"it ends at [{found.length - 1}]")
    return ref
