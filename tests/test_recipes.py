"""Recipes: every row is used or counted under a named reason, and a mistake names key, value and remedy."""

from __future__ import annotations

import math
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.frames import EVENT_SCHEMA, to_events
from features.importing.reasons import BUILT_IN
from features.kernel.errors import InvalidRecipe, KairosError, NotFound
from features.recipe import Imported, load_recipe, read, recipe_names

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) are not here")

SHOP = """
kind: events
about: A small shop
file: {format: csv}
time_zone: Europe/London
currency: GBP
missing: ["n/a"]
columns:
  customer: {column: who, type: id}
  at: {column: when, type: time, format: "%Y-%m-%d %H:%M"}
  invoice: {type: text}
  price: {type: number}
  country: {type: text}
refused:
  - {reason: duplicate, repeats: all}
  - {reason: no_customer_id, when: customer IS NULL}
  - {reason: free, when: price = 0}
used:
  - {reason: return, when: price < 0, event: refund, one_per: [invoice], amount: SUM(-price)}
  - {reason: sale, event: order, one_per: [invoice], amount: SUM(price), properties: {items: COUNT(*)}}
profile: {country: country}
"""
CALLS = """
kind: snapshot
about: Some calls
problem: lead_scoring
question: Will they say yes?
horizon_days: 1
file: {format: csv, separator: ";"}
time_zone: Europe/Lisbon
missing: [unknown]
as_of: {month: month, day: day, start: 2008-11}
label: {column: y, positive: "yes", negative: "no"}
columns:
  month: {type: category}
  day: {type: number}
  job: {type: category, phrase: "works as {value}"}
  gap: {type: number, missing: ["-1"]}
excluded: {duration: known only after the call}
baseline: [gap]
"""
HEADER = "who,when,invoice,price,country\n"
CALL_HEADER = "month;day;job;gap;duration;y\n"


def shop(folder: Path, rows: str, recipe: str = SHOP) -> Imported:
    """The rows read by the recipe, both written into the folder first."""
    (folder / "shop.yaml").write_text(recipe)
    (folder / "shop.csv").write_text(HEADER + rows)
    return read(load_recipe(folder / "shop.yaml"), folder / "shop.csv")


def calls(folder: Path, rows: str, recipe: str = CALLS) -> Imported:
    (folder / "calls.yaml").write_text(recipe)
    (folder / "calls.csv").write_text(CALL_HEADER + rows)
    return read(load_recipe(folder / "calls.yaml"), folder / "calls.csv")


# -- every recipe that comes with Kairos -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_and_is_documented(name: str) -> None:
    assert load_recipe(name).about
    assert name in (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()


def test_every_built_in_reason_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    assert [reason for reason in BUILT_IN if f"| `{reason}` |" not in page] == []


# -- rows --------------------------------------------------------------------------------------------------------------

_CELLS = st.tuples(
    st.sampled_from(["", "n/a", "7", "a b", "🙂", "x:y", "x%y"]),
    st.sampled_from(["2011-07-01 10:00", "2011-07-01 10:05", "2011-03-27 01:30", "yesterday", ""]),
    st.sampled_from(["1", "2", "y:1"]),
    st.sampled_from(["0", "1.5", "-2", "nan", "inf", "12,5x", "", "1e3"]),
    st.sampled_from(["UK", "Eire", ""]),
)


def _fate(row: tuple[str, ...], earlier: list[tuple[str, ...]]) -> str:
    """What the recipe says, told again in plain Python."""
    who, when, _, price, _ = row
    number = None if price in ("", "nan") else float(price) if "," not in price else math.inf
    if row in earlier:
        return "duplicate"
    if who in ("", "n/a"):
        return "no_customer_id"
    if number == 0:
        return "free"
    if when in ("yesterday", "2011-03-27 01:30"):  # the second never was: London's clocks skip that hour
        return "unparsable_date"
    if number == math.inf:
        return "unparsable_number"
    if not when:
        return "missing_date"
    if number is None:
        return "missing_amount"
    return "return as refund" if number < 0 else "sale as order"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_CELLS, min_size=1, max_size=25))
