"""The latest rows of several views as packed entities, a bounded number at a time. Needs no Feast.

Views of one run that share a key are walked side by side in the order of the key, so that an entity's segments of all
of them go to the server in one compare-and-set. Each view is read once and only a chunk of it is packed at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple, Self, TypeVar

import polars as pl

from features.kernel.errors import InvalidInput, KairosError
from features.packed.frames import columns_of, micros
from features.packed.layout import Schema, pack

__all__ = ["CREATED", "ENTITY", "EVENT", "Chunk", "Rows", "ahead", "chunks", "entity_of"]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
Item = TypeVar("Item")

ENTITY, EVENT, CREATED = "__entity", "__event", "__created"
"""Columns of a view's rows beside its features: the key (string), and two instants. `CREATED` may be absent."""


class Chunk(NamedTuple):
    """Some entities of one key, ready to be written."""

    ids: list[str]
    segments: list[bytes]
    """Of each entity one segment a view, one after the other."""
    rows: tuple[int, ...]
    """How many of each view are in it."""


class Rows:
    """A view's latest rows, one an entity, in the order of their key.

    Args:
        schema: what its segments hold.
        frames: columns `ENTITY`, `EVENT`, perhaps `CREATED`, and the schema's fields. Where they are not sorted by
            `ENTITY` from first to last, an entity's views may be written one after the other.
    """

    def __init__(self, schema: Schema, frames: Iterable[pl.DataFrame]) -> None:
        self.schema = schema
        self.total: int | None = None
        """Rows in all of them, if known."""
        self.size = 0
        """Bytes of memory that they take, if they lie there already."""
        self._frames = iter(frames)
        self._held: pl.DataFrame | None = None
        self._ended = False
        self.error: Exception | None = None
        """Why no more of this view can be read or packed."""

    @classmethod
    def of(cls, schema: Schema, frame: pl.DataFrame, at_once: int) -> Self:
        """All rows of a view, in any order."""
        if not frame[ENTITY].is_sorted():
            frame = frame.sort(ENTITY)
        found = cls(schema, frame.iter_slices(at_once))
        found.total, found.size = frame.height, int(frame.estimated_size())
        return found

    def fill(self, count: int) -> str | None:
        """Hold at least `count` rows, or all that are left.

        Returns:
            The key up to which no row is missing; None if that is the end.
        """
        while not self._ended and (self._held is None or self._held.height < count):
            try:
                following = next(self._frames, None)
            except (KairosError, OSError, ValueError, pl.exceptions.PolarsError) as error:  # its source is damaged
                self._end(error)
                return None
            self._ended = following is None
            if following is not None and following.height:
                self._hold(following)
        if self._ended or self._held is None:
            return None
        last: str = self._held[ENTITY][-1]
        return last

    def _hold(self, rows: pl.DataFrame) -> None:
        if rows[ENTITY].has_nulls():
            remedy = "remove them from its source"
            self._end(InvalidInput(f"has rows without {self.schema.key}", field=self.schema.name, remedy=remedy))
            return
        held = rows if self._held is None else pl.concat([self._held, rows])
        self._held = held if held[ENTITY].is_sorted() else held.sort(ENTITY)

    def _end(self, error: Exception) -> None:
        self.error, self._ended, self._held = error, True, None

    def take(self, last: str | None) -> pl.DataFrame | None:
        """Give away what is held up to this key, all of it if None; None if that is nothing."""
        if self._held is None:
            return None
        count = self._held.height if last is None else int(self._held[ENTITY].search_sorted(last, side="right"))
        taken, rest = self._held.head(count), self._held.slice(count)
        self._held = rest if rest.height else None
        return taken if count else None

    def segments(self, part: pl.DataFrame) -> dict[str, bytes]:
        """Rows that were taken, packed, by entity; none where one cannot be kept, which also ends the view."""
        # A row whose created time is missing counts as older than one that has any.
        created = micros(part[CREATED].fill_null(_LONG_AGO)) if CREATED in part.columns else None
        try:
            packed = pack(self.schema, columns_of(self.schema, part), micros(part[EVENT]), created)
        except InvalidInput as error:
            self._end(error)
            return {}
        return dict(zip(part[ENTITY].to_list(), packed, strict=True))


def entity_of(keys: Mapping[str, str]) -> pl.Expr:
    """The column `ENTITY`: ids as `features.packed.protos.entity_of` gives them, null where a part is missing.

    Args:
        keys: column of each join key.
    """
    parts = [pl.col(column).cast(pl.String) for _, column in sorted(keys.items())]
    if len(parts) > 1:
        parts = [pl.concat_str(each.str.len_chars(), pl.lit(":"), each) for each in parts]
    return pl.concat_str(parts, separator=",").alias(ENTITY)


def chunks(views: Sequence[Rows], at_once: int) -> Iterator[Chunk]:
    """Entities in the order of their key, each once, with the segments of every view that knows it.

    A view of which a row cannot be read or kept ends there, with its `error`; the others go on.

    Args:
        at_once: rows of each view that are packed at a time, at least.
    """
    while True:
        ends = [each.fill(at_once) for each in views]
        last = min((end for end in ends if end is not None), default=None)
        merged: dict[str, bytes] = {}
        rows = []
        for each in views:
            part = each.take(last)
            segments = {} if part is None else each.segments(part)
            rows.append(len(segments))
            merged = _joined(merged, segments) if merged else segments
        if merged:
            yield Chunk(list(merged), list(merged.values()), tuple(rows))
        elif last is None:
            return


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items; each is made, on a thread, while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


def _joined(ours: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> dict[str, bytes]:
    if ours.keys() == theirs.keys():
        return {each: ours[each] + theirs[each] for each in ours}
    return {each: ours.get(each, b"") + theirs.get(each, b"") for each in {**ours, **theirs}}
