"""A request's own features, for a model that was trained on a table: checked against its card, name by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

from features.kernel.card import Card
from features.kernel.errors import InvalidInput
from serving.errors import did_you_mean
from serving.known import Known, Value

__all__ = ["given"]

_NOT_KNOWN = "send null where it is not known"


def given(card: Card, item: int, features: Mapping[str, Value] | None) -> Known:
    """What a request says of one customer; none at all is the rung `default`, what is left out is missing.

    Args:
        item: its place in the request, for messages.

    Raises:
        InvalidInput: a name the card does not have, a text for a number or a number for a text; names the nearest
            name, or how to write the value.
    """
    if features is None:
        return Known("default", card.default_features)
    expected = {each.ref: each.dtype for each in card.features}
    for name, value in features.items():
        dtype = expected.get(name)
        if dtype is None:
            raise InvalidInput(
                "is no feature of this model",
                field=f"items.{item}.features.{name}",
                remedy=did_you_mean(name, expected),
            )
        if value is not None and isinstance(value, str) != (dtype == "category"):
            raise InvalidInput(
                "must be a text" if dtype == "category" else "must be a number",
                field=f"items.{item}.features.{name}",
                value=value,
                remedy=f"{_written(value)}; {_NOT_KNOWN}" if _written(value) else _NOT_KNOWN,
            )
    return Known("fresh", features)


def _written(value: float | str) -> str:
    """How to write a value whose type is wrong.

    >>> _written(3.0), _written("44"), _written("old"), _written("nan")
    ('write it as "3"', 'write it as 44, without quotes', '', '')
    """
    if not isinstance(value, str):
        return f'write it as "{value:g}"'
    try:
        number = float(value)
    except ValueError:
        return ""
    return f"write it as {number:g}, without quotes" if math.isfinite(number) else ""