def test_every_row_has_the_fate_that_plain_python_gives_it(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    quoted = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    found = shop(tmp_path, quoted)
    expected = Counter(_fate(row, rows[:i]) for i, row in enumerate(rows))
    assert Counter({name: n for name, n in (found.used | found.counts).items() if n}) == expected
    assert found.rows_used + sum(found.counts.values()) == found.rows_read == len(rows)

    events = list(to_events(found.events))  # each passes the kernel's own checks
    assert len({each.event_id for each in events}) == len(events)
    assert all(each.received_at == each.occurred_at for each in events)
    kept = [(row, _fate(row, rows[:i])) for i, row in enumerate(rows)]
    for kind, sign, fate in (("order", 1, "sale as order"), ("refund", -1, "return as refund")):
        invoices = {(row[0], row[2]) for row, name in kept if name == fate}
        made = [each for each in events if each.type == kind]
        assert len(made) == len(invoices)
        total = sum(sign * float(row[3]) for row, name in kept if name == fate)
        assert sum(each.amount or 0 for each in made) == pytest.approx(total)


def test_reading_twice_and_reading_a_grown_file_give_the_same_events(tmp_path: Path) -> None:
    rows = "7,2011-07-01 10:00,1,0.1,UK\n7,2011-07-01 10:00,1,0.2,UK\n7,2011-07-02 10:00,2,0.3,Eire\n"
    first, again = shop(tmp_path, rows).events, shop(tmp_path, rows).events
    grown = shop(tmp_path, rows + "8,2011-07-03 10:00,3,5,UK\n").events
    assert first.equals(again)
    assert grown.join(first, on=list(EVENT_SCHEMA), how="semi", nulls_equal=True).equals(first)


def test_lines_of_an_invoice_are_one_event(tmp_path: Path) -> None:
    found = shop(tmp_path, "7,2011-07-01 10:05,1,0.1,UK\n7,2011-07-01 10:00,1,0.2,UK\n8,2011-07-01 10:00,1,9,UK\n")
    orders = found.events.filter(pl.col("type") == "order").sort("customer_id")
    assert orders.select("customer_id", "amount", "currency", "properties").rows() == [
        ("7", 0.3, "GBP", '{"items":2}'),
        ("8", 9.0, "GBP", '{"items":1}'),
    ]
    assert orders["occurred_at"][0] == datetime(2011, 7, 1, 9, 0, tzinfo=UTC), "the earliest line, London's summer time"


def test_parts_of_an_id_cannot_run_into_each_other(tmp_path: Path) -> None:
    found = shop(tmp_path, "a:b,2011-07-01 10:00,c,1,\na,2011-07-01 10:00,b:c,1,\na%3Ab,2011-07-01 10:00,c,1,\n")
    assert found.events["event_id"].n_unique() == found.events.height == 3


def test_a_profile_event_marks_each_change(tmp_path: Path) -> None:
    rows = (
        "7,2011-07-03 10:00,3,1,Eire\n7,2011-07-01 10:00,1,1,UK\n7,2011-07-02 10:00,2,1,UK\n"
        "7,2011-07-04 10:00,4,1,\n7,2011-07-05 10:00,5,1,UK\n8,2011-07-01 10:00,6,1,\n"
    )
    profiles = shop(tmp_path, rows).events.filter(pl.col("type") == "profile")
    assert [(row[0].day, row[1]) for row in profiles.select("occurred_at", "properties").rows()] == [
        (1, '{"country":"UK"}'),
        (3, '{"country":"Eire"}'),
        (5, '{"country":"UK"}'),
    ]


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Asia/Kolkata", "UTC"])
def test_local_times_become_utc(tmp_path: Path, zone: str) -> None:
    found = shop(tmp_path, "7,2011-10-30 01:30,1,1,\n", SHOP.replace("Europe/London", zone))
    local = datetime(2011, 10, 30, 1, 30, tzinfo=ZoneInfo(zone))  # of an hour that London has twice, the first
    assert found.events["occurred_at"].to_list() == [local.astimezone(UTC)]


def test_an_offset_in_the_file_wins_over_the_zone_of_the_recipe(tmp_path: Path) -> None:
    recipe = SHOP.replace("%H:%M", "%H:%M%z")
    found = shop(tmp_path, "7,2011-07-01 10:00+0530,1,1,\n", recipe)
    assert found.events["occurred_at"].to_list() == [datetime(2011, 7, 1, 4, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{'x' * 201},2011-07-01 10:00,1,1,\n", "unusable_id"),
        (f"{'x' * 190},2011-07-01 10:00,1,1,\n", "unusable_id"),  # fits alone, not within the event's id
        ("7,1960-01-01 10:00,1,1,\n", "date_out_of_range"),
        ("7,2011-07-01 10:00,1,1e308,\n7,2011-07-01 10:00,1,1.1e308,\n", "unusable_amount"),
    ],
)
def test_a_row_that_cannot_be_an_event_is_counted(tmp_path: Path, row: str, reason: str) -> None:
    found = shop(tmp_path, row + "8,2011-07-01 10:00,1,1,\n")
    assert found.counts[reason] == found.rows_read - 1
    assert found.used["sale as order"] == 1


def test_an_order_below_zero_is_counted_by_its_lines(tmp_path: Path) -> None:
    recipe = SHOP.replace("when: price < 0, ", "when: invoice LIKE 'C%', ")
    found = shop(tmp_path, "7,2011-07-01 10:00,1,1,\n7,2011-07-01 10:00,1,-3,\n7,2011-07-01 10:00,2,4,\n", recipe)
    assert (found.counts["unusable_amount"], found.used["sale as order"]) == (2, 1)


def test_a_row_that_no_rule_fits_is_counted(tmp_path: Path) -> None:
    recipe = SHOP.replace("reason: sale, event", "reason: sale, when: price > 5, event")
    found = shop(tmp_path, "7,2011-07-01 10:00,1,1,\n7,2011-07-01 10:00,2,6,\n", recipe)
    assert (found.counts["no_rule_fits"], found.used["sale as order"]) == (1, 1)


def test_properties_are_json_even_where_a_division_is_not(tmp_path: Path) -> None:
    recipe = SHOP.replace("items: COUNT(*)", "share: SUM(price) / (SUM(price) - 1), country: country")
    found = shop(tmp_path, "7,2011-07-01 10:00,1,1,Eire 🙂\n", recipe)
    order = found.events.filter(pl.col("type") == "order")["properties"][0]
    assert msgspec.json.decode(order) == {"country": "Eire 🙂", "share": None}


def test_messages_may_carry_their_links(tmp_path: Path) -> None:
    recipe = SHOP.replace(
        "  - {reason: sale,",
        "  - {reason: mail, when: invoice = 'm', event: send, one_per: [row],\n"
        "     fields: {channel: \"'email'\", message_id: country}}\n  - {reason: sale,",
    )
    found = shop(tmp_path, "7,2011-07-01 10:00,m,1,m1\n7,2011-07-01 10:00,m,1,m2\n", recipe)
    sends = found.events.filter(pl.col("type") == "send")
    assert sends.select("channel", "message_id", "amount").rows() == [("email", "m1", None), ("email", "m2", None)]


# -- files -------------------------------------------------------------------------------------------------------------


def _refusal(folder: Path, content: bytes, recipe: str = SHOP, name: str = "file.csv") -> KairosError:
    (folder / "r.yaml").write_text(recipe)
    (folder / name).write_bytes(content)
    with pytest.raises(KairosError) as caught:
        read(load_recipe(folder / "r.yaml"), folder / name)
    return caught.value


GOOD_ROW = "7,2011-07-01 10:00,1,1,UK\n"


@pytest.mark.parametrize(
    ("content", "field", "told"),
    [
        (b"", "file", "is empty"),
        (HEADER.encode(), "file", "has no rows"),
        ((HEADER + GOOD_ROW).replace("who", "whom").encode(), "columns.customer", "did you mean whom?"),
        ((HEADER + GOOD_ROW).replace(",", ";").encode(), "columns.customer", "is file.separator ',' right?"),
        ((HEADER + GOOD_ROW + "7,2011-07-01 10:00,1,1,UK,more\n").encode(), "file", "cannot be read as csv"),
        ((HEADER + GOOD_ROW).replace("UK", "Österreich").encode("latin-1"), "file", "file.encoding"),
        (b"PAR1 no parquet PAR1", "columns.customer", "is file.separator"),
    ],
)
def test_a_file_that_is_not_what_the_recipe_says(tmp_path: Path, content: bytes, field: str, told: str) -> None:
    error = _refusal(tmp_path, content)
    assert isinstance(error, InvalidRecipe)
    assert error.field == field
    assert told in str(error)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.csv"):
        read(load_recipe("online_retail"), tmp_path / "nowhere.csv")


def test_csv_is_no_parquet(tmp_path: Path) -> None:
    recipe = SHOP.replace("format: csv", "format: parquet")
    assert "cannot be read as parquet" in str(_refusal(tmp_path, (HEADER + GOOD_ROW).encode(), recipe))


@pytest.mark.parametrize(
    ("encoding", "said"), [("utf-8-sig", "utf8"), ("latin-1", "latin-1"), ("utf-16", "utf-16"), ("cp1252", "cp1252")]
)
def test_a_byte_order_mark_and_other_encodings_change_nothing(tmp_path: Path, encoding: str, said: str) -> None:
    rows = "7,2011-07-01 10:00,1,1,Österreich\n"
    plain = shop(tmp_path, rows).events
    (tmp_path / "shop.csv").write_bytes((HEADER + rows).replace("\n", "\r\n").encode(encoding))
    (tmp_path / "shop.yaml").write_text(SHOP.replace("format: csv", f"format: csv, encoding: {said}"))
    assert read(load_recipe(tmp_path / "shop.yaml"), tmp_path / "shop.csv").events.equals(plain)


def test_a_file_without_header_and_with_many_blanks(tmp_path: Path) -> None:
    recipe = SHOP.replace(
        "format: csv", "format: csv, separator: whitespace, header: [who, when, invoice, price, country]"
    )
    (tmp_path / "shop.yaml").write_text(recipe.replace("%Y-%m-%d %H:%M", "%Y-%m-%d"))
    (tmp_path / "shop.txt").write_text("  7   2011-07-01\t1  1.5   UK\r\n 8 2011-07-01 2 1  UK \r\n")
    found = read(load_recipe(tmp_path / "shop.yaml"), tmp_path / "shop.txt")
    assert found.used["sale as order"] == found.rows_read == 2


def _parquet(folder: Path, recipe: str, **columns: object) -> Imported:
    base = {"who": ["7"], "when": [datetime(2011, 7, 1, 10)], "invoice": ["1"], "price": [1.0], "country": ["UK"]}  # noqa: DTZ001
    pl.DataFrame({**base, **columns}).write_parquet(folder / "t.parquet")
    (folder / "r.yaml").write_text(recipe.replace("format: csv", "format: parquet"))
    return read(load_recipe(folder / "r.yaml"), folder / "t.parquet")


def test_naive_times_need_a_zone(tmp_path: Path) -> None:
    without = SHOP.replace("time_zone: Europe/London\n", "")
    with pytest.raises(InvalidRecipe) as caught:
        _parquet(tmp_path, without)
    assert caught.value.field == "time_zone"
    aware = [datetime(2011, 7, 1, 10, tzinfo=ZoneInfo("Asia/Tokyo"))]
    found = _parquet(tmp_path, without, when=aware)
    assert found.events["occurred_at"][0] == aware[0]


def test_typed_columns_are_read_by_their_meaning(tmp_path: Path) -> None:
    found = _parquet(tmp_path, SHOP, who=[17850.0], price=pl.Series([1], dtype=pl.Int16))
    assert found.events["customer_id"].unique().to_list() == ["17850"]
    nan = _parquet(tmp_path, SHOP, who=[17850.0, math.nan], price=[math.nan, 1.0], when=_times(2), **_twice())
    assert (nan.counts["missing_amount"], nan.counts["no_customer_id"]) == (1, 1)
    with pytest.raises(InvalidRecipe, match=r"columns\.at: holds no times"):
        _parquet(tmp_path, SHOP, when=[20110701])
    with pytest.raises(InvalidRecipe, match=r"columns\.price: cannot be read as number"):
        _parquet(tmp_path, SHOP, price=[[1.0, 2.0]])


def _times(n: int) -> list[datetime]:
    return [datetime(2011, 7, 1, 10) + timedelta(hours=i) for i in range(n)]  # noqa: DTZ001


def _twice() -> dict[str, list[str]]:
    return {"invoice": ["1", "2"], "country": ["UK", "UK"]}


# -- recipes that cannot be right --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "field", "told"),
    [
        ("columns:", "colums:", "colums", "did you mean columns?"),
        ("type: number}", "typ: number}", "columns.price.typ", "did you mean type?"),
        ("type: number}", "type: numeric}", "columns.price.type", "numeric"),
        ("Europe/London", "Europe/Londn", "time_zone", "did you mean Europe/London?"),
        ("time_zone: Europe/London\n", "", "time_zone", "Europe/London"),
        ("kind: events", "kind: event", "kind", "events or snapshot"),
        ("kind: events", "kind: events\nname: mine", "name", "leave it out"),
        ("kind: events", "kind: events\nkind: events", "kind", "twice"),
        ("about: A small shop\n", "", "about", "is missing"),
        ("about: A small shop", "about: yes", "about", "in quotes"),
        ("currency: GBP\n", "", "currency", "GBP"),
        (', format: "%Y-%m-%d %H:%M"', "", "columns.at.format", "is missing"),
        ("customer: {column: who, type: id}", "customer: {column: who, type: text}", "columns.customer.type", "id"),
        ("  invoice: {type: text}", "  row: {type: text}", "columns.row", "row is taken"),
        ("price = 0", "prize = 0", "refused[2].when", "did you mean price?"),
        ("price = 0", "price = 'x'", "refused[2].when", "cannot be computed"),
        ("price = 0", "price + 1", "refused[2].when", "is no condition"),
        ("price = 0", "price IN (SELECT 1)", "refused[2].when", "SQL"),
        ("price = 0", "price ==== 0", "refused[2].when", "is no SQL expression"),
        ("repeats: all", "when: ''", "refused[0]", "either `when` or `repeats`"),
        ("repeats: all", "repeats: [invoce]", "refused[0].repeats", "did you mean invoice?"),
        ("reason: free", "reason: duplicate", "refused[2].reason", "taken"),
        ("reason: free", "reason: unparsable_date", "refused[2].reason", "taken"),
        ("event: order", "event: ordr", "used[1].event", "did you mean order?"),
        ("amount: SUM(price), ", "", "used[1].amount", "is missing"),
        ("amount: SUM(price), ", "amount: price, ", "used[1].amount", "write SUM(price)"),
        ("one_per: [invoice], amount: SUM(price)", "one_per: [], amount: SUM(price)", "used[1].one_per", "or row"),
        ("{country: country}", "{country: land}", "profile.country", "known are"),
        ("properties: {", "fields: {chanel: invoice}, properties: {", "used[1].fields.chanel", "did you mean channel?"),
        ("event: refund", "event: custom", "used[0].properties.name", "is missing"),
        ("kind: events", "kind: [events", None, "is no YAML"),
    ],
)
def test_a_recipe_that_cannot_be_right(tmp_path: Path, old: str, new: str, field: str | None, told: str) -> None:
    assert old in SHOP
    path = tmp_path / "broken.yaml"
    path.write_text(SHOP.replace(old, new, 1))
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(path)
    assert caught.value.field == (field or str(path))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('positive: "yes"', "positive: yes", "label.positive"),
        ('positive: "yes"', 'positive: "no"', "label.positive"),
        ("start: 2008-11", "start: 2008-13", "as_of.start"),
        ("month: month", "month: moth", "as_of.month"),
        ("time_zone: Europe/Lisbon\n", "", "time_zone"),
        ("[gap]", "[gab]", "baseline"),
        ("{duration: known", "{job: known", "columns.job"),
        ("horizon_days: 1", "horizon_days: 0", "horizon_days"),
        ("horizon_days: 1", "horizon_days: one", "horizon_days"),
        ("as_of:", "id: job\nas_of:", "id"),
        ('["-1"]', "[none]", "columns.gap.missing"),
        ("label: {column: y", "label: {column: job", "columns.job"),
    ],
)
def test_a_snapshot_recipe_that_cannot_be_right(tmp_path: Path, old: str, new: str, field: str) -> None:
    assert old in CALLS
    (tmp_path / "broken.yaml").write_text(CALLS.replace(old, new, 1))
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(tmp_path / "broken.yaml")
    assert caught.value.field == field
    assert caught.value.remedy or caught.value.value is not None


