"""The bytes of the packed online store: what a view knows of an entity at an instant, in one segment.

The Redis string at `kairos:customer_id:{c00042}` is a sequence of segments, one a view, in the order they were written:

    view u32 | schema u32 | length u16 | event µs i64 | [created µs i64] | payload

All little-endian. `view` is a hash of the view's name, `schema` one of its name, key and fields: two schemas of a view
live side by side, and a reader takes its own only. The top bit of `length` says that `created` follows; the other 15
count the payload's bytes. The payload holds float32 numbers, float32 lists of fixed length, int64, bool as int8, each
kind sorted by name, then the strings: u16 length and UTF-8 each. A missing value has a mark of its own in each kind, so
NaN, 0 and "" are values like others.

Why a string and not a Redis hash: one GET or MGET reads it whole, and it takes the same memory whatever the server's
`hash-max-listpack-*` settings. Four views of 15 numbers make 312 bytes, which with Redis's own header fit the
allocator's class of 320: that is why the header has 18 bytes and not 24.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput
from features.packed.schema import (
    CREATED,
    HEAD,
    HEADER,
    MAX_MICROS,
    MAX_PAYLOAD,
    MISSING_BOOL,
    MISSING_FLOAT,
    MISSING_INT,
    MISSING_STRING,
    Field,
    Schema,
)

__all__ = [
    "Column",
    "Field",
    "Schema",
    "Strings",
    "Unpacked",
    "is_time",
    "pack",
    "peek",
    "read_fixed",
    "read_strings",
    "segment_of",
    "unpack",
]


class Strings(NamedTuple):
    """A column of strings, as Arrow holds one."""

    data: NDArray[np.uint8]
    """UTF-8 of every value, one after the other."""
    lengths: NDArray[np.int64]
    """[n] bytes of each; -1 where missing."""

    @classmethod
    def of(cls, values: Iterable[str | None]) -> Self:
        """From Python strings.

        Raises:
            InvalidInput: one has half a surrogate pair, which UTF-8 cannot hold.
        """
        try:
            encoded = [None if each is None else each.encode() for each in values]
        except UnicodeEncodeError as error:
            raise InvalidInput("is no valid Unicode text", value=error.object) from None
        lengths = np.array([-1 if each is None else len(each) for each in encoded], np.int64)
        return cls(np.frombuffer(b"".join(each or b"" for each in encoded), np.uint8), lengths)

    def to_list(self) -> list[str | None]:
        """As Python strings."""
        ends = np.cumsum(np.maximum(self.lengths, 0)).tolist()
        raw = self.data.tobytes()
        return [
            None if n < 0 else raw[end - n : end].decode() for n, end in zip(self.lengths.tolist(), ends, strict=True)
        ]


Column: TypeAlias = "NDArray[Any] | np.ma.MaskedArray[Any, Any] | Strings"
"""n values: an array of float32, int64 or bool, [n, length] of a list's float32; masked where missing; or `Strings`."""


# -- packing -----------------------------------------------------------------------------------------------------------


def pack(
    schema: Schema,
    columns: Mapping[str, Column],
    event_us: NDArray[np.int64],
    created_us: NDArray[np.int64] | None = None,
) -> list[bytes]:
    """One segment a row.

    Args:
        columns: of every field of the schema, n values.
        event_us: [n] microseconds since 1970.
        created_us: [n]; None where sources have no such time.

    Raises:
        InvalidInput: a value cannot be kept; the message names view, feature and value.
    """
    n, times = len(event_us), {"event": event_us} | ({} if created_us is None else {"created": created_us})
    head = HEAD.descr + ([("created", "<i8")] if created_us is not None else [])
    rows = np.zeros(n, np.dtype([("head", head), ("body", schema.body)]))
    for name, micros in times.items():
        beyond = micros[~is_time(micros)]
        if len(beyond):
            raise InvalidInput("is a time beyond what can be kept", field=f"{schema.name}:{name}", value=int(beyond[0]))
        rows["head"][name] = micros
    rows["head"]["view"], rows["head"]["schema"] = schema.view_hash, schema.hash
    for each in schema.fields:
        if each.dtype != "string":
            _fill(rows["body"][each.name], f"{schema.name}:{each.name}", each, columns[each.name])
    tail, sizes = _tails(schema, columns, n)
    lengths = sizes + schema.body.itemsize
    if n and lengths.max() > MAX_PAYLOAD:
        raise InvalidInput(f"has a row of more than {MAX_PAYLOAD:,} bytes", field=schema.name, value=int(lengths.max()))
    rows["head"]["length"] = lengths | (0 if created_us is None else CREATED)
    raw, width = rows.tobytes(), rows.dtype.itemsize
    fixed = [raw[at : at + width] for at in range(0, n * width, width)]
    if not schema.strings:
        return fixed
    ends = np.cumsum(sizes).tolist()
    return [part + tail[end - size : end] for part, size, end in zip(fixed, sizes.tolist(), ends, strict=True)]


