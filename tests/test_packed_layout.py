"""The bytes of the packed store: whatever can be kept comes back bit for bit, and what cannot is refused by name."""

from __future__ import annotations

import struct
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compute import all_views
from features.kernel.errors import InvalidInput
from features.packed.frames import columns_of
from features.packed.layout import Column, Field, Schema, Strings, pack, segment_of, unpack
from features.packed.schema import MAX_PAYLOAD, MISSING_FLOAT, MISSING_INT, hash_of
from features.view import Feature, FeatureView, column_type

FLOAT_BITS = st.integers(0, 2**32 - 1).filter(lambda bits: bits != MISSING_FLOAT)
SPECIAL = [0x0000_0000, 0x8000_0000, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x0000_0001, 0x7F7F_FFFF]  # 0 -0 ∞ -∞ NaN …
MICROS = st.integers(-(2**53) + 1, 2**53 - 1)
NUMBERS = st.none() | st.sampled_from(SPECIAL) | FLOAT_BITS
VALUES = {
    "float32": NUMBERS,
    "int64": st.none() | st.integers(MISSING_INT + 1, 2**63 - 1),
    "bool": st.none() | st.booleans(),
    "string": st.none() | st.text() | st.sampled_from(["", "{}", "👩‍🚀 é", "x" * 1_000]),
}


def one_of_each(*strings: str) -> Schema:
    fields = [Field("number", "float32"), Field("hours", "float32", 3), Field("count", "int64"), Field("optin", "bool")]
    return Schema("orders", "customer_id", (*fields, *(Field(each, "string") for each in strings)), 3600.0)


def floats(bits: list[Any]) -> np.ma.MaskedArray[Any, Any]:
    """Float32 of these bits, masked where None: the way that loses none of them."""
    given = np.array([0 if each is None else each for each in bits], np.uint32).view(np.float32)
    return np.ma.MaskedArray(given, [each is None for each in bits])


def column(field: Field, values: list[Any]) -> Column:
    if field.dtype == "string":
        return Strings.of(values)
    if field.length is not None:
        flat = floats([bits for row in values for bits in row])
        shape = len(values), field.length
        return np.ma.MaskedArray(flat.data.reshape(shape), np.ma.getmaskarray(flat).reshape(shape))
    if field.dtype == "float32":
        return floats(values)
    kind = np.int64 if field.dtype == "int64" else np.bool_
    return np.ma.MaskedArray(np.array([each or 0 for each in values], kind), [each is None for each in values])


def bits_of(each: Column) -> Any:
    """What can be compared exactly: NaNs by their bits, missing as None."""
    if isinstance(each, Strings):
        return each.to_list()
    data = np.ascontiguousarray(np.ma.getdata(each))
    data = data.view(np.uint32) if data.dtype == np.float32 else data
    return np.where(np.ma.getmaskarray(each), None, data.astype(object)).tolist()


@st.composite
def tables(draw: st.DrawFn) -> tuple[Schema, dict[str, Column], list[int], list[int] | None]:
    kinds = draw(st.lists(st.sampled_from(["float32", "list", "int64", "bool", "string"]), max_size=8))
    fields = [
        Field(f"f{i}", "float32", draw(st.integers(1, 4))) if kind == "list" else Field(f"f{i}", kind)  # type: ignore[arg-type]
        for i, kind in enumerate(kinds)
    ]
    n = draw(st.integers(0, 5))
    columns = {}
    for each in fields:
        value = VALUES[each.dtype]
        values = value if each.length is None else st.lists(NUMBERS, min_size=each.length, max_size=each.length)
        columns[each.name] = column(each, draw(st.lists(values, min_size=n, max_size=n)))
    events = draw(st.lists(MICROS, min_size=n, max_size=n))
    created = draw(st.none() | st.lists(MICROS, min_size=n, max_size=n))
    return Schema("view", "customer_id", tuple(fields)), columns, events, created


@given(tables())
def test_what_is_packed_is_unpacked_bit_for_bit(table: tuple[Schema, dict[str, Column], list[int], Any]) -> None:
    schema, columns, events, created = table
    segments = pack(
        schema, columns, np.array(events, np.int64), None if created is None else np.array(created, np.int64)
    )
    found = unpack(schema, segments)
    assert {name: bits_of(each) for name, each in found.columns.items()} == {
        name: bits_of(each) for name, each in columns.items()
    }
    assert found.event_us.tolist() == events
    assert found.created_us.tolist() == (created if created is not None else [None] * len(events))


