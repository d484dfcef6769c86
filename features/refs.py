"""References to features: `orders:count_30d`, and of a list one element, `send_hours:open_rate[17]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from features.kernel.errors import NotFound
from features.view import Feature, FeatureView

__all__ = ["Ref", "Resolved", "all_refs", "expand", "parse_ref", "resolve"]

_REF = re.compile(r"([^:\[\]]+):([^:\[\]]+)(?:\[(0|[1-9][0-9]*)\])?")


@dataclass(frozen=True, slots=True)
class Ref:
    """The parts of a reference; `index` is None where it names a feature of one value."""

    view: str
    feature: str
    index: int | None = None

    @property
    def base(self) -> str:
        """`view:feature`, of an element that of its list."""
        return f"{self.view}:{self.feature}"

    def __str__(self) -> str:
        return self.base + ("" if self.index is None else f"[{self.index}]")


class Resolved(NamedTuple):
    """A reference with the view and the feature it names."""

    ref: Ref
    view: FeatureView
    feature: Feature


@lru_cache(maxsize=20_000)
def parse_ref(ref: str) -> Ref:
    """The parts of a reference, whether or not such a feature exists.

    Raises:
        NotFound: it is not written as a reference is.

    >>> parse_ref("send_hours:open_rate[17]")
    Ref(view='send_hours', feature='open_rate', index=17)
    >>> parse_ref("orders:count_30d").index is None
    True
    """
    found = _REF.fullmatch(ref)
    if found is None:
        raise NotFound("names no feature", field="feature", value=ref, remedy="write view:feature or view:feature[i]")
    view, feature, index = found.groups()
    return Ref(view, feature, None if index is None else int(index))


def resolve(refs: Iterable[str], views: Mapping[str, FeatureView]) -> dict[str, Resolved]:
    """What each reference names, in their order, each once.

    Raises:
        NotFound: a reference names no feature, no element of a list, or a list as a whole.
    """
    return {ref: _resolve(ref, views) for ref in refs}


def all_refs(view: FeatureView, *, lists: bool = True) -> tuple[str, ...]:
    """Every value of a view by reference, in the order of its features; without `lists`, single values only."""
    found: list[str] = []
    for each in view.features:
        name = f"{view.name}:{each.name}"
        if each.length is None:
            found.append(name)
        elif lists:
            found += [f"{name}[{i}]" for i in range(each.length)]
    return tuple(found)


def expand(ref: str, views: Mapping[str, FeatureView]) -> tuple[str, ...]:
    """What a problem reads by `ref`: `view:*` is every single value of a view but identifiers, anything else itself.

    Raises:
        NotFound: it names no feature.
    """
    view, _, feature = ref.partition(":")
    if feature == "*" and view in views:
        return tuple(f"{view}:{each.name}" for each in views[view].features if not each.identifier and not each.length)
    return (str(_resolve(ref, views).ref),)


def _resolve(ref: str, views: Mapping[str, FeatureView]) -> Resolved:
    parsed = parse_ref(ref)
    if parsed.view not in views:
        raise NotFound("is no feature", field="feature", value=ref, remedy=f"the views are {', '.join(views)}")
    view = views[parsed.view]
    feature = next((each for each in view.features if each.name == parsed.feature), None)
    if feature is None:
        names = ", ".join(each.name for each in view.features)
        raise NotFound("is no feature", field="feature", value=ref, remedy=f"{view.name} has {names}")
    if (feature.length is None) != (parsed.index is None):
        remedy = f"write {view.name}:{feature.name}" + (f"[0] to [{feature.length - 1}]" if feature.length else "")
        raise NotFound("is a list" if feature.length else "is no list", field="feature", value=ref, remedy=remedy)
    if feature.length is not None and parsed.index is not None and parsed.index >= feature.length:
        raise NotFound("is beyond the list", field="feature", value=ref, remedy=f"it ends at [{feature.length - 1}]")
    return Resolved(parsed, view, feature)
