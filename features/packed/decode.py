"""From packed values to columns: of one entity in plain Python, of many with numpy, to the same answer.

A value that is cut off or garbled is never served: of a segment that is not whole, or not as long as its schema says,
nothing is taken, as if its view held nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.packed.layout import is_time, peek, read_strings
from features.packed.schema import (
    CREATED,
    HEAD,
    MAX_MICROS,
    MAX_PAYLOAD,
    MISSING_BOOL,
    MISSING_FLOAT,
    MISSING_INT,
    MISSING_STRING,
    Schema,
)
from features.refs import Ref

__all__ = ["ABSENT", "Found", "Part", "Pick"]

ABSENT = -(2**62)
"""In place of an event's time: nothing is there."""

_HEAD = struct.Struct("<QHq")  # view and schema as one number
_HEADS = np.dtype([("ident", "<u8"), ("length", "<u2"), ("event", "<i8")])
_SIZE = HEAD.itemsize
_MISSING = struct.pack("<I", MISSING_FLOAT)


class Scalar(NamedTuple):
    """An integer or a boolean: where it is in the payload, and its column."""

    offset: int
    column: int
    code: str
    missing: int

    def as_number(self, kept: Any) -> Any:
        """What a kept value, or an array of them, stands for."""
        return kept if self.missing == MISSING_INT else kept != 0