@given(tables(), tables())
def test_a_segment_is_found_among_others_by_its_schema(first: Any, second: Any) -> None:
    schema, columns, events, created = first
    other = Schema("other", "customer_id", second[0].fields)
    micros = np.array(events, np.int64)
    mine = pack(schema, columns, micros, None if created is None else np.array(created, np.int64))
    theirs = pack(other, second[1], np.array(second[2], np.int64))
    for segment in mine:
        for value in (segment, segment + b"".join(theirs), b"".join(theirs) + segment):
            assert segment_of(schema, value) == segment
    assert segment_of(schema, b"".join(theirs)) is None


def test_the_header_has_18_bytes_so_that_four_views_of_15_numbers_fit_redis_s_class_of_320() -> None:
    schema = Schema("view", "customer_id", tuple(Field(f"f{i}", "float32") for i in range(15)))
    columns = {each.name: np.zeros(1, np.float32) for each in schema.fields}
    [segment] = pack(schema, columns, np.array([7]))
    assert len(segment) == 18 + 15 * 4
    assert 4 * len(segment) <= 314
    assert struct.unpack_from("<IIHq", segment) == (schema.view_hash, schema.hash, 60, 7)
    [dated] = pack(schema, columns, np.array([7]), np.array([8]))
    assert struct.unpack_from("<IIHqq", dated) == (schema.view_hash, schema.hash, 60 | 0x8000, 7, 8)


def test_the_hash_is_of_name_key_and_fields_and_of_nothing_else() -> None:
    schema = one_of_each("country")
    assert schema.hash == Schema(schema.name, schema.key, schema.fields[::-1], None).hash
    others = [
        Schema("order", schema.key, schema.fields),
        Schema(schema.name, "account_id", schema.fields),
        Schema(schema.name, schema.key, schema.fields[1:]),
        Schema(schema.name, schema.key, (*schema.fields[1:], Field("number", "int64"))),
        Schema(schema.name, schema.key, tuple(f._replace(length=4) if f.length else f for f in schema.fields)),
    ]
    assert len({schema.hash, *(each.hash for each in others)}) == 6
    # Segments outlive the process that wrote them: a hash that changed would hide them all.
    assert (hash_of("orders"), one_of_each().hash) == (HASH_OF_ORDERS, HASH_OF_ONE_OF_EACH)


HASH_OF_ORDERS, HASH_OF_ONE_OF_EACH = 1124017169, 1142064670


def test_the_schema_of_a_view_is_what_the_view_says() -> None:
    features = (Feature("b", "", ""), Feature("a", "", "", "string"), Feature("hours", "", "", length=168))
    view = FeatureView("web", features, lambda events, spine: spine, ttl=timedelta(hours=1), entity="account")
    fields = (Field("b", "float32"), Field("hours", "float32", 168), Field("a", "string"))
    assert Schema.of(view) == Schema("web", "account_id", fields, 3600.0)
    assert len({Schema.of(each).view_hash for each in all_views().values()}) == len(all_views())


# -- what cannot be kept -----------------------------------------------------------------------------------------------