def test_an_unknown_recipe_is_named_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="did you mean online_retail"):
        load_recipe("online_retial")
    with pytest.raises(NotFound):
        load_recipe(tmp_path / "none.yaml")


# -- snapshots ---------------------------------------------------------------------------------------------------------


def test_snapshots_walk_the_months_forward(tmp_path: Path) -> None:
    rows = ["nov;5;a;1;9;no", "December;31;b;-1;9;yes", "1;2;unknown;2;9;no", "mar;1;a;;9;yes", "feb;28;a;4;9;no"]
    found = calls(tmp_path, "\n".join(rows) + "\n")
    lisbon = ZoneInfo("Europe/Lisbon")
    days = [(2008, 11, 5), (2008, 12, 31), (2009, 1, 2), (2009, 3, 1), (2010, 2, 28)]
    assert found.table["as_of"].to_list() == [datetime(*day, tzinfo=lisbon).astimezone(UTC) for day in days]
    assert found.table["id"].to_list() == ["1", "2", "3", "4", "5"]
    assert found.table["label"].to_list() == [0, 1, 0, 1, 0]
    assert found.table["job"].to_list() == ["a", "b", None, "a", "a"]
    assert found.table["gap"].to_list() == [1.0, None, 2.0, None, 4.0]
    assert found.table.schema["gap"] == pl.Float32


