"""Expectations: each breach is found and named, sound data pass, and a run is promoted as a whole or not at all."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import promotion, quality
from features.freshness import newest_in, newest_recorded
from features.kernel.errors import QualityBreach
from features.kernel.events import Event
from features.kernel.ledger import Ledger
from features.quality import Finding, check, examine, expected
from features.view import Expect, Feature, FeatureView, column_type

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def no_aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    raise AssertionError("rows are given, not computed")


def view(*features: Feature, **more: Any) -> FeatureView:
    return FeatureView("some", features, no_aggregate, **more)


def frame(of: FeatureView, /, **columns: list[Any]) -> pl.DataFrame:
    """Rows `c0`, `c1`, … as of `NOW`."""
    rows = len(next(iter(columns.values())))
    schema = {each.name: column_type(each) for each in of.features}
    keys = pl.DataFrame({of.key: [f"c{i}" for i in range(rows)]}, schema={of.key: pl.String})
    values = pl.DataFrame(columns, schema={name: schema[name] for name in columns})
    return pl.concat([keys.with_columns(pl.lit(NOW).alias("as_of")), values], how="horizontal")


def the_breach(of: FeatureView, rows: pl.DataFrame) -> Finding:
    (found,) = check(of, rows)
    return found


# -- what is expected --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "wanted"),
    [
        (Feature("a", "share", ""), Expect(low=0, high=1)),
        (Feature("a", "orders", ""), Expect(low=0)),
        (Feature("a", "days", "", dtype="int64"), Expect(low=0)),
        (Feature("a", "currency", ""), Expect(low=0)),
        (Feature("a", "ratio", ""), Expect()),
        (Feature("a", "", "", dtype="string"), Expect(distinct=2_000)),
        (Feature("a", "", "", dtype="string", identifier=True), Expect()),
        (Feature("a", "share", "", dtype="bool"), Expect()),
        (Feature("a", "share", "", expect=Expect(low=-1)), Expect(low=-1)),
    ],
)
def test_what_a_view_leaves_unsaid_follows_from_the_unit(feature: Feature, wanted: Expect) -> None:
    assert expected(feature) == wanted


# -- each breach is found and named ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_a_value_below_or_above_its_range(dtype: Any) -> None:
    some = view(Feature("count", "orders", "", dtype), Feature("open_rate", "share", ""))
    rows = frame(some, count=[0, -2, None, -7, 3], open_rate=[0.0, 1.0, None, 0.5, 1.5])
    count, rate = check(some, rows)
    assert (count.where, count.expectation, count.rows, count.of) == ("some:count", "at least 0", 2, 4)
    assert count.examples == ("c1", "c3") and count.found == "-7 to 3"
    assert (rate.where, rate.expectation, rate.rows, rate.examples) == ("some:open_rate", "0 to 1", 1, ("c4",))


def test_the_bounds_themselves_are_in_range_in_the_features_own_precision() -> None:
    some = view(Feature("x", "ratio", "", expect=Expect(low=0.1, high=0.3)))
    assert float(np.float32(0.3)) > 0.3  # what would go wrong
    assert check(some, frame(some, x=[0.1, 0.3])) == []
    assert the_breach(some, frame(some, x=[0.1, np.nextafter(np.float32(0.3), np.float32(1))])).examples == ("c1",)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("unit", ["ratio", "share"])
def test_a_number_that_is_not_finite(odd: float, unit: str) -> None:
    some = view(Feature("x", unit, ""))
    found = the_breach(some, frame(some, x=[0.5, odd, None]))
    assert (found.rows, found.of, found.examples) == (1, 2, ("c1",))  # who is unknown does not count
    assert "1 not finite" in found.found


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("stored", [False, True])
def test_an_element_of_a_list(bad: float, stored: bool) -> None:
    some = view(Feature("by_hour", "share", "", length=3))
    rows = frame(some, by_hour=[[0.0, 0.5, 1.0], [0.1, bad, 0.2], None, [0.2, 0.3, 0.4]])
    rows = rows.with_columns(n=1) if not stored else rows.with_columns(pl.col("by_hour").cast(pl.List(pl.Float32)))
    found = the_breach(some, rows)
    assert (found.where, found.rows, found.examples) == ("some:by_hour", 1, ("c1",))


def test_too_large_a_share_of_missing_values_among_those_who_are_known() -> None:
    some = view(Feature("a", "days", ""), Feature("b", "days", "", expect=Expect(low=0, missing=0.25)))
    known = frame(some, a=[1.0] * 4, b=[1.0, 2.0, 3.0, None])
    unknown = known.with_columns(pl.lit(None, pl.Float32).alias("a"), pl.lit(None, pl.Float32).alias("b"))
    assert check(some, pl.concat([known, unknown])) == []
    found = the_breach(some, frame(some, a=[1.0] * 4, b=[1.0, None, 3.0, None]))
    assert (found.where, found.found, found.rows, found.of) == ("some:b", "50.0% missing", 2, 4)
    assert found.expectation == "at most 0.25 of the rows missing" and found.examples == ("c1", "c3")


def test_too_many_different_values_of_a_string() -> None:
    some = view(Feature("source", "", "", "string", expect=Expect(distinct=2)))
    assert check(some, frame(some, source=["a", "b", "a", None])) == []
    found = the_breach(some, frame(some, source=["a", "b", "a", "b", "x", "y", None]))
    assert (found.found, found.rows, found.of) == ("4 different values", 2, 6)  # of those beyond the two commonest
    assert found.examples == ("c4", "c5")


def test_ids_in_place_of_a_category_are_noticed_unasked() -> None:
    some = view(Feature("source", "", "", "string"))
    assert the_breach(some, frame(some, source=[f"id-{i}" for i in range(2_001)])).rows == 1


def test_a_view_of_accounts_names_accounts() -> None:
    firms = FeatureView("firms", (Feature("contacts", "people", ""),), no_aggregate, entity="account")
    assert the_breach(firms, frame(firms, contacts=[1.0, -1.0])).examples == ("c1",)


def test_no_rows_breach_nothing() -> None:
    some = view(Feature("x", "share", "", expect=Expect(0, 1, missing=0)), Feature("s", "", "", "string"))
    assert check(some, frame(some, x=[], s=[])) == []
    assert check(some, frame(some, x=[None], s=[None])) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-2, 2, width=32), st.just(float("nan"))), max_size=30))
def test_rows_at_fault_are_those_that_a_loop_finds(values: list[float | None]) -> None:
    some = view(Feature("x", "share", ""))
    odd = [f"c{i}" for i, value in enumerate(values) if value is not None and not 0 <= value <= 1]
    found = examine(some, frame(some, x=values))[0]
    assert (found.rows, found.examples) == (len(odd), tuple(odd[: quality.EXAMPLES]))


# -- freshness ---------------------------------------------------------------------------------------------------------


def events(*rows: tuple[str, datetime, datetime]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["type", "occurred_at", "received_at"], orient="row")


def freshness_of(some: FeatureView, told: pl.DataFrame, as_of: datetime = NOW) -> list[Finding]:
    return quality.freshness(some, newest_in(told, as_of), as_of, rows=7)


def test_a_source_that_has_dried_up() -> None:
    orders = view(Feature("count", "orders", ""), reads=("order", "refund"), fresh=10 * DAY)
    told = events(("order", NOW - 12 * DAY, NOW - 11 * DAY), ("send", NOW - DAY, NOW - DAY))
    (found,) = freshness_of(orders, told)
    assert (found.where, found.rows, found.of) == ("some", 7, 7)
    assert found.expectation == "an event received within 10 days" and "11.0 days before 2026-06-01" in found.found
    assert not freshness_of(replace(orders, reads=()), told)[0].breached  # any event will do
    assert not freshness_of(orders, told, NOW - DAY)[0].breached  # exactly as old as allowed


def test_what_was_not_known_yet_keeps_nothing_fresh() -> None:
    some = view(Feature("count", "orders", ""), fresh=10 * DAY)
    early = ("order", NOW - 20 * DAY, NOW - 20 * DAY)
    told = events(early, ("order", NOW - DAY, NOW + DAY), ("order", NOW, NOW))
    assert freshness_of(some, told)[0].breached
    assert freshness_of(some, events()) == []  # nothing was ever known: not stale, but empty


def test_the_ledger_says_the_same_as_a_frame_of_its_events(tmp_path: Path) -> None:
    times = [(NOW - 3 * DAY, NOW - 2 * DAY), (NOW - 9 * DAY, NOW - 9 * DAY), (NOW - DAY, NOW + DAY)]
    told = [
        Event(event_id=f"e{i}", customer_id="c", type=kind, amount=1.0, occurred_at=when, received_at=received)
        for i, (kind, (when, received)) in enumerate((kind, each) for kind in ("order", "send") for each in times)
    ]
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.append_events(told)
        found = newest_recorded(ledger, NOW)
    assert found == newest_in(events(*((e.type, e.occurred_at, e.received_at) for e in told)), NOW)
    assert found == {"order": NOW - 2 * DAY, "send": NOW - 2 * DAY}


# -- the report and the refusal ----------------------------------------------------------------------------------------


def test_the_refusal_names_view_feature_value_rows_and_remedy() -> None:
    some = view(Feature("count", "orders", ""), Feature("rate", "share", ""))
    rows = frame(some, count=[0.0, -2.0, 1.0], rate=[2.0, 0.0, 0.0])
    report = quality.inspect({"some": rows}, {"some": some}, NOW, {})
    assert [each.where for each in report.breaches] == ["some:count", "some:rate"]
    with pytest.raises(QualityBreach) as refused:
        quality.require(report)
    text = str(refused.value)
    for part in ("some:count", "at least 0", "-2 to 1", "1 of 3 rows", "c1", "1 more", "--allow-breaches"):
        assert part in text


def test_a_sound_run_passes() -> None:
    some = view(Feature("count", "orders", ""))
    report = quality.inspect({"some": frame(some, count=[0.0, 4.0])}, {"some": some}, NOW, {"order": NOW - DAY})
    quality.require(report)
    assert [each.expectation for each in report.findings] == ["at least 0", "an event received within 30 days"]


# -- promotion ---------------------------------------------------------------------------------------------------------

SOME = view(Feature("count", "orders", ""), Feature("source", "", "", "string"), Feature("h", "share", "", length=2))
VIEWS = {"some": SOME}


def part(ids: list[str], count: float, as_of: datetime = NOW) -> dict[str, pl.DataFrame]:
    rows = frame(SOME, count=[count] * len(ids), source=["x"] * len(ids), h=[[0.0, 1.0]] * len(ids))
    return {"some": rows.with_columns(pl.Series("customer_id", ids), pl.lit(as_of).alias("as_of"))}


def state(folder: Path) -> dict[str, bytes]:
    """Everything a reader of the store can see."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.glob("*/*.parquet"))}


def stored(folder: Path) -> dict[tuple[datetime, str], float]:
    rows = pl.read_parquet(folder / "some" / "*.parquet")
    return {(when, who): count for who, when, count in rows.select("customer_id", "event_timestamp", "count").rows()}


def test_a_run_in_parts_is_stored_whole(tmp_path: Path) -> None:
    parts = [part(["a", "c"], 1.0), part(["b"], 2.0), part(["b"], 3.0, NOW - DAY), part([], 0.0)]
    assert promotion.promote(tmp_path, VIEWS, parts) == {"some": 4}
    assert stored(tmp_path) == {(NOW, "a"): 1, (NOW, "c"): 1, (NOW, "b"): 2, (NOW - DAY, "b"): 3}
    assert promotion.promote(tmp_path, VIEWS, [part(["b", "d"], 9.0)]) == {"some": 2}  # another population
    assert stored(tmp_path) == {(NOW, "a"): 1, (NOW, "c"): 1, (NOW, "b"): 9, (NOW, "d"): 9, (NOW - DAY, "b"): 3}
    assert [each.name for each in tmp_path.iterdir() if each.name != ".lock"] == ["some"]


def test_a_breach_anywhere_in_a_run_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    promotion.promote(tmp_path, VIEWS, [part(["a", "b"], 1.0)])
    before = state(tmp_path)
    with pytest.raises(QualityBreach, match="some:count"):
        promotion.promote(tmp_path, VIEWS, [part(["a"], 5.0), part(["b"], -1.0), part(["c"], 1.0, NOW + DAY)])
    assert state(tmp_path) == before and not (tmp_path / promotion.STAGING).exists()


def test_a_run_that_fails_half_way_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    promotion.promote(tmp_path, VIEWS, [part(["a"], 1.0)])
    before = state(tmp_path)

    def parts() -> Any:
        yield part(["a"], 2.0)
        assert state(tmp_path) == before  # nothing of a run is seen while it computes
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        promotion.promote(tmp_path, VIEWS, parts())
    assert state(tmp_path) == before and not (tmp_path / promotion.STAGING).exists()


def test_what_a_killed_run_left_is_thrown_away(tmp_path: Path) -> None:
    killed = promotion.Run(tmp_path, VIEWS)
    killed.add(part(["z"], 1.0))
    assert list((tmp_path / promotion.STAGING).rglob("*.parquet"))
    promotion.promote(tmp_path, VIEWS, [part(["a"], 2.0)])
    assert stored(tmp_path) == {(NOW, "a"): 2}


def test_a_forced_run_is_promoted_and_its_report_is_seen(tmp_path: Path) -> None:
    reports: list[quality.Report] = []
    assert promotion.promote(tmp_path, VIEWS, [part(["a"], -1.0)], {}, reports.append) == {"some": 1}
    assert stored(tmp_path) == {(NOW, "a"): -1}
    assert [each.where for each in reports[0].breaches] == ["some:count"] and reports[0].as_of == NOW


def test_a_stale_source_stops_a_run(tmp_path: Path) -> None:
    with pytest.raises(QualityBreach, match="an event received within 30 days"):
        promotion.promote(tmp_path, VIEWS, [part(["a"], 1.0)], {"order": NOW - 31 * DAY})
    assert promotion.promote(tmp_path, VIEWS, [part(["a"], 1.0)], {"order": NOW - 30 * DAY}) == {"some": 1}


def test_a_run_of_nobody_writes_nothing(tmp_path: Path) -> None:
    assert promotion.promote(tmp_path, VIEWS, []) == {"some": 0}
    assert state(tmp_path) == {}


def test_runs_take_turns(tmp_path: Path) -> None:
    second = threading.Thread(target=promotion.promote, args=(tmp_path, VIEWS, [part(["b"], 2.0)]))
    with promotion.alone(tmp_path):
        run = promotion.Run(tmp_path, VIEWS)
        run.add(part(["a"], 1.0))
        second.start()
        second.join(0.3)
        assert second.is_alive() and state(tmp_path) == {}  # it waits, and has not thrown away what is staged here
        run.promote()
    second.join(30)
    assert stored(tmp_path) == {(NOW, "a"): 1, (NOW, "b"): 2}