def _fill(target: NDArray[Any], ref: str, field: Field, column: Column) -> None:
    """Write one fixed-width column, its missing values as their mark."""
    if isinstance(column, Strings):
        raise InvalidInput(f"holds strings, not {field.dtype}", field=ref)
    values, missing = np.ma.getdata(column), np.ma.getmaskarray(column)
    kinds = {"float32": "f", "int64": "iu", "bool": "b"}[field.dtype]
    if values.dtype.kind not in kinds:
        raise InvalidInput(f"holds {values.dtype}, not {field.dtype}", field=ref)
    if values.shape != target.shape:
        raise InvalidInput("has another length than its schema says", field=ref, value=values.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):
        target[...] = values
    if field.dtype == "float32":
        _mark_floats(target, ref, values, missing)
        return
    mark = MISSING_INT if field.dtype == "int64" else MISSING_BOOL
    if field.dtype == "int64":
        lost = ~missing & ((target == MISSING_INT) | ((target < 0) & (values > 0)))
        _refuse(lost, values, ref, "is an integer that cannot be kept")
    target[missing] = mark


def _mark_floats(target: NDArray[Any], ref: str, values: NDArray[Any], missing: NDArray[np.bool_]) -> None:
    single = np.array(target)  # contiguous, so that its bits can be looked at
    bits = single.view("<u4")
    if values.dtype != np.float32:
        _refuse(~missing & np.isinf(single) & np.isfinite(values), values, ref, "is too large for a float32")
    _refuse(~missing & (bits == MISSING_FLOAT), values, ref, "is the one NaN that stands for missing")
    if missing.any():
        bits[missing] = MISSING_FLOAT
        target[...] = single


def _refuse(lost: NDArray[np.bool_], values: NDArray[Any], ref: str, why: str) -> None:
    if lost.any():
        raise InvalidInput(why, field=ref, value=values[lost][0].item())


def _tails(schema: Schema, columns: Mapping[str, Column], n: int) -> tuple[bytes, NDArray[np.int64]]:
    """The string parts of all rows, one after the other, and the bytes of each."""
    texts = []
    for each in schema.strings:
        column = columns[each.name]
        if not isinstance(column, Strings):
            raise InvalidInput("must be given as strings", field=f"{schema.name}:{each.name}")
        if n and column.lengths.max() > MAX_PAYLOAD:
            raise InvalidInput("is a string too long", field=f"{schema.name}:{each.name}", value=column.lengths.max())
        texts.append(column)
    sizes = np.zeros(n, np.int64) + sum(2 + np.maximum(each.lengths, 0) for each in texts)
    tail = np.empty(int(sizes.sum()), np.uint8)
    at = np.cumsum(sizes) - sizes
    for data, lengths in texts:
        taken = np.maximum(lengths, 0)
        prefix = np.where(lengths < 0, MISSING_STRING, lengths).astype("<u2")
        tail[at[:, None] + np.arange(2)] = prefix.view(np.uint8).reshape(n, 2)
        at += 2
        tail[_ranges(at, taken)] = data
        at += taken
    return tail.tobytes(), sizes


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions `starts[i] … starts[i] + lengths[i]` of all i, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


# -- unpacking ---------------------------------------------------------------------------------------------------------


class Unpacked(NamedTuple):
    """What `pack` was given."""

    columns: dict[str, Column]
    event_us: NDArray[np.int64]
    created_us: np.ma.MaskedArray[Any, Any]
    """Masked where a segment has none."""


