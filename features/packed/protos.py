"""Feast's side of the packed layout: its views as schemas, its entity keys as ids, its protobuf values as columns.

Only `features.online` imports this: it needs Feast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.types import Array, Bool, Float32, Int32, Int64, String, UnixTimestamp

from features.kernel.errors import InvalidInput
from features.packed.layout import Column, Field, Schema, Strings
from features.packed.schema import MISSING_INT
from features.view import Dtype

__all__ = ["columns_of", "entity_of", "key_of", "schema_of", "values_of"]

_DTYPES: dict[Any, Dtype] = {
    Float32: "float32",
    Int32: "int64",
    Int64: "int64",
    UnixTimestamp: "int64",
    Bool: "bool",
    String: "string",
}
_VALUES: dict[Any, Callable[[Any], Value]] = {
    Float32: lambda value: Value(float_val=value),
    Int32: lambda value: Value(int32_val=value),
    Int64: lambda value: Value(int64_val=value),
    UnixTimestamp: lambda value: Value(unix_timestamp_val=value),
    Bool: lambda value: Value(bool_val=value),
    String: lambda value: Value(string_val=value),
}


def schema_of(view: Any) -> Schema:
    """The schema of a Feast view; of one of Kairos's the same as `Schema.of`.

    Raises:
        InvalidInput: a feature has a type that is not kept, or a list has no length.
    """
    fields = tuple(_field(f"{view.name}:{each.name}", each) for each in view.features)
    ttl = getattr(view, "ttl", None)  # Feast's zero means that rows never expire
    return Schema(view.name, key_of(view), fields, ttl.total_seconds() if ttl else None)


def key_of(view: Any) -> str:
    """What the ids of a Feast view's rows are of: its join keys, sorted."""
    return ",".join(sorted(each.name for each in view.entity_columns))


def _field(ref: str, field: Any) -> Field:
    if field.dtype == Array(Float32):
        length = field.tags.get("length", "")
        if not length.isdecimal():
            remedy = 'say how long all of them are: Field(…, tags={"length": "168"})'
            raise InvalidInput("is a list of no known length", field=ref, remedy=remedy)
        return Field(field.name, "float32", int(length))
    if field.dtype not in _DTYPES:
        kept = "Float32, Int32, Int64, UnixTimestamp, Bool, String and Array(Float32)"
        raise InvalidInput("has a type that is not kept", field=ref, value=str(field.dtype), remedy=f"use {kept}")
    return Field(field.name, _DTYPES[field.dtype])


def entity_of(key: EntityKey) -> tuple[str, str]:
    """The name of an entity's key and its id; of several join keys, sorted, each value with its length before it.

    >>> entity_of(EntityKey(join_keys=["shop", "day"], entity_values=[Value(string_val="a,b"), Value(int64_val=3)]))
    ('day,shop', '1:3,3:a,b')
    """
    if len(key.join_keys) == 1:
        return key.join_keys[0], _text(key.entity_values[0])
    pairs = sorted((name, _text(value)) for name, value in zip(key.join_keys, key.entity_values, strict=True))
    return ",".join(name for name, _ in pairs), ",".join(f"{len(text)}:{text}" for _, text in pairs)


def _text(value: Value) -> str:
    kind = value.WhichOneof("val")
    if kind == "string_val":
        return str(value.string_val)
    inner = None if kind is None else getattr(value, kind)
    return inner.decode("latin-1") if isinstance(inner, bytes) else str(inner)


def columns_of(schema: Schema, rows: Sequence[Mapping[str, Value]]) -> dict[str, Column]:
    """The rows' values, a column a field; a value without content, or not in the row, is missing.

    Raises:
        InvalidInput: a value has another type than its field, or a list another length.
    """
    return {each.name: _column(schema, each, [row.get(each.name, _NULL) for row in rows]) for each in schema.fields}


_NULL = Value()
_NULLS = (None, "null_val")


def _column(schema: Schema, field: Field, protos: Sequence[Value]) -> Column:
    kinds = [each.WhichOneof("val") for each in protos]
    inner = [None if kind in _NULLS else getattr(each, kind) for each, kind in zip(protos, kinds, strict=True)]
    if "unix_timestamp_val" in kinds:  # Feast's own mark of a time that is missing
        inner = [None if each == MISSING_INT else each for each in inner]
    ref = f"{schema.name}:{field.name}"
    try:
        if field.dtype == "string":
            return Strings.of(inner)
        missing = np.array([each is None for each in inner], np.bool_)
        if field.length is None:
            values = np.array([0 if each is None else each for each in inner], _exact(field.dtype, inner))
            return np.ma.MaskedArray(values, missing)
        blank = [0.0] * field.length
        lists = [blank if each is None else each.val for each in inner]
        wrong = next((each for each in lists if len(each) != field.length), None)
        if wrong is not None:
            raise InvalidInput(f"must be a list of {field.length}", field=ref, value=list(wrong))
        numbers = np.array(lists, np.float32).reshape(len(inner), field.length)
        return np.ma.MaskedArray(numbers, np.repeat(missing[:, None], field.length, axis=1))
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"cannot be read as {field.kind}: {error}", field=ref) from None


def _exact(dtype: Dtype, inner: Sequence[Any]) -> Any:
    """The numpy type of values that are all of the field's kind."""
    python: tuple[type, ...] = {"float32": (float, int), "int64": (int,), "bool": (bool,)}[dtype]
    for each in inner:
        if each is not None and (not isinstance(each, python) or (dtype != "bool" and isinstance(each, bool))):
            raise TypeError(f"a {type(each).__name__} is among the values")
    return {"float32": np.float32, "int64": np.int64, "bool": np.bool_}[dtype]


def values_of(view: Any, schema: Schema, columns: Mapping[str, Column], names: Sequence[str]) -> list[list[Value]]:
    """Columns as Feast's values: of each of the features named, one a row."""
    dtypes = {each.name: each.dtype for each in view.features}
    return [_values(dtypes[name], columns[name]) for name in names]


def _values(dtype: Any, column: Column) -> list[Value]:
    if isinstance(column, Strings):
        return [Value() if each is None else Value(string_val=each) for each in column.to_list()]
    data, missing = np.ma.getdata(column), np.ma.getmaskarray(column)
    if data.ndim == 2:  # a list of which a part is missing has NaN in its place: Feast has no other way to say it
        whole: list[bool] = np.all(missing, axis=1).tolist()
        lists = np.where(missing, np.float32(np.nan), data).tolist()
        return [
            Value() if gone else Value(float_list_val=FloatList(val=each))
            for each, gone in zip(lists, whole, strict=True)
        ]
    make = _VALUES[dtype]
    return [Value() if gone else make(each) for each, gone in zip(data.tolist(), missing.tolist(), strict=True)]