def test_what_is_known_only_after_the_call_is_no_feature(tmp_path: Path) -> None:
    found = calls(tmp_path, "nov;5;a;1;9;no\n")
    assert found.snapshot is not None
    assert (
        found.feature_columns == ("month", "day", "job", "gap") == tuple(each.name for each in found.snapshot.columns)
    )
    assert found.snapshot.excluded == {"duration": "known only after the call"}
    assert found.snapshot.categories == {"month": ("nov",), "job": ("a",)}
    assert found.snapshot.baseline == ("gap",)
    assert [each.phrase for each in found.snapshot.columns][2:] == ["works as {value}", "gap is {value}"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("feb;30;a;1;9;no", "unparsable_date"),
        ("brumaire;1;a;1;9;no", "unparsable_date"),
        (";1;a;1;9;no", "missing_date"),
        ("nov;first;a;1;9;no", "unparsable_number"),
        ("nov;5;a;1;9;maybe", "unlisted_label"),
        ("nov;5;a;1;9;unknown", "missing_label"),
        ("nov;5;a;1;9;", "missing_label"),
        ("nov;5;a;many;9;no", "unparsable_number"),
    ],
)
def test_a_row_that_cannot_be_a_snapshot_is_counted(tmp_path: Path, row: str, reason: str) -> None:
    found = calls(tmp_path, f"nov;4;a;1;9;no\n{row}\ndec;5;a;1;9;yes\n")
    assert {name: n for name, n in found.counts.items() if n} == {reason: 1}
    assert found.table["as_of"].dt.year().to_list()[-1] == (2009 if row.startswith("feb") else 2008)
    assert found.table["id"].to_list() == ["1", "3"], "an id is the row's place in the file, whatever was refused"