def segment_of(schema: Schema, value: bytes) -> bytes | None:
    """The segment of this schema in an entity's value; None where there is none."""
    at, ours = 0, HEADER.pack(schema.view_hash, schema.hash, 0, 0)[:8]
    while at + HEADER.size <= len(value):
        _, _, length, _ = HEADER.unpack_from(value, at)
        after = at + HEADER.size + (8 if length & CREATED else 0) + (length & MAX_PAYLOAD)
        if value[at : at + 8] == ours:
            return value[at:after]
        at = after
    return None


def unpack(schema: Schema, segments: Sequence[bytes]) -> Unpacked:
    """The inverse of `pack`; segments with and without created time may be mixed.

    Raises:
        InvalidInput: a segment is of another schema, or not whole.
    """
    buffer = np.frombuffer(b"".join(segments), np.uint8)
    sizes = np.array([len(each) for each in segments], np.int64)
    starts = np.cumsum(sizes) - sizes
    if (sizes < HEAD.itemsize).any():
        raise InvalidInput("is no whole segment", field=schema.name)
    head = peek(buffer, HEAD, starts)
    dated = (head["length"] & CREATED) != 0
    lengths = (head["length"] & MAX_PAYLOAD).astype(np.int64)
    at = starts + HEAD.itemsize + 8 * dated
    ours = (head["view"] == schema.view_hash) & (head["schema"] == schema.hash)
    strings, whole = read_strings(schema, buffer, at, lengths)
    if not (ours & whole & (at + lengths == starts + sizes) & is_time(head["event"])).all():
        raise InvalidInput("is no whole segment of this schema", field=schema.name)
    created = np.zeros(len(segments), np.int64)
    created[dated] = peek(buffer, np.dtype("<i8"), at[dated] - 8)
    columns: dict[str, Column] = dict(read_fixed(schema, peek(buffer, schema.body, at)))
    for name, (starts_, lengths_) in strings.items():
        columns[name] = Strings(buffer[_ranges(starts_, np.maximum(lengths_, 0))], lengths_)
    return Unpacked(columns, head["event"].astype(np.int64), np.ma.MaskedArray(created, ~dated))


def is_time(micros: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which are times that can be kept."""
    return np.asarray((micros > -MAX_MICROS) & (micros < MAX_MICROS))


def peek(buffer: NDArray[np.uint8], dtype: np.dtype[Any], at: NDArray[np.int64]) -> NDArray[Any]:
    """Values of a type that begin at any bytes of a buffer; each must lie wholly within it."""
    if not len(at) or not dtype.itemsize:
        return np.zeros(len(at), dtype)
    # A view in which element i begins at byte i: indexing copies each value from where it is, aligned or not.
    every = np.ndarray((len(buffer) - dtype.itemsize + 1,), dtype, buffer, strides=(1,))
    found: NDArray[Any] = every[at]
    return found


def read_fixed(schema: Schema, body: NDArray[Any]) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """The columns of the fixed-width part."""
    found = {}
    for each in schema.fields:
        if each.dtype == "string":
            continue
        values = np.array(body[each.name])
        if each.dtype == "float32":
            missing = values.view("<u4") == MISSING_FLOAT
        else:
            missing = values == (MISSING_INT if each.dtype == "int64" else MISSING_BOOL)
        found[each.name] = np.ma.MaskedArray(values != 0 if each.dtype == "bool" else values, missing)
    return found


def read_strings(
    schema: Schema, buffer: NDArray[np.uint8], at: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]], NDArray[np.bool_]]:
    """Where each string begins and its length (-1: missing), by name; and which payloads end where they should."""
    ends = at + lengths
    at = at + schema.body.itemsize
    whole = (at <= ends) & (ends <= len(buffer))
    found = {}
    for each in schema.strings:
        whole &= at + 2 <= ends
        size = np.zeros(len(at), np.int64)
        size[whole] = peek(buffer, np.dtype("<u2"), at[whole])
        missing = size == MISSING_STRING
        at = at + 2
        found[each.name] = (at, np.where(missing, -1, size))
        at = at + np.where(missing, 0, size)
        whole &= at <= ends
    return found, whole & (at == ends)