@dataclass
class Pick:
    """What is taken of one view."""

    schema: Schema
    number: int
    """Its place among the plan's views."""
    floats: list[tuple[int, int]] = field(default_factory=list)
    """Place in the payload's block of float32, and column."""
    scalars: list[Scalar] = field(default_factory=list)
    strings: list[tuple[int, int]] = field(default_factory=list)
    """Place among the schema's strings, and column."""

    def __post_init__(self) -> None:
        self.ident = self.schema.view_hash | self.schema.hash << 32
        self.width = sum(each.length or 1 for each in self.schema.fields if each.dtype == "float32")
        self.fixed = self.schema.body.itemsize
        self.least = self.fixed + 2 * len(self.schema.strings)
        self.most = MAX_PAYLOAD if self.schema.strings else self.least
        self.block = np.dtype([("floats", "<f4", (self.width,))])

    @cached_property
    def texts(self) -> list[int]:
        """The places of `strings`; once all are taken."""
        return [place for place, _ in self.strings]

    @cached_property
    def sources(self) -> slice | NDArray[np.intp]:
        """The places of `floats`; once all are taken."""
        return _run([place for place, _ in self.floats])

    @cached_property
    def targets(self) -> slice | NDArray[np.intp]:
        """The columns of `floats`."""
        return _run([column for _, column in self.floats])

    def take(self, ref: Ref, column: int) -> None:
        """Add a column; the reference is one of the schema's."""
        each = next(one for one in self.schema.fields if one.name == ref.feature)
        if each.dtype == "string":
            self.strings.append((self.schema.strings.index(each), column))
            return
        offset = int(self.schema.body.fields[each.name][1])  # type: ignore[index]
        if each.dtype == "float32":
            self.floats.append((offset // 4 + (ref.index or 0), column))
        else:
            code, missing = ("<q", MISSING_INT) if each.dtype == "int64" else ("b", MISSING_BOOL)
            self.scalars.append(Scalar(offset, column, code, missing))


@dataclass
class Found:
    """What was read of n entities: k columns of v views."""

    numbers: NDArray[np.float64]
    events: NDArray[np.int64]
    """[n, v] microseconds; `ABSENT` where nothing is there."""
    strings: dict[int, list[str | None]] = field(default_factory=dict)
    damaged: int = 0
    """Values in which something was not whole."""

    def of(self, n: int) -> Found:
        """Of n entities, what this one says of its only one."""
        return Found(self.numbers.repeat(n, axis=0), self.events.repeat(n, axis=0))


class Part:
    """The views of one key that a plan reads."""

    def __init__(self, picks: Sequence[Pick]) -> None:
        self.picks = picks
        self._by_ident = {each.ident: (i, each) for i, each in enumerate(picks)}
        self._blanks = [_MISSING * each.width for each in picks]
        before = np.cumsum([0, *(each.width for each in picks)]).tolist()
        taken = [(start + at, column) for start, each in zip(before, picks, strict=False) for at, column in each.floats]
        self._sources, self._targets = (_run([pair[i] for pair in taken]) for i in (0, 1))
        self._texts = [column for each in picks for _, column in each.strings]

    # -- one entity ------------------------------------------------------------------------------------------------

    def one(self, value: bytes, into: Found) -> None:
        """Decode the value of the one entity of `into`."""
        bodies, at, end = self._blanks.copy(), 0, len(value)
        for column in self._texts:
            into.strings[column] = [None]
        while at + _SIZE <= end:
            ident, length, event = _HEAD.unpack_from(value, at)
            start = at + _SIZE
            if length >= CREATED:
                start, length = start + 8, length - CREATED
            if start + length > end:
                break
            at = start + length
            hit = self._by_ident.get(ident)
            if hit is None:
                continue
            i, pick = hit
            likely = pick.least <= length <= pick.most and -MAX_MICROS < event < MAX_MICROS
            if not likely or (pick.strings and not _text(pick, value, start, at, into)):
                into.damaged = 1
                continue
            bodies[i] = value[start : start + 4 * pick.width]
            into.events[0, pick.number] = event
            for each in pick.scalars:
                (number,) = struct.unpack_from(each.code, value, start + each.offset)
                into.numbers[0, each.column] = np.nan if number == each.missing else each.as_number(number)
        if at != end:
            into.damaged = 1
        with np.errstate(invalid="ignore"):  # some NaNs make numpy warn when they become float64
            into.numbers[0, self._targets] = np.frombuffer(b"".join(bodies), "<f4")[self._sources]

    # -- many entities ---------------------------------------------------------------------------------------------

    def many(self, values: Sequence[bytes | None], into: Found) -> None:
        """Decode the values of all entities of `into`."""
        for column in self._texts:
            into.strings[column] = [None] * len(values)
        joined = b"".join([each or b"" for each in values])
        buffer = np.frombuffer(joined, np.uint8)
        sizes = np.array([len(each) if each else 0 for each in values], np.int64)
        ends = np.cumsum(sizes)
        (rows, idents, starts, lengths, events), damaged = _segments(buffer, ends - sizes, ends)
        for pick in self.picks:
            mine = np.flatnonzero(idents == pick.ident)
            at, size, row = starts[mine], lengths[mine], rows[mine]
            whole = (size >= pick.least) & (size <= pick.most) & is_time(events[mine])
            if pick.strings:
                whole = _strings(pick, joined, at, size, row, whole, into)
            if not whole.all():
                damaged[row[~whole]] = True
                mine, at, row = mine[whole], at[whole], row[whole]
            into.events[row, pick.number] = events[mine]
            if pick.floats:
                block = peek(buffer, pick.block, at)["floats"][:, pick.sources]
                with np.errstate(invalid="ignore"):
                    into.numbers[row if isinstance(pick.targets, slice) else row[:, None], pick.targets] = block
            for each in pick.scalars:
                numbers = peek(buffer, np.dtype(each.code), at + each.offset)
                into.numbers[row, each.column] = np.where(numbers == each.missing, np.nan, each.as_number(numbers))
        into.damaged += int(damaged.sum())


def _run(places: list[int]) -> slice | NDArray[np.intp]:
    """Places as an index: a slice where they follow each other, since that copies faster."""
    consecutive = bool(places) and places == list(range(places[0], places[0] + len(places)))
    return slice(places[0], places[-1] + 1) if consecutive else np.array(places, np.intp)


def _text(pick: Pick, value: bytes, start: int, end: int, into: Found) -> bool:
    """Take the strings of one payload; False, and none, if it does not end where they end or one is no text."""
    places: list[tuple[int, int]] = []
    at = start + pick.fixed
    for _ in pick.schema.strings:
        if at + 2 > end:
            return False
        length = value[at] | value[at + 1] << 8
        at += 2
        places.append((at, length))
        at += 0 if length == MISSING_STRING else length
    if at != end:
        return False
    try:
        texts = [
            None if n == MISSING_STRING else value[at : at + n].decode() for at, n in (places[i] for i in pick.texts)
        ]
    except UnicodeDecodeError:
        return False
    for (_, column), text in zip(pick.strings, texts, strict=True):
        into.strings[column] = [text]
    return True


def _strings(
    pick: Pick,
    joined: bytes,
    at: NDArray[np.int64],
    sizes: NDArray[np.int64],
    rows: NDArray[np.int64],
    whole: NDArray[np.bool_],
    into: Found,
) -> NDArray[np.bool_]:
    """Take the strings of many payloads; which of the whole ones end where they should, and are text."""
    places, ended = read_strings(pick.schema, np.frombuffer(joined, np.uint8), at, sizes)
    whole = whole & ended
    taken = []
    for i in pick.texts:
        starts, lengths = places[pick.schema.strings[i].name]
        spans = list(zip(starts.tolist(), np.where(whole, lengths, -1).tolist(), strict=True))
        try:
            texts = [None if n < 0 else joined[start : start + n].decode() for start, n in spans]
        except UnicodeDecodeError:
            texts = [_decoded(joined[start : start + n]) if n >= 0 else None for start, n in spans]
            whole &= np.array([text is not None or n < 0 for text, (_, n) in zip(texts, spans, strict=True)])
        taken.append(texts)
    kept = np.flatnonzero(whole).tolist()
    for (_, column), texts in zip(pick.strings, taken, strict=True):
        target = into.strings[column]
        for i, row in zip(kept, rows[whole].tolist(), strict=True):
            target[row] = texts[i]
    return whole


def _decoded(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


class _Segments(NamedTuple):
    """All whole segments of n values."""

    rows: NDArray[Any]
    idents: NDArray[Any]
    starts: NDArray[Any]
    """Where the payload begins."""
    lengths: NDArray[Any]
    events: NDArray[Any]


def _segments(
    buffer: NDArray[np.uint8], at: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[_Segments, NDArray[np.bool_]]:
    """Walk all values at once, a segment a step; and which of them hold something that is no whole segment."""
    damaged = np.zeros(len(at), np.bool_)
    rows = np.flatnonzero(at < ends)
    at, end = at[rows], ends[rows]
    # One type a column from the first step on: unsigned beside signed would become float, and idents inexact.
    steps = [_Segments(*(np.empty(0, np.uint64 if name == "idents" else np.int64) for name in _Segments._fields))]
    while len(rows):
        fits = at + _SIZE <= end
        if not fits.all():
            damaged[rows[~fits]] = True
            rows, at, end = rows[fits], at[fits], end[fits]
        heads = peek(buffer, _HEADS, at)
        lengths, starts = heads["length"].astype(np.int64), at + _SIZE
        dated = lengths >= CREATED
        if dated.any():
            starts, lengths = starts + 8 * dated, lengths - CREATED * dated
        at = starts + lengths
        step = _Segments(rows, heads["ident"], starts, lengths, heads["event"])
        fits = at <= end
        if not fits.all():
            damaged[rows[~fits]] = True
            step = _Segments(*(each[fits] for each in step))
        steps.append(step)
        more = at < end
        if not more.all():
            rows, at, end = rows[more], at[more], end[more]
    return _Segments(*(np.concatenate(each) for each in zip(*steps, strict=True))), damaged
