"""Packed values as vectors: one entity and many give the same answer, that of unpacking; damage is never served."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.kernel.errors import InvalidInput, NotFound
from features.packed.layout import Field, Schema, Strings, pack, unpack
from features.packed.plan import ACCOUNT_OF, Plan, compile_plan
from features.vectors import Status, Vectors

NOW = 10_000_000_000
PROFILE = Schema("profile", "customer_id", (Field("account_id", "string"), Field("age", "float32")), 100.0)
ORDERS = Schema(
    "orders",
    "customer_id",
    (Field("count", "int64"), Field("sum", "float32"), Field("optin", "bool"), Field("hours", "float32", 3)),
    200.0,
)
WEB = Schema("web", "customer_id", (Field("last", "string"), Field("first", "string"), Field("views", "float32")))
FIRM = Schema("firm", "account_id", (Field("size", "float32"), Field("sector", "string")), 100.0)
SCHEMAS = {each.name: each for each in (PROFILE, ORDERS, WEB, FIRM)}
OWN = (PROFILE, ORDERS, WEB)
REFS = [
    f"{schema.name}:{each.name}" + ("" if each.length is None else f"[{i}]")
    for schema in OWN
    for each in schema.fields
    for i in range(each.length or 1)
]

NUMBER = st.none() | st.integers(0, 2**32 - 1)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "float32": NUMBER,
    "int64": st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    "bool": st.none() | st.booleans(),
    "string": st.none() | st.text(max_size=4),
}


@st.composite
def segments(draw: st.DrawFn, schema: Schema) -> bytes:
    columns: dict[str, Any] = {}
    for each in schema.fields:
        count = each.length or 1
        cells = draw(st.lists(CELLS[each.dtype], min_size=count, max_size=count))
        if each.dtype == "string":
            columns[each.name] = Strings.of(cells)
            continue
        missing = [cell is None for cell in cells]
        if each.dtype == "float32":
            bits = np.array([0 if cell is None or cell == 0x7FC0_4D49 else cell for cell in cells], np.uint32)
            values: Any = bits.view(np.float32)
        else:
            values = np.array([cell or 0 for cell in cells], np.int64 if each.dtype == "int64" else np.bool_)
        column = np.ma.MaskedArray(values, missing)
        columns[each.name] = column if each.length is None else column.reshape(1, count)
    event, created = np.array([draw(st.integers(0, NOW))]), draw(st.none() | st.integers(0, NOW))
    return pack(schema, columns, event, None if created is None else np.array([created]))[0]


FORMER = Schema("orders", "customer_id", (Field("gone", "float32"),))


@st.composite
def values(draw: st.DrawFn) -> list[bytes]:
    """The segments of one customer, in any order."""
    present = draw(st.lists(st.sampled_from([*OWN, FORMER, FIRM]), unique_by=lambda each: each.hash, max_size=5))
    return [draw(segments(each)) for each in present]


def read(plan: Plan, given_values: list[bytes]) -> Vectors:
    found = plan.nothing.of(len(given_values))
    if len(given_values) == 1:
        plan.customers.one(given_values[0], found)
    else:
        plan.customers.many(given_values, found)
    return plan.vectors(found, NOW)


def oracle(parts: list[bytes], refs: list[str]) -> tuple[list[Any], dict[str, tuple[float, Status]]]:
    """The row and each view's age and status, by unpacking every segment by itself."""
    by_view: dict[str, Any] = {}
    for part in parts:
        for schema in OWN:
            if part[:8] == schema.view_hash.to_bytes(4, "little") + schema.hash.to_bytes(4, "little"):
                by_view[schema.name] = unpack(schema, [part])
    row: list[Any] = []
    for ref in refs:
        view, _, name = ref.partition(":")
        name, _, index = name.partition("[")
        column = by_view[view].columns[name] if view in by_view else None
        if isinstance(column, Strings):
            row.append(column.to_list()[0])
        elif column is None:
            row.append(None)
        else:
            value = column.reshape(-1)[int(index.rstrip("]") or 0)]
            row.append(None if value is np.ma.masked or math.isnan(value) else float(value))
    judged = {}
    for schema in OWN:
        age = math.nan if schema.name not in by_view else (NOW - by_view[schema.name].event_us[0]) / 1e6
        fresh = schema.ttl_seconds is None or age <= schema.ttl_seconds
        judged[schema.name] = age, Status.MISSING if math.isnan(age) else Status.FRESH if fresh else Status.EXPIRED
    return row, judged


