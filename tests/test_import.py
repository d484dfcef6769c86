"""The verb `import`: what was read is in the ledger and the history, once, and what was not is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import kairos
from features import history
from features.frames import EVENT_SCHEMA, events_frame
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.recipe import load_recipe, read

RECIPES = Path(__file__).parent / "recipes"
SHOP = RECIPES / "shop.yaml"
ROWS = """who,when,invoice,price,country
7,2011-07-01 10:00,1,0.1,UK
7,2011-07-01 10:00,1,0.2,UK
,2011-07-01 10:00,2,5,UK
7,2011-07-02 10:00,C1,-0.2,UK
a 🙂,2011-07-02 11:00,3,4.5,Eire
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    (tmp_path / "sales.csv").write_text(ROWS, encoding="utf-8")
    return tmp_path


def kairos_import(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["kairos", "import", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        kairos.main()
    return int(ended.value.code or 0)


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def ledger_events(home: Path) -> pl.DataFrame:
    ledger = Ledger(Settings(home=home / "home").ledger)
    try:
        return events_frame([row for part in ledger.events() for row in part])
    finally:
        ledger.close()


def test_events_are_in_the_ledger_and_the_history_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = read(load_recipe(SHOP), home / "sales.csv").events
    for receipts in ({"accepted": 5, "duplicate": 0}, {"accepted": 0, "duplicate": 5}):
        assert kairos_import(monkeypatch, home / "sales.csv", "--recipe", SHOP, "--json") == 0
        told = as_json(capsys)
        assert told["receipts"] == {"conflict": 0, "quarantined": 0} | receipts
        assert (told["used"], told["refused"]["no_customer_id"]) == ({"return as refund": 1, "sale as order": 3}, 1)
        assert sum(told["used"].values()) + sum(told["refused"].values()) == told["rows_read"] == 5
        assert ledger_events(home).equals(expected)
        assert history.read(Settings(home=home / "home")).select(*EVENT_SCHEMA).equals(expected)


def test_a_second_source_leaves_the_first_in_the_history(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = home / "branch.yaml"
    other.write_text(SHOP.read_text(encoding="utf-8"), encoding="utf-8")
    for recipe in (SHOP, other):
        assert kairos_import(monkeypatch, home / "sales.csv", "--recipe", recipe) == 0
    found = history.read(Settings(home=home / "home"))
    assert set(found["event_id"].str.split(":").list.first()) == {"shop", "branch"}


def test_a_changed_recipe_under_the_same_name_is_a_conflict(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = home / "shop.yaml"
    recipe.write_text(SHOP.read_text(encoding="utf-8"), encoding="utf-8")
    assert kairos_import(monkeypatch, home / "sales.csv", "--recipe", recipe) == 0
    before = ledger_events(home)
    recipe.write_text(SHOP.read_text(encoding="utf-8").replace("GBP", "EUR"), encoding="utf-8")
    assert kairos_import(monkeypatch, home / "sales.csv", "--recipe", recipe) == 2
    assert "3 events were recorded before with another content" in capsys.readouterr().err
    assert ledger_events(home).equals(before)


def test_a_dry_run_writes_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kairos_import(monkeypatch, home / "sales.csv", "--recipe", SHOP, "--dry-run") == 0
    told = capsys.readouterr().out
    assert "nothing was written" in told
    for reason in ("return as refund", "sale as order", "no_customer_id", "duplicate", "free"):
        assert reason in told
    assert not (home / "home").exists()


def test_snapshots_are_counted_and_not_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "calls.csv").write_text("month;day;job;gap;duration;y;hair\nnov;5;a;1;9;yes;red\nnov;5;a;1;9;perhaps;red\n")
    assert kairos_import(monkeypatch, home / "calls.csv", "--recipe", RECIPES / "calls.yaml", "--json") == 0
    told = as_json(capsys)
    assert (told["used"], told["refused"]["unlisted_label"], told["positives"]) == ({"labelled snapshot": 1}, 1, 1)
    assert told["excluded"] == {"duration": "known only after the call"}
    assert told["columns_not_named"] == ["hair"]
    assert kairos_import(monkeypatch, home / "calls.csv", "--recipe", RECIPES / "calls.yaml") == 0
    shown = capsys.readouterr().out
    assert "hair" in shown and "known only after the call" in shown
    assert not (home / "home").exists()


@pytest.mark.parametrize(
    ("file", "recipe", "told"),
    [
        ("sales.csv", "shopp.yaml", "there is no such recipe"),
        ("sales.csv", "online_retial", "did you mean online_retail?"),
        ("nowhere.csv", str(SHOP), "there is no such file"),
        ("sales.csv", "bank_marketing", "is file.separator ';' right?"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    recipe: str,
    told: str,
) -> None:
    assert kairos_import(monkeypatch, home / file, "--recipe", recipe) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not (home / "home").exists()