# -- real data ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def online_retail() -> Imported:
    return read(load_recipe("online_retail"), DATA / "online_retail" / "onlineretail.parquet")


@pytest.mark.real_data
@needs_data
def test_online_retail_has_its_known_counts(online_retail: Imported) -> None:
    found = online_retail
    assert found.rows_read == 541_909
    assert found.counts["duplicate"] == 5_268
    assert found.counts["no_customer_id"] / found.rows_read == pytest.approx(0.249, abs=5e-4)
    assert found.used["cancellation as refund"] / found.rows_read == pytest.approx(0.017, abs=1e-3)
    raw = pl.read_parquet(DATA / "online_retail" / "onlineretail.parquet")
    people = set(raw["CustomerID"].drop_nulls().cast(pl.Int64).cast(pl.String))
    assert len(people) == 4_372
    free_only = raw.group_by("CustomerID").agg((pl.col("UnitPrice") == 0).all().alias("free")).filter("free")
    missing = {str(int(each)) for each in free_only["CustomerID"].drop_nulls()}
    assert people - set(found.events["customer_id"]) == missing, "only who never paid for a line has no event"


@pytest.mark.real_data
@needs_data
def test_online_retail_agrees_with_a_plain_count(online_retail: Imported) -> None:
    orders = online_retail.events.filter(pl.col("type") == "order")
    cutoff = datetime(2011, 9, 10, tzinfo=UTC)
    before = set(orders.filter(pl.col("occurred_at") < cutoff)["customer_id"])
    window = pl.col("occurred_at").is_between(cutoff, cutoff + timedelta(days=90), closed="left")
    share = len(before & set(orders.filter(window)["customer_id"])) / len(before)
    assert share == pytest.approx(0.569, abs=1e-3)
    raw = pl.read_parquet(DATA / "online_retail" / "onlineretail.parquet").unique()
    kept = raw.filter(pl.col("CustomerID").is_not_null() & (pl.col("UnitPrice") > 0) & (pl.col("Quantity") > 0))
    assert orders.height == kept.select("InvoiceNo").n_unique()
    assert orders["amount"].sum() == pytest.approx((kept["Quantity"] * kept["UnitPrice"]).sum(), rel=1e-6)