@given(st.lists(values(), min_size=1, max_size=5), st.lists(st.sampled_from(REFS), min_size=1))
def test_one_and_many_read_what_unpacking_gives(customers: list[list[bytes]], refs: list[str]) -> None:
    plan = compile_plan(refs, SCHEMAS)
    joined = [b"".join(each) for each in customers]
    expected = [oracle(each, refs) for each in customers]
    both = [read(plan, joined + joined)] + [read(plan, [each]) for each in joined]
    for vectors, rows in [(both[0], expected * 2), *zip(both[1:], ([each] for each in expected), strict=True)]:
        assert repr(vectors.values) == repr([row for row, _ in rows])  # repr: -0.0 is not 0.0
        assert vectors.views == tuple(dict.fromkeys(ref.partition(":")[0] for ref in refs))
        for i, (_, judged) in enumerate(rows):
            wanted = [judged[view] for view in vectors.views]
            assert np.array_equal(vectors.ages[i], [age for age, _ in wanted], equal_nan=True)
            assert vectors.status[i].tolist() == [status for _, status in wanted]


def damaged(plan: Plan, given_values: list[bytes]) -> int:
    found = plan.nothing.of(len(given_values))
    if len(given_values) == 1:
        plan.customers.one(given_values[0], found)
    else:
        plan.customers.many(given_values, found)
    return found.damaged


@given(values(), st.data())
def test_of_a_value_that_was_cut_off_whole_segments_are_served_and_no_others(parts: list[bytes], data: Any) -> None:
    plan, value = compile_plan(REFS, SCHEMAS), b"".join(parts)
    cut = data.draw(st.integers(0, len(value)))
    ends = np.cumsum([len(each) for each in parts])
    kept = [part for part, end in zip(parts, ends.tolist(), strict=True) if end <= cut]
    row, _ = oracle(kept, REFS)
    assert read(plan, [value[:cut]]).values == [row]
    assert read(plan, [value[:cut], b""]).values == [row, oracle([], REFS)[0]]
    torn = int(cut not in (0, *ends.tolist()))
    assert damaged(plan, [value[:cut]]) == torn
    assert damaged(plan, [value[:cut], value, value[:cut]]) == 2 * torn


@given(values(), st.data())
def test_garbage_never_raises_and_one_and_many_agree_on_it(parts: list[bytes], data: Any) -> None:
    plan, value = compile_plan(REFS, SCHEMAS), bytearray(b"".join(parts))
    for _ in range(data.draw(st.integers(1, 4))):
        if value:
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    garbage = bytes(value) + data.draw(st.binary(max_size=30))
    one, many = read(plan, [garbage]), read(plan, [garbage, garbage])
    assert repr(many.values) == repr(one.values * 2)
    assert np.array_equal(many.ages, one.ages.repeat(2, axis=0), equal_nan=True)
    assert np.array_equal(many.status, one.status.repeat(2, axis=0))
    assert damaged(plan, [garbage, garbage]) == 2 * damaged(plan, [garbage])


def test_a_payload_longer_or_shorter_than_its_schema_says_is_not_served() -> None:
    columns = {"sum": np.ones(1, np.float32), "count": np.ones(1, np.int64), "optin": np.ones(1, np.bool_)}
    [segment] = pack(ORDERS, columns | {"hours": np.ones((1, 3), np.float32)}, np.array([NOW]))
    plan = compile_plan(["orders:sum"], SCHEMAS)
    assert read(plan, [segment]).values == [[1.0]]
    for change in (-1, 1):
        length = int.from_bytes(segment[8:10], "little") + change
        changed = segment[:8] + length.to_bytes(2, "little") + (segment + b"\0")[10 : 18 + length]
        for vectors in (read(plan, [changed]), read(plan, [changed, changed])):
            assert vectors.values[0] == [None]
            assert vectors.status[0].tolist() == [Status.MISSING]
        assert damaged(plan, [changed, changed]) == 2


