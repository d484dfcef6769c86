"""What a segment of a view holds, and the marks and hashes by which its bytes are told apart; see `layout`."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple, Self

import numpy as np

from features.kernel.errors import InvalidInput
from features.view import Dtype, FeatureView

__all__ = [
    "CREATED",
    "HEAD",
    "HEADER",
    "MAX_MICROS",
    "MAX_PAYLOAD",
    "MISSING_BOOL",
    "MISSING_FLOAT",
    "MISSING_INT",
    "MISSING_STRING",
    "Field",
    "Schema",
    "hash_of",
]

HEAD = np.dtype([("view", "<u4"), ("schema", "<u4"), ("length", "<u2"), ("event", "<i8")])
HEADER = struct.Struct("<IIHq")
CREATED = 0x8000
"""Bit of `length`: a created time follows the header."""
MAX_PAYLOAD = 0x7FFF
MAX_MICROS = 2**53
"""Times are compared in Lua, whose numbers are doubles: exact below this, the year 2255."""
MISSING_FLOAT = 0x7FC0_4D49
"""The bits of a float32 that is missing: one NaN of 16 million; arithmetic never makes it."""
MISSING_INT = -(2**63)
MISSING_BOOL = -1
MISSING_STRING = 0xFFFF

_KINDS: dict[Dtype, str] = {"float32": "<f4", "int64": "<i8", "bool": "i1"}
_ORDER = ("float32", "list", "int64", "bool", "string")


class Field(NamedTuple):
    """One feature of a segment."""

    name: str
    dtype: Dtype
    length: int | None = None

    @property
    def kind(self) -> str:
        """Its dtype, or `list`."""
        return self.dtype if self.length is None else "list"


@dataclass(frozen=True)
class Schema:
    """What a segment of a view holds. The order of `fields` does not matter, and the TTL is not part of the hash."""

    name: str
    key: str
    fields: tuple[Field, ...]
    ttl_seconds: float | None = None
    """None: a row never expires."""

    @classmethod
    def of(cls, view: FeatureView) -> Self:
        """The schema of one of Kairos's views."""
        fields = tuple(Field(each.name, each.dtype, each.length) for each in view.features)
        return cls(view.name, view.key, fields, view.ttl.total_seconds())

    def __post_init__(self) -> None:
        for each in self.fields:
            if each.length is not None and (each.dtype != "float32" or each.length < 1):
                raise InvalidInput("a list holds one float32 or more", field=f"{self.name}:{each.name}", value=each)
        if len({each.name for each in self.fields}) < len(self.fields):
            raise InvalidInput("has two fields of one name", field=self.name)
        object.__setattr__(self, "fields", tuple(sorted(self.fields, key=lambda f: (_ORDER.index(f.kind), f.name))))

    @cached_property
    def ttl_us(self) -> int | None:
        """The TTL in microseconds."""
        return None if self.ttl_seconds is None else round(self.ttl_seconds * 1e6)

    @cached_property
    def view_hash(self) -> int:
        """32 bits that stand for the view."""
        return hash_of(self.name)

    @cached_property
    def hash(self) -> int:
        """32 bits that stand for name, key and fields."""
        return hash_of([self.name, self.key, sorted([each.name, each.dtype, each.length] for each in self.fields)])

    @cached_property
    def body(self) -> np.dtype[Any]:
        """The fixed-width part of a payload."""
        return np.dtype(
            [
                (each.name, _KINDS[each.dtype], () if each.length is None else (each.length,))
                for each in self.fields
                if each.dtype != "string"
            ]
        )

    @cached_property
    def strings(self) -> tuple[Field, ...]:
        """The fields that follow the fixed-width part."""
        return tuple(each for each in self.fields if each.dtype == "string")


def hash_of(what: Any) -> int:
    """32 bits that stand for a view's name, or for its fields; the same on every machine."""
    text = json.dumps(what, ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "little")