@pytest.mark.real_data
@needs_data
def test_online_retail_is_read_within_seconds() -> None:
    started = time.perf_counter()
    read(load_recipe("online_retail"), DATA / "online_retail" / "onlineretail.parquet")
    assert time.perf_counter() - started < 10, "541,909 lines; 0.7 s when alone on 2 cores"


@pytest.mark.real_data
@needs_data
def test_bank_marketing_has_its_known_counts() -> None:
    found = read(load_recipe("bank_marketing"), DATA / "bank_marketing" / "bank-full.csv")
    assert found.rows_read == found.rows_used == 45_211
    assert found.table["label"].mean() == pytest.approx(0.117, abs=1e-3)
    local = found.table["as_of"].dt.convert_time_zone("Europe/Lisbon")
    assert found.table["as_of"].is_sorted(), "the file is in order of time"
    assert (local.min().strftime("%Y-%m"), local.max().strftime("%Y-%m")) == ("2008-05", "2010-11")  # type: ignore[union-attr]
    assert local.dt.strftime("%b").str.to_lowercase().equals(found.table["month"].alias("as_of"))
    assert "duration" not in found.feature_columns
    first, last = found.table["label"][:31_648].mean(), found.table["label"][31_648:].mean()
    assert (first, last) == (pytest.approx(0.058, abs=1e-3), pytest.approx(0.254, abs=1e-3))


@pytest.mark.real_data
@needs_data
def test_cdnow_has_its_known_counts() -> None:
    found = read(load_recipe("cdnow"), DATA / "cdnow" / "CDNOW_master.txt")
    assert found.rows_read == found.rows_used == 69_659
    assert found.events["customer_id"].n_unique() == 23_570