@pytest.mark.parametrize("event", [2**53, -(2**53), 2**63 - 1, -(2**63)])
def test_a_time_that_cannot_be_is_damage(event: int) -> None:
    plan = compile_plan(["web:views"], SCHEMAS)
    texts = {"last": Strings.of([None]), "first": Strings.of([None])}
    [segment] = pack(WEB, {"views": np.ones(1, np.float32), **texts}, np.array([NOW]))
    broken = segment[:10] + event.to_bytes(8, "little", signed=True) + segment[18:]
    assert read(plan, [broken]).status.tolist() == [[Status.MISSING]]
    assert read(plan, [broken, segment]).status.tolist() == [[Status.MISSING], [Status.FRESH]]
    assert (damaged(plan, [broken]), damaged(plan, [broken, segment])) == (1, 1)
    with pytest.raises(InvalidInput, match="is no whole segment"):
        unpack(WEB, [broken])


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\xc3", b"\xed\xa0\x80"])
def test_text_that_is_no_text_is_not_served_nor_is_what_stands_beside_it(text: bytes) -> None:
    columns: dict[str, Any] = {"views": np.ones(1, np.float32), "last": Strings.of(["x" * len(text)])}
    [segment] = pack(WEB, columns | {"first": Strings.of([None])}, np.array([NOW]))
    broken = segment.replace(b"x" * len(text), text)
    plan = compile_plan(["web:views", "web:first", "web:last"], SCHEMAS)
    assert read(plan, [segment]).values == [[1.0, None, "x" * len(text)]]
    assert read(plan, [broken]).values == [[None] * 3]
    assert read(plan, [broken, segment]).values == [[None] * 3, [1.0, None, "x" * len(text)]]
    assert (damaged(plan, [broken]), damaged(plan, [broken, segment])) == (1, 1)


def test_a_row_is_fresh_up_to_its_ttl_and_expired_a_microsecond_later() -> None:
    plan = compile_plan(["orders:sum", "web:views"], SCHEMAS)
    columns = {"sum": np.ones(2, np.float32), "count": np.ones(2, np.int64), "optin": np.ones(2, np.bool_)}
    ttl = round((ORDERS.ttl_seconds or 0) * 1e6)
    parts = pack(ORDERS, columns | {"hours": np.ones((2, 3), np.float32)}, np.array([NOW - ttl, NOW - ttl - 1]))
    for vectors in (read(plan, parts), read(plan, [*parts, b""])):
        assert vectors.status.tolist()[:2] == [[Status.FRESH, Status.MISSING], [Status.EXPIRED, Status.MISSING]]
        assert vectors.numbers[:2, 0].tolist() == [1.0, 1.0], "an expired value is given, with its age"
        assert vectors.ages[:2, 0].tolist() == [200.0, 200.000001]
    assert [read(plan, [each]).status[0, 0] for each in parts] == [Status.FRESH, Status.EXPIRED]


# -- plans -------------------------------------------------------------------------------------------------------------


def test_references_of_accounts_are_read_through_the_customer_s_account() -> None:
    plan = compile_plan(["firm:size", "orders:sum"], SCHEMAS)
    assert [each.schema.name for each in plan.customers.picks] == ["orders", "profile"]
    assert plan.accounts is not None
    assert [each.schema.name for each in plan.accounts.picks] == ["firm"]
    assert (plan.views, plan.account, plan.account_key) == (("firm", "orders"), 2, "account_id")
    assert compile_plan(["orders:sum"], SCHEMAS).accounts is None


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ("order:sum", "is no feature .*order:sum.*; the views are profile, orders, web, firm"),
        ("orders:sums", "is no feature .*; orders has sum, hours, count, optin"),
        ("orders:hours", r"is a list .*; write orders:hours\[0\] to \[2\]"),
        ("orders:hours[3]", r"is beyond the list .*; it ends at \[2\]"),
        ("orders:sum[0]", "is no list .*; write orders:sum"),
        ("orders", "names no feature .*; write view:feature"),
    ],
)
def test_a_reference_that_names_nothing(ref: str, why: str) -> None:
    with pytest.raises(NotFound, match=why):
        compile_plan(["orders:count", ref], SCHEMAS)


def test_views_of_accounts_need_the_feature_that_names_the_account() -> None:
    with pytest.raises(NotFound, match=ACCOUNT_OF):
        compile_plan(["firm:size"], {"firm": FIRM})
