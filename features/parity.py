"""What is served of a customer beside what the events say: the online value, and that computed for the same instant.

An online row is of the instant at which it was computed, so it is compared with what was known then: a difference is
no matter of age. It means that events came later with earlier times (an import), or that something is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from features.compare import Value, values_of
from features.kernel import clock
from features.kernel.clock import from_micros
from features.packed.layout import segment_of
from features.packed.schema import HEADER
from features.packed.store import PackedStore
from features.refs import all_refs
from features.vectors import Status
from features.view import EntityName, FeatureView

__all__ = ["Served", "served"]

ACCOUNT = "profile:account_id"


@dataclass(frozen=True, slots=True)
class Served:
    """One feature as it is online."""

    value: Value
    expected: Value
    """Computed from the events for the instant of the online row; None where nothing is online."""
    status: Status
    age: timedelta | None
    """Since the instant of the online row; None where nothing is online."""

    @property
    def differs(self) -> bool:
        """Whether something is online and is not what the events say."""
        return self.age is not None and self.value != self.expected


def served(
    events: pl.DataFrame, customer: str, store: PackedStore, views: Mapping[str, FeatureView]
) -> dict[str, Served]:
    """By `view:feature`, what is online of a customer and what should be; of a list all of its elements.

    Args:
        events: everyone's; columns `features.frames.EVENT_SCHEMA`.
        customer: an id.
        store: the online store.
        views: those it holds.

    Raises:
        Unavailable: the online store cannot be reached.
    """
    refs = [ref for view in views.values() for ref in all_refs(view)]
    vectors = store.read_vectors([customer], refs)
    values = dict(zip(refs, vectors.values[0], strict=True))
    status = {name: Status(each) for name, each in zip(vectors.views, vectors.status[0].tolist(), strict=True)}
    computed = _computed(store, views, {"customer": customer, "account": values.get(ACCOUNT)})
    instants = sorted(set(computed.values()))
    said = values_of(events, [(customer, each) for each in instants], views) if instants else {}
    now = clock.now()
    found: dict[str, Served] = {}
    for view in views.values():
        when = computed.get(view.name)
        for each in view.features:
            ref = f"{view.name}:{each.name}"
            value = values[ref] if each.length is None else _whole(values, ref, each.length)
            expected = None if when is None else said[ref][instants.index(when)]
            found[ref] = Served(value, expected, status[view.name], None if when is None else now - when)
    return found


def _computed(
    store: PackedStore, views: Mapping[str, FeatureView], ids: Mapping[EntityName, object]
) -> dict[str, datetime]:
    """By view, the instant of the online row; a view of which nothing is online is left out."""
    read = {kind: store.read_values(f"{kind}_id", [str(each)])[0] for kind, each in ids.items() if each is not None}
    found = {}
    for name, view in views.items():
        segment = segment_of(store.schemas[name], read.get(view.entity) or b"")
        if segment is not None:
            found[name] = from_micros(HEADER.unpack_from(segment)[3])
    return found


def _whole(values: Mapping[str, float | str | None], ref: str, length: int) -> list[float | None] | None:
    elements = [values[f"{ref}[{i}]"] for i in range(length)]
    numbers = [None if each is None else float(each) for each in elements]
    return None if all(each is None for each in numbers) else numbers
