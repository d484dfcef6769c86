"""Values of a table: numbers and times as people write them; what was mended is counted, what is unclear refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from features.importing.numbers import read_numbers
from features.importing.times import read_times
from features.recipe import Imported, load_recipe, read

SHOP = (Path(__file__).parent / "recipes" / "shop.yaml").read_text()
HEADER = "who,when,invoice,price,country\n"


def shop(folder: Path, rows: str, recipe: str = SHOP) -> Imported:
    (folder / "shop.yaml").write_text(recipe)
    (folder / "shop.csv").write_text(HEADER + rows, encoding="utf-8")
    return read(load_recipe(folder / "shop.yaml"), folder / "shop.csv")


@pytest.mark.parametrize(
    ("text", "number", "corrected"),
    [
        ("12.5", 12.5, set()),
        ("1e3", 1000.0, set()),
        ("12,5", 12.5, {"decimal_comma"}),
        ("12,3456", 12.3456, {"decimal_comma"}),
        ("1.234,56", 1234.56, {"decimal_comma"}),
        ("1,234.56", 1234.56, {"thousands_separator"}),
        ("1,234,567", 1234567.0, {"thousands_separator"}),
        ("1 234", 1234.0, {"thousands_separator"}),
        ("1'234.5", 1234.5, {"thousands_separator"}),
        ("£12.50", 12.5, {"currency_sign"}),
        ("-€5", -5.0, {"currency_sign"}),
        ("EUR 1.234,50", 1234.5, {"currency_sign", "decimal_comma"}),
        ("1,234", None, set()),  # twelve hundred in London, one and a bit in Berlin
        ("1 23", None, set()),
        ("1.2.3", None, set()),
        ("(5)", None, set()),
        ("5%", None, set()),
        ("two", None, set()),
    ],
)
def test_a_number_is_read_if_there_is_one_way_to_read_it(text: str, number: float | None, corrected: set[str]) -> None:
    values, found = read_numbers(pl.Series([text, "7"]))
    assert values.to_list() == [number, 7.0]
    assert set(found) == corrected
    assert all(mask.to_list() == [True, False] for mask in found.values())


def test_a_column_with_a_decimal_comma_is_read_so_throughout() -> None:
    values, corrected = read_numbers(pl.Series(["1.234", "12,5", "12.50", "-3", "1 234,5", None]), ",")
    assert values.to_list() == [1234.0, 12.5, None, -3.0, 1234.5, None]
    assert corrected == {}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2011-07-01T10:00:00Z", datetime(2011, 7, 1, 10, tzinfo=UTC)),
        ("2011-07-01T10:00:00.25+02:00", datetime(2011, 7, 1, 8, 0, 0, 250_000, tzinfo=UTC)),
        ("2011-07-01 10:00-0530", datetime(2011, 7, 1, 15, 30, tzinfo=UTC)),
        ("2011-07-01 10:00", datetime(2011, 7, 1, 10, tzinfo=ZoneInfo("Europe/London"))),
        ("2011-07-01", datetime(2011, 7, 1, tzinfo=ZoneInfo("Europe/London"))),
        ("2011-03-27 01:30", None),  # London's clocks skip that hour
        ("2011-02-30", None),
        ("2011-07-01T10:00+99:00", None),
    ],
)
def test_iso_takes_times_with_and_without_an_offset_in_one_column(text: str, instant: datetime | None) -> None:
    column = pl.Series([text, "2011-07-01T10:00:00Z", "2011-07-01 10:00"])
    found = read_times(column, "iso", "Europe/London", "columns.at")[0]
    assert found.to_list()[0] == instant
    assert found.to_list()[1:] == [datetime(2011, 7, 1, 10, tzinfo=UTC), datetime(2011, 7, 1, 9, tzinfo=UTC)]


def test_seconds_since_1970() -> None:
    column = pl.Series(["1309514400", "1309514400.5", "soon", "99999999999999999999"])
    instant = datetime(2011, 7, 1, 10, tzinfo=UTC)
    assert read_times(column, "epoch", "", "")[0].to_list() == [
        instant,
        instant.replace(microsecond=500_000),
        None,
        None,
    ]
    assert read_times(pl.Series([1309514400123]), "epoch_ms", "", "")[0].dt.millisecond().to_list() == [123]


def test_of_an_hour_that_clocks_repeat_the_first_is_taken_and_counted(tmp_path: Path) -> None:
    found = shop(tmp_path, "7,2011-10-30 01:30,1,1,\n7,2011-10-30 02:30,2,1,\n")
    assert found.events["occurred_at"].to_list()[0] == datetime(2011, 10, 30, 0, 30, tzinfo=UTC)
    assert found.corrections.counts() == {"repeated_hour": 1}


def test_what_was_mended_is_counted_by_rows_and_shown(tmp_path: Path) -> None:
    rows = ' 7 ,2011-07-01 10:00,1,"1,5"," UK"\n17850.0,2011-07-01 10:00,2, 3 ,UK\n8,2011-07-01 10:00,3,4,UK\n'
    found = shop(tmp_path, rows)
    assert found.corrections.counts() == {"trimmed": 2, "decimal_comma": 1, "point_zero_id": 1}
    assert found.corrections.examples("decimal_comma") == [{"row": 1, "column": "price", "was": "1,5", "became": 1.5}]
    assert set(found.events["customer_id"]) == {"7", "17850", "8"}
    assert found.rows_used == 3


def test_a_column_that_changes_its_type_half_way(tmp_path: Path) -> None:
    good = "".join(f"7,2011-07-01 10:00,{i},{i}.5,UK\n" for i in range(1, 51))
    bad = "".join(f"7,01/07/2011 10:00,{i},ten,UK\n" for i in range(51, 101))
    found = shop(tmp_path, good + bad)
    assert (found.used["sale as order"], found.counts["unparsable_date"]) == (50, 50)
    assert found.examples("unparsable_date")[0] == {"row": 51, "values": {"when": "01/07/2011 10:00"}}


def test_ids_may_hold_blanks_and_emoji(tmp_path: Path) -> None:
    found = shop(tmp_path, "a b 🙂,2011-07-01 10:00,№ 1,1,UK\n")
    assert found.events["customer_id"].unique().to_list() == ["a b 🙂"]


@pytest.mark.parametrize(("price", "reason"), [("inf", "unparsable_number"), ("-inf", "unparsable_number")])
def test_an_infinite_amount_is_refused(tmp_path: Path, price: str, reason: str) -> None:
    assert shop(tmp_path, f"7,2011-07-01 10:00,1,{price},UK\n").counts[reason] == 1


def test_an_amount_that_is_not_a_number_is_missing(tmp_path: Path) -> None:
    assert shop(tmp_path, "7,2011-07-01 10:00,1,NaN,UK\n").counts["missing_amount"] == 1


def test_rows_out_of_order_make_the_same_events(tmp_path: Path) -> None:
    rows = [f"{i % 3},2011-07-{i + 1:02} 10:00,{i},{i + 1},UK\n" for i in range(20)]
    forwards, backwards = shop(tmp_path, "".join(rows)), shop(tmp_path, "".join(reversed(rows)))
    assert forwards.events.equals(backwards.events)


LARGE = SHOP.replace("properties: {items: COUNT(*)}", "properties: {note: country}").replace(
    "profile: {country: country}\n", ""
)


def test_properties_of_ten_megabytes_are_refused_and_the_rest_is_used(tmp_path: Path) -> None:
    found = shop(tmp_path, f"7,2011-07-01 10:00,1,1,{'x' * 10_000_000}\n8,2011-07-01 10:00,2,1,UK\n", LARGE)
    assert (found.counts["properties_too_large"], found.used["sale as order"]) == (1, 1)
    assert found.events.height == 1


def test_an_attribute_of_ten_megabytes_is_refused(tmp_path: Path) -> None:
    found = shop(tmp_path, f"7,2011-07-01 10:00,1,1,{'x' * 10_000_000}\n8,2011-07-01 10:00,2,1,UK\n")
    assert (found.counts["properties_too_large"], found.used["sale as order"]) == (1, 1)


def test_a_field_longer_than_the_ledger_takes_is_refused(tmp_path: Path) -> None:
    recipe = SHOP.replace("{reason: sale, event: order,", "{reason: sale, event: order, fields: {campaign: country},")
    recipe = recipe.replace("profile: {country: country}\n", "")
    found = shop(tmp_path, f"7,2011-07-01 10:00,1,1,{'x' * 201}\n8,2011-07-01 10:00,2,1,UK\n", recipe)
    assert (found.counts["unusable_field"], found.used["sale as order"]) == (1, 1)


def test_a_custom_event_needs_its_name(tmp_path: Path) -> None:
    recipe = SHOP.replace(
        "event: order, one_per: [invoice], amount: SUM(price), properties: {items: COUNT(*)}",
        "event: custom, one_per: [row], properties: {name: country}",
    )
    found = shop(tmp_path, "7,2011-07-01 10:00,1,1,\n8,2011-07-01 10:00,2,1,UK\n", recipe)
    assert (found.counts["missing_name"], found.used["sale as custom"]) == (1, 1)


def test_an_unknown_type_of_event_is_counted_under_no_rule(tmp_path: Path) -> None:
    recipe = SHOP.replace("reason: sale, event", "reason: sale, when: country = 'purchase', event")
    found = shop(tmp_path, "7,2011-07-01 10:00,1,1,purchase\n7,2011-07-01 10:00,2,1,teleport\n", recipe)
    assert (found.used["sale as order"], found.counts["no_rule_fits"]) == (1, 1)
    assert found.examples("no_rule_fits") == [{"row": 2, "values": {"price": "1", "country": "teleport"}}]


def test_an_id_that_stands_there_twice_with_another_body(tmp_path: Path) -> None:
    recipe = SHOP.replace("{reason: free, when: price = 0}", "{reason: id_again, repeats: [invoice]}")
    found = shop(tmp_path, "7,2011-07-01 10:00,e1,1,UK\n7,2011-07-01 10:00,e1,2,UK\n", recipe)
    assert (found.used["sale as order"], found.counts["id_again"]) == (1, 1)
    assert found.events.filter(pl.col("type") == "order")["amount"].to_list() == [1.0]
