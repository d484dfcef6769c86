"""Recipes for events: every row is used or counted, as plain Python would have it."""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.frames import EVENT_SCHEMA, to_events
from features.importing.reasons import BUILT_IN, CORRECTED
from features.recipe import Imported, load_recipe, read, recipe_names

SHOP = (Path(__file__).parent / "recipes" / "shop.yaml").read_text()
HEADER = "who,when,invoice,price,country\n"


def shop(folder: Path, rows: str, recipe: str = SHOP) -> Imported:
    """The rows read by the recipe, both written into the folder first."""
    (folder / "shop.yaml").write_text(recipe)
    (folder / "shop.csv").write_text(HEADER + rows)
    return read(load_recipe(folder / "shop.yaml"), folder / "shop.csv")


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_and_is_documented(name: str) -> None:
    assert load_recipe(name).about
    assert name in (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()


def test_every_built_in_reason_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    assert [reason for reason in BUILT_IN if f"| `{reason}` |" not in page] == []


def test_every_correction_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    assert [reason for reason in CORRECTED if f"| `{reason}` |" not in page] == []


BLOCKS = re.findall(r"```yaml\n(.*?)```", (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_every_recipe_and_part_of_one_on_the_page_is_right(tmp_path: Path, block: str) -> None:
    rest = SHOP.replace("file: {format: csv}\n", "") if block.startswith("file:") else SHOP
    text = block if block.startswith("kind:") else rest + block
    (tmp_path / "page.yaml").write_text(text)
    assert load_recipe(tmp_path / "page.yaml").columns


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


UNREADABLE = ("unparsable_date", "unparsable_number", "missing_date", "missing_amount")


def _fates(rows: list[tuple[str, ...]]) -> list[str]:
    """Of each row; what is left of an invoice with an unreadable line is incomplete."""
    alone = [_fate(row, rows[:i]) for i, row in enumerate(rows)]
    torn = {(row[0], row[2]) for row, name in zip(rows, alone, strict=True) if name in UNREADABLE}
    return [
        "incomplete_event" if " as " in name and (row[0], row[2]) in torn else name
        for row, name in zip(rows, alone, strict=True)
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_CELLS, min_size=1, max_size=25))
def test_every_row_has_the_fate_that_plain_python_gives_it(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    quoted = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    found = shop(tmp_path, quoted)
    expected = Counter(_fates(rows))
    assert Counter({name: n for name, n in (found.used | found.counts).items() if n}) == expected
    assert found.rows_used + sum(found.counts.values()) == found.rows_read == len(rows)

    events = list(to_events(found.events))  # each passes the kernel's own checks
    assert len({each.event_id for each in events}) == len(events)
    assert all(each.received_at == each.occurred_at for each in events)
    kept = list(zip(rows, _fates(rows), strict=True))
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


def test_a_missing_attribute_has_not_changed_and_of_one_instant_the_last_line_counts(tmp_path: Path) -> None:
    recipe = SHOP.replace("{country: country}", "{country: country, code: invoice}")
    rows = "7,2011-07-01 10:00,a,1,Eire\n7,2011-07-01 10:00,a,1,UK\n7,2011-07-02 10:00,a,1,\n7,2011-07-03 10:00,b,1,\n"
    profiles = shop(tmp_path, rows, recipe).events.filter(pl.col("type") == "profile")
    assert profiles["properties"].to_list() == ['{"code":"a","country":"UK"}', '{"code":"b","country":"UK"}']


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
