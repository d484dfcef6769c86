"""Files that are not what a recipe says, and files that are, in all their spellings."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from features.kernel.errors import InvalidRecipe, KairosError, NotFound
from features.recipe import Imported, load_recipe, read

SHOP = (Path(__file__).parent / "recipes" / "shop.yaml").read_text()
HEADER = "who,when,invoice,price,country\n"


def shop(folder: Path, rows: str, recipe: str = SHOP) -> Imported:
    """The rows read by the recipe, both written into the folder first."""
    (folder / "shop.yaml").write_text(recipe)
    (folder / "shop.csv").write_text(HEADER + rows)
    return read(load_recipe(folder / "shop.yaml"), folder / "shop.csv")


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
        ((HEADER + GOOD_ROW).encode("utf-16"), "file.encoding", "say file.encoding: utf-16"),
        (b'"who,when\n7,1\n', "file", "a quote in its first line is not closed"),
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
