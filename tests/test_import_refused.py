"""Refused rows are kept as they stood, can be mended and come back; expectations stop what should not come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import kairos
from features.frames import events_frame
from features.importing.expect import breaches, require
from features.importing.side import keep
from features.importing.source import REASON, ROW, TEXT, VALUES
from features.kernel.errors import InvalidRecipe, QualityBreach, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.recipe import load_recipe, read

RECIPES = Path(__file__).parent / "recipes"
SHOP = (RECIPES / "shop.yaml").read_text()
ROWS = """who,when,invoice,price,country
7,2011-07-01 10:00,1,0.1,UK
7,2011-07-01 10:00,1,0.2,UK
7,2011-07-01 10:00,1,0.2,UK
8,yesterday,2,5,UK
9,2011-07-02 10:00,3,five,"UK, north"
9,2011-07-02 10:00,3,1,"UK, north"
7,2011-07-03 10:00,4,2,UK,and more
a,2011-07-04 10:00,5,4.5,Eire
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    (tmp_path / "sales.csv").write_text(ROWS)
    (tmp_path / "shop.yaml").write_text(SHOP)
    return tmp_path


@pytest.fixture
def run(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`kairos import … --json`: its exit code, what it told, and what it said on stderr."""

    def call(file: str | Path, *more: str) -> tuple[int, dict[str, Any], str]:
        command = ["kairos", "import", str(shop / file), "--recipe", str(shop / "shop.yaml"), "--json", *more]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            kairos.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(told.out or "{}"), told.err

    return call


def orders(shop: Path) -> list[tuple[str, float]]:
    with Ledger.of(Settings(home=shop / "home")) as ledger:
        events = events_frame(row for part in ledger.events() for row in part)
    found = events.filter(pl.col("type") == "order").sort("event_id")
    return list(found.select("event_id", "amount").iter_rows())


def test_refused_rows_are_kept_with_number_reason_and_values(shop: Path, run: Any) -> None:
    code, told, _ = run("sales.csv")
    assert code == 0
    kept = pl.read_csv(told["refused_rows"], infer_schema=False)
    assert Path(told["refused_rows"]).is_relative_to(shop / "home" / "imports")
    assert kept.columns == [ROW, REASON, VALUES, TEXT, "who", "when", "invoice", "price", "country"]
    assert kept.select(ROW, REASON).rows() == [
        ("3", "duplicate"),
        ("4", "unparsable_date"),
        ("5", "unparsable_number"),
        ("6", "incomplete_event"),
        ("7", "ragged_row"),
    ]
    assert kept[VALUES].to_list()[1:3] == ['{"when":"yesterday"}', '{"price":"five"}']
    assert kept[TEXT].to_list()[4] == "7,2011-07-03 10:00,4,2,UK,and more"
    assert kept.row(2)[4:] == ("9", "2011-07-02 10:00", "3", "five", "UK, north")
    assert told["examples"]["refused"]["unparsable_number"] == [{"row": 5, "values": {"price": "five"}}]
    assert kept.height == sum(told["refused"].values()) == told["rows_read"] - sum(told["used"].values())


def test_what_was_mended_comes_back_and_completes_the_import(shop: Path, run: Any) -> None:
    _, told, _ = run("sales.csv")
    before = orders(shop)
    side = Path(told["refused_rows"])
    mended = side.read_text().replace(",yesterday,", ",2011-07-01 09:00,").replace(",five,", ",5,")
    mended = mended.replace('"7,2011-07-03 10:00,4,2,UK,and more",,,,,', ",7,2011-07-03 10:00,4,2,UK")
    (shop / "mended.csv").write_text(mended)
    code, told, _ = run("mended.csv")
    assert code == 0
    assert (told["used"]["sale as order"], told["refused"]["duplicate"]) == (4, 1), "a repeat stays a repeat"
    assert told["examples"]["refused"]["duplicate"][0]["row"] == 3, "rows keep their numbers"
    whole = shop / "whole"
    whole.mkdir()
    (whole / "sales.csv").write_text(
        ROWS.replace("yesterday", "2011-07-01 09:00").replace(",five,", ",5,").replace(",and more", "")
    )
    expected = read(load_recipe(shop / "shop.yaml"), whole / "sales.csv").events.filter(pl.col("type") == "order")
    assert orders(shop) == sorted(expected.select("event_id", "amount").iter_rows())
    assert set(before) < set(orders(shop))


def test_a_file_that_was_not_mended_changes_nothing(shop: Path, run: Any) -> None:
    _, told, _ = run("sales.csv")
    before = orders(shop)
    _, again, _ = run(told["refused_rows"])
    assert (sum(again["used"].values()), again["rows_read"]) == (0, 5)
    assert orders(shop) == before


def test_rows_that_are_events_by_their_number_keep_it(shop: Path, run: Any) -> None:
    (shop / "shop.yaml").write_text(
        SHOP.replace("one_per: [invoice], amount: SUM(price)", "one_per: [row], amount: SUM(price)")
    )
    _, told, _ = run("sales.csv")
    mended = Path(told["refused_rows"]).read_text().replace(",five,", ",5,")
    (shop / "mended.csv").write_text(mended)
    assert run("mended.csv")[0] == 0
    assert ("shop:sale:9:5", 5.0) in orders(shop)


def test_a_dry_run_keeps_refused_rows_only_where_it_is_told_to(shop: Path, run: Any) -> None:
    _, told, _ = run("sales.csv", "--dry-run")
    assert told["refused_rows"] is None
    assert not (shop / "home").exists()
    for name, form in (("kept.csv", pl.read_csv), ("kept.parquet", pl.read_parquet)):
        _, told, _ = run("sales.csv", "--dry-run", "--refused", str(shop / name))
        assert told["refused_rows"] == str(shop / name)
        assert form(shop / name).height == 5
    assert not (shop / "home").exists()


def test_a_parquet_source_keeps_its_types_in_the_side_file(shop: Path, run: Any) -> None:
    frame = pl.DataFrame(
        {
            "who": [7, None],
            "when": ["2011-07-01 10:00"] * 2,
            "invoice": [1, 2],
            "price": [1.5, 2.5],
            "country": ["UK"] * 2,
        }
    )
    frame.write_parquet(shop / "sales.parquet")
    (shop / "shop.yaml").write_text(SHOP.replace("format: csv", "format: parquet"))
    _, told, _ = run("sales.parquet")
    kept = pl.read_parquet(told["refused_rows"])
    assert kept.schema["price"] == pl.Float64 and kept[ROW].to_list() == [2]
    kept.with_columns(pl.lit(8, pl.Int64).alias("who")).write_parquet(shop / "mended.parquet")
    _, told, _ = run("mended.parquet")
    assert told["receipts"]["accepted"] == 2  # the order, and who it is from


def test_a_place_that_cannot_be_written_is_said_before_anything_is_recorded(shop: Path, run: Any) -> None:
    (shop / "taken").write_text("a file")
    code, _, err = run("sales.csv", "--refused", str(shop / "taken" / "refused.csv"))
    assert code == 1 and "cannot be written" in err
    code, _, err = run("sales.csv", "--refused", str(shop / "refused.xlsx"))
    assert code == 2 and "must end with .csv or .parquet" in err
    assert not (shop / "home" / "ledger.sqlite").exists()


def test_a_side_file_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "refused.csv").mkdir()
    with pytest.raises(Unavailable, match="cannot be written"):
        keep(pl.DataFrame({"a": [1]}), tmp_path / "refused.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["refused.csv"]


# -- expectations ------------------------------------------------------------------------------------------------------


def expecting(shop: Path, expect: str) -> None:
    (shop / "shop.yaml").write_text(SHOP + f"expect: {{{expect}}}\n")


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("rows_at_least: 9", "expect.rows_at_least: expected 9, found 8"),
        ("refused_at_most: 0.5", "expected 0.5, found 0.625"),
        ("refused: {unparsable_date: 0}", "found 0.125: row 4 {'when': 'yesterday'}"),
        ("refused: {ragged_row: 0}", "row 7 7,2011-07-03 10:00,4,2,UK,and more"),
        ("customers_at_least: 3", "expected 3, found 2"),
        ("customers_at_most: 1", "expected 1, found 2"),
        ("amount_at_most: 4", "expected 4.0, found 1 of 4 otherwise: shop:sale:a:5 (4.5)"),
        ("amount_at_least: 1", "shop:sale:7:1 (0.3)"),
        ("not_before: 2011-07-02", "found 2 of 4 otherwise: shop:profile:7:"),
        ("not_after: 2011-07-03", "found 2 of 4 otherwise: "),
        ("reaches: 2011-07-05", "expected 2011-07-05, found 2011-07-04 09:00 UTC"),
    ],
)
def test_an_expectation_that_does_not_hold_stops_the_import_and_names_rows(
    shop: Path, run: Any, expect: str, told: str
) -> None:
    expecting(shop, expect)
    for more in ((), ("--dry-run",)):
        code, report, err = run("sales.csv", *more)
        assert code == 1
        assert told in " ".join(err.split())
        assert [each["expectation"] for each in report["breaches"]] == [
            expect.split(":")[0] if "{" not in expect else f"refused.{expect.split('{')[1].split(':')[0]}"
        ]
        assert not (shop / "home").exists()


def test_expectations_that_hold_let_it_pass(shop: Path, run: Any) -> None:
    expecting(
        shop,
        "rows_at_least: 8, refused_at_most: 0.625, refused: {unparsable_date: 0.125, free: 0}, customers_at_least: 2, "
        "customers_at_most: 2, amount_at_least: 0.3, amount_at_most: 4.5, not_before: 2011-07-01, "
        "not_after: 2011-07-04, reaches: 2011-07-04",
    )
    code, report, _ = run("sales.csv")
    assert (code, report["breaches"], report["receipts"]["accepted"]) == (0, [], 4)


def test_the_share_of_positive_labels_may_be_expected(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("month;day;job;gap;duration;y\n" + "nov;5;a;1;9;yes\n" + "nov;5;a;1;9;no\n" * 3)
    for bounds, broken in (
        ("positive_at_least: 0.2, positive_at_most: 0.3", []),
        ("positive_at_most: 0.2", ["positive_at_most"]),
    ):
        (tmp_path / "calls.yaml").write_text((RECIPES / "calls.yaml").read_text() + f"expect: {{{bounds}}}\n")
        recipe = load_recipe(tmp_path / "calls.yaml")
        imported = read(recipe, tmp_path / "calls.csv")
        assert [each.expectation for each in breaches(recipe, imported)] == broken
    with pytest.raises(QualityBreach, match=r"expected 0\.2, found 0\.25"):
        require(recipe, imported)


@pytest.mark.parametrize(
    ("expect", "field"),
    [
        ("rows_atleast: 9", "expect.rows_atleast"),
        ("refused_at_most: 5", "expect.refused_at_most"),
        ("refused: {unparsable: 0}", "expect.refused.unparsable"),
        ("refused: {free: 2}", "expect.refused.free"),
        ("reaches: soon", "expect.reaches"),
        ("not_before: 2011-02-30", "expect.not_before"),
    ],
)
def test_an_expectation_that_makes_no_sense(shop: Path, expect: str, field: str) -> None:
    expecting(shop, expect)
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(shop / "shop.yaml")
    assert caught.value.field == field