def packed(schema: Schema, **changed: Any) -> list[bytes]:
    columns: dict[str, Any] = {
        "number": np.zeros(2, np.float32),
        "hours": np.zeros((2, 3), np.float32),
        "count": np.zeros(2, np.int64),
        "optin": np.zeros(2, np.bool_),
    } | {each.name: Strings.of(["", None]) for each in schema.strings}
    return pack(schema, columns | changed, np.array([1, 2]))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        (
            "count",
            np.array([0, MISSING_INT]),
            r"orders:count: is an integer that cannot be kept \(got -9223372036854775808",
        ),
        ("count", np.array([0, 2**63], np.uint64), r"orders:count: .* \(got 9223372036854775808\)"),
        ("count", np.array([0.0, 1.0]), "orders:count: holds float64, not int64"),
        ("number", np.array([0, 1e300]), r"orders:number: is too large for a float32 \(got 1e\+300\)"),
        ("number", np.array([0, MISSING_FLOAT], np.uint32).view(np.float32), "orders:number: is the one NaN"),
        ("number", Strings.of(["a", "b"]), "orders:number: holds strings, not float32"),
        ("optin", np.array([0, 1]), "orders:optin: holds int64, not bool"),
        (
            "hours",
            np.zeros((2, 4), np.float32),
            r"orders:hours: has another length than its schema says \(got \(4,\)\)",
        ),
        ("country", np.array(["a", "b"]), "orders:country: must be given as strings"),
        ("country", Strings.of(["a", "x" * (MAX_PAYLOAD + 1)]), "orders:country: is a string too long"),
        ("country", Strings.of(["a", "x" * (MAX_PAYLOAD - 24)]), "orders: has a row of more than 32,767 bytes"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_by_name(name: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        packed(one_of_each("country"), **{name: value})


def test_the_longest_row_is_kept() -> None:
    schema = one_of_each("country")
    longest = "x" * (MAX_PAYLOAD - schema.body.itemsize - 2)
    segments = packed(schema, country=Strings.of([None, longest]))
    found = unpack(schema, segments).columns["country"]
    assert isinstance(found, Strings)
    assert found.to_list() == [None, longest]


def test_marks_of_missing_values_are_no_obstacle_where_a_value_is_missing() -> None:
    masked = np.ma.MaskedArray(np.array([0, MISSING_INT]), [False, True])
    assert bits_of(unpack(one_of_each(), packed(one_of_each(), count=masked)).columns["count"]) == [0, None]


def test_a_time_beyond_what_lua_can_compare_is_refused() -> None:
    schema = Schema("view", "customer_id", ())
    assert len(pack(schema, {}, np.array([2**53 - 1]))) == 1
    for micros in (np.array([2**53]), np.array([-(2**53)]), np.array([-(2**63)])):
        with pytest.raises(InvalidInput, match="view:event: is a time beyond"):
            pack(schema, {}, micros)
        with pytest.raises(InvalidInput, match="view:created: is a time beyond"):
            pack(schema, {}, np.array([0]), micros)


def test_schemas_that_make_no_sense() -> None:
    for fields, why in [
        ((Field("a", "int64", 3),), "view:a: a list holds"),
        ((Field("a", "float32", 0),), "view:a: a list holds"),
        ((Field("a", "bool"), Field("a", "int64")), "view: has two fields of one name"),
    ]:
        with pytest.raises(InvalidInput, match=why):
            Schema("view", "customer_id", fields)
    with pytest.raises(InvalidInput, match="is no valid Unicode text"):
        Strings.of(["\ud800"])


@pytest.mark.parametrize("cut", [0, 1, 17, 18, -1])
def test_what_is_no_whole_segment_of_the_schema_is_not_unpacked(cut: int) -> None:
    schema = one_of_each("country")
    first, second = packed(schema)
    for broken in ([first, second[:cut]], [first, second + b"x"]):
        with pytest.raises(InvalidInput, match="is no whole segment"):
            unpack(schema, broken)
    with pytest.raises(InvalidInput, match="is no whole segment"):
        unpack(Schema("other", schema.key, schema.fields), [first])


# -- frames ------------------------------------------------------------------------------------------------------------


def test_frames_become_columns_whatever_holds_their_numbers() -> None:
    schema = one_of_each("country")
    frame = pl.DataFrame(
        {
            "number": pl.Series([1.5, None, float("nan")], dtype=pl.Float64),
            "hours": pl.Series([[1, 2, 3], None, [4, None, 6]], dtype=pl.List(pl.Float64)),
            "count": pl.Series([1, None, 3], dtype=pl.Int16),
            "optin": [True, None, False],
            "country": pl.Series(["DE", None, "é"], dtype=pl.Categorical),
        }
    )
    expected = {
        "number": [0x3FC0_0000, None, 0x7FC0_0000],
        "hours": [[0x3F80_0000, 0x4000_0000, 0x4040_0000], [None] * 3, [0x4080_0000, None, 0x40C0_0000]],
        "count": [1, None, 3],
        "optin": [True, None, False],
        "country": ["DE", None, "é"],
    }
    types = {each.name: column_type(Feature(each.name, "", "", each.dtype, each.length)) for each in schema.fields}
    for given_frame in (frame, frame.cast(types)):  # type: ignore[arg-type]
        columns = columns_of(schema, given_frame)
        assert {name: bits_of(each) for name, each in columns.items()} == expected
        assert {
            n: bits_of(c) for n, c in unpack(schema, pack(schema, columns, np.arange(3))).columns.items()
        } == expected
    assert pack(schema, columns_of(schema, frame.head(0)), np.arange(0)) == []
    nothing = pl.DataFrame({each.name: pl.Series([None], dtype=pl.Null) for each in schema.fields})
    assert bits_of(columns_of(schema, nothing)["hours"]) == [[None] * 3]


def test_a_frame_that_does_not_fit_is_refused_by_name() -> None:
    schema = Schema("orders", "customer_id", (Field("hours", "float32", 3), Field("count", "int64")))
    fits = pl.DataFrame({"hours": [[1.0, 2.0, 3.0]], "count": [1]})
    columns_of(schema, fits)
    with pytest.raises(InvalidInput, match="orders:count: is missing from the frame; it has hours"):
        columns_of(schema, fits.select("hours"))
    with pytest.raises(InvalidInput, match=r"orders:hours: must be a list of 3 \(got \[1.0\]\)"):
        columns_of(schema, fits.with_columns(hours=[1.0]))
    with pytest.raises(InvalidInput, match="orders:count: cannot be read as int64"):
        columns_of(schema, fits.with_columns(count=pl.lit("many")))
