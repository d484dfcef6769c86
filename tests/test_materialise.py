"""Rows of several views as packed entities: each once, with all its views, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.kernel.errors import InvalidInput
from features.materialise import CREATED, ENTITY, EVENT, Chunk, Rows, ahead, chunks
from features.packed.layout import HEAD, Field, Schema

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SCHEMAS = [Schema(name, "customer_id", (Field("f", "float32"),)) for name in ("one", "two", "three")]


def rows_of(schema: Schema, ids: list[str], at_once: int) -> Rows:
    frame = pl.DataFrame({ENTITY: ids, EVENT: [NOW] * len(ids), "f": [float(len(each)) for each in ids]})
    return Rows.of(schema, frame.cast({ENTITY: pl.String, EVENT: pl.Datetime("us", "UTC"), "f": pl.Float32}), at_once)


@given(
    st.lists(st.lists(st.text(max_size=3), unique=True, max_size=40), min_size=1, max_size=3),
    st.integers(min_value=1, max_value=9),
)
def test_each_entity_comes_once_with_every_view_that_knows_it(ids: list[list[str]], at_once: int) -> None:
    schemas = SCHEMAS[: len(ids)]
    parts = list(chunks([rows_of(schema, each, at_once) for schema, each in zip(schemas, ids, strict=True)], at_once))
    found = dict(pair for part in parts for pair in zip(part.ids, part.segments, strict=True))
    assert sum(len(part.ids) for part in parts) == len(found)
    width = HEAD.itemsize + 4
    expected = {
        each: {s.view_hash for s, own in zip(schemas, ids, strict=True) if each in own} for own in ids for each in own
    }
    heads = {
        each: [int(np.frombuffer(text[at : at + 4], "<u4")[0]) for at in range(0, len(text), width)]
        for each, text in found.items()
    }
    assert {each: set(views) for each, views in heads.items()} == expected
    assert all(len(set(views)) == len(views) for views in heads.values())
    assert [sum(part.rows[i] for part in parts) for i in range(len(ids))] == [len(each) for each in ids]


def test_no_more_is_read_than_is_packed() -> None:
    """Of a source that gives its rows by parts, only what the next chunk needs is in memory."""
    given_out: list[int] = []

    def frames() -> Iterator[pl.DataFrame]:
        for i in range(100):
            given_out.append(i)
            ids = [f"{i:03d}-{j}" for j in range(10)]
            yield pl.DataFrame({ENTITY: ids, EVENT: [NOW] * 10, "f": pl.Series([1.0] * 10, dtype=pl.Float32)})

    lead = [len(given_out) * 10 - done for done, _ in _counted(chunks([Rows(SCHEMAS[0], frames())], 25))]
    assert max(lead) <= 30
    assert len(given_out) == 100


def _counted(parts: Iterator[Chunk]) -> Iterator[tuple[int, Chunk]]:
    done = 0
    for part in parts:
        yield done, part
        done += len(part.ids)


def test_a_missing_created_time_is_older_than_any() -> None:
    frame = pl.DataFrame({ENTITY: ["a", "b"], EVENT: [NOW] * 2, CREATED: [NOW, None], "f": [1.0, 2.0]})
    [part] = chunks([Rows.of(SCHEMAS[0], frame.cast({"f": pl.Float32}), 5)], 5)
    created = [int.from_bytes(each[18:26], "little") for each in part.segments]
    assert created == [int(NOW.timestamp() * 1e6), 0]


def test_what_is_made_ahead_comes_in_order_and_its_error_with_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise InvalidInput("no third")

    found = []
    with pytest.raises(InvalidInput, match="no third"):
        for each in ahead(items()):
            found.append(each)
    assert found == [1, 2]


def test_rows_in_no_order_are_all_written() -> None:
    """A source that gives its rows part after part in any order costs more writes, and loses nothing."""
    draw = np.random.default_rng(3)
    ids = [f"{i:04d}" for i in range(500)]

    def shuffled(name: str) -> Iterator[pl.DataFrame]:
        for part in np.array_split(draw.permutation(ids), 20):
            columns = {ENTITY: part.tolist(), EVENT: [NOW] * len(part), "f": [1.0] * len(part)}
            yield pl.DataFrame(columns).cast({"f": pl.Float32})

    parts = list(chunks([Rows(schema, shuffled(schema.name)) for schema in SCHEMAS], 60))
    written = [each for part in parts for each in part.ids]
    assert set(written) == set(ids)
    segments = sum(len(each) for part in parts for each in part.segments) // (HEAD.itemsize + 4)
    assert segments == 3 * 500
    assert sum(sum(part.rows) for part in parts) == 3 * 500
