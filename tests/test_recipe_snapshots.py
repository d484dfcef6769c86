"""Recipes for labelled snapshots: instants, labels, features, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from features.recipe import Imported, load_recipe, read

CALLS = (Path(__file__).parent / "recipes" / "calls.yaml").read_text()
CALL_HEADER = "month;day;job;gap;duration;y\n"


def calls(folder: Path, rows: str, recipe: str = CALLS) -> Imported:
    (folder / "calls.yaml").write_text(recipe)
    (folder / "calls.csv").write_text(CALL_HEADER + rows)
    return read(load_recipe(folder / "calls.yaml"), folder / "calls.csv")


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
