"""`kairos import --infer`: on real tables close to the recipes that people wrote, on nasty ones a reasoned refusal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import kairos
from features.importing.infer.facts import Facts
from features.importing.infer.leaks import auc, leak
from features.importing.infer.proposal import Proposal
from features.importing.infer.propose import propose_for_file
from features.importing.infer.sniff import sniff
from features.importing.load import parsed
from features.kernel.errors import InvalidInput
from features.recipe import Imported, load_recipe, read

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) are not here")


def inferred(file: Path, folder: Path) -> tuple[Proposal, Imported]:
    """The proposal, and what an import by it reads; both agree."""
    proposal = propose_for_file(file)
    (folder / "proposed.yaml").write_text(proposal.text, encoding="utf-8")
    found = read(load_recipe(folder / "proposed.yaml"), file)
    assert proposal.document == parsed(proposal.text, "")
    assert (proposal.used, proposal.refused) == (found.used, {name: n for name, n in found.counts.items() if n})
    assert all(each.why for each in proposal.guesses)
    return proposal, found


def orders_of(found: Imported, *columns: str) -> pl.DataFrame:
    kept = found.events.filter(pl.col("type").is_in(["order", "refund"]))
    return kept.select("type", "customer_id", "occurred_at", "amount", *columns).sort(pl.all())


# -- the real tables ---------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@needs_data
def test_online_retail_is_proposed_as_people_wrote_it(tmp_path: Path) -> None:
    file = DATA / "online_retail" / "onlineretail.parquet"
    proposal, found = inferred(file, tmp_path)
    shipped = read(load_recipe("online_retail"), file)
    named = {"cancellation as refund": "return as refund"}
    assert {named.get(name, name): n for name, n in shipped.used.items()} == found.used
    assert {name: n for name, n in shipped.counts.items() if n} == proposal.refused
    assert orders_of(found, "currency", "properties").equals(orders_of(shipped, "currency", "properties"))
    assert {each.column for each in proposal.suspicious} >= {"Quantity", "UnitPrice", "StockCode"}


@pytest.mark.real_data
@needs_data
def test_cdnow_is_proposed_as_people_wrote_it(tmp_path: Path) -> None:
    file = DATA / "cdnow" / "CDNOW_master.txt"
    _, found = inferred(file, tmp_path)
    assert orders_of(found, "currency", "properties").equals(
        orders_of(read(load_recipe("cdnow"), file), "currency", "properties")
    )


@pytest.mark.real_data
@needs_data
def test_a_file_without_names_is_told_by_its_values(tmp_path: Path) -> None:
    proposal, found = inferred(DATA / "cdnow" / "CDNOW_sample.txt", tmp_path)
    assert found.rows_used == 6_919
    assert found.events["customer_id"].n_unique() == 2_357
    assert (proposal.document["currency"], proposal.document["time_zone"]) == ("XXX", "UTC"), "nothing says which"
    lines = (DATA / "cdnow" / "CDNOW_sample.txt").read_text().splitlines()
    assert found.events["amount"].sum() == pytest.approx(sum(float(line.split()[-1]) for line in lines))


@pytest.mark.real_data
@needs_data
def test_bank_marketing_is_proposed_with_the_same_features_and_labels(tmp_path: Path) -> None:
    """All but what no file can say: the zone, and the year, which is set such that no row lies ahead of now."""
    file = DATA / "bank_marketing" / "bank-full.csv"
    proposal, found = inferred(file, tmp_path)
    shipped = read(load_recipe("bank_marketing"), file)
    assert set(found.feature_columns) == set(shipped.feature_columns)
    columns = ["id", "label", *sorted(shipped.feature_columns)]
    assert found.table.select(columns).equals(shipped.table.select(columns))
    assert "duration" in proposal.document["excluded"] and "AUC" in proposal.document["excluded"]["duration"]
    gap = (found.table["as_of"] - shipped.table["as_of"]).dt.total_days()
    assert gap.max() - gap.min() <= 1, "the same days, some years later"  # type: ignore[operator]
    assert found.table["as_of"].max() < datetime.now(UTC)  # type: ignore[operator]


@pytest.mark.real_data
@needs_data
def test_hillstrom_is_proposed_as_an_experiment_without_its_leaks(tmp_path: Path) -> None:
    """All but the day of the e-mail and the two weeks after it, of which the file says nothing."""
    file = DATA / "hillstrom" / "hillstrom.csv"
    proposal, found = inferred(file, tmp_path)
    shipped = read(load_recipe("hillstrom"), file)
    assert proposal.document["label"] == {"column": "visit", "positive": "1", "negative": "0"}
    assert proposal.document["treatment"] == {"column": "segment", "control": "No E-Mail"}
    assert set(proposal.document["excluded"]) == {"conversion", "spend"}
    columns = ["id", "label", "treatment", *sorted(shipped.feature_columns)]
    assert found.table.select(columns).equals(shipped.table.select(columns))


# -- made-up tables ----------------------------------------------------------------------------------------------------


def web_log(n: int = 400) -> list[dict[str, Any]]:
    kinds = ["view", "view", "add_to_cart", "purchase", "Wish List"]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        {
            "event_id": f"e{i}",
            "user": {"id": f"u{i % 40}", "country": "DE"},
            "type": kinds[i % 5],
            "ts": (start + timedelta(minutes=i)).isoformat().replace("+00:00", "Z"),
            "revenue": 10 + i / 4 if kinds[i % 5] == "purchase" else None,
        }
        for i in range(n)
    ]


def test_a_log_of_events_is_told_by_its_words(tmp_path: Path) -> None:
    (tmp_path / "log.ndjson").write_text("".join(json.dumps(each) + "\n" for each in web_log()))
    proposal, found = inferred(tmp_path / "log.ndjson", tmp_path)
    assert found.used == {
        "view as page_view": 160,
        "add_to_cart as cart": 80,
        "purchase as order": 80,
        "wish_list as custom": 80,
    }
    assert found.events.height == 400, "each row is an event of its own, by its id"
    assert proposal.document["columns"]["customer"]["column"] == "user.id"
    assert proposal.document["columns"]["at"]["format"] == "iso"
    assert found.events["occurred_at"].min() == datetime(2026, 1, 1, tzinfo=UTC)


def european(n: int = 60) -> str:
    lines = [
        f"{i % 20 + 1};{i % 28 + 1:02}.{i % 12 + 1:02}.2025 10:00;B{i};1.{i % 900 + 100},{i % 90 + 10} €"
        for i in range(n)
    ]
    return "\n".join(["Kundennr;Datum;Bestellung;Betrag", *lines]) + "\n"


def test_a_table_of_another_country(tmp_path: Path) -> None:
    (tmp_path / "umsatz.csv").write_text(european(), encoding="cp1252")
    proposal, found = inferred(tmp_path / "umsatz.csv", tmp_path)
    assert proposal.document["file"] == {"format": "csv", "separator": ";", "encoding": "cp1252"}
    assert proposal.document["columns"]["at"]["format"] == "%d.%m.%Y %H:%M"
    assert (proposal.document["currency"], proposal.document["time_zone"]) == ("EUR", "Europe/Berlin")
    assert found.rows_used == 60
    assert found.events.filter(pl.col("type") == "order")["amount"].min() == pytest.approx(1100.10)


def test_day_and_month_that_cannot_be_told_apart_are_said_to_be_so(tmp_path: Path) -> None:
    lines = [f"{i % 5},{i % 12 + 1:02}/{(i * 5) % 12 + 1:02}/2025,{i}.5" for i in range(40)]
    (tmp_path / "t.csv").write_text("customer_id,date,total\n" + "\n".join(lines))
    proposal, _ = inferred(tmp_path / "t.csv", tmp_path)
    why = next(each.why for each in proposal.guesses if each.where == "columns.at")
    assert "fits as well" in why
    assert any(each.column == "date" and "other way round" in each.what for each in proposal.suspicious)


def test_rows_that_stand_in_order_tell_day_from_month(tmp_path: Path) -> None:
    days = [datetime(2025, 1, 1) + timedelta(days=i) for i in range(0, 300, 40)]  # noqa: DTZ001
    days = [day.replace(day=min(day.day, 12)) for day in days]
    lines = [f"{i % 5},{days[i * len(days) // 40]:%m/%d/%Y},{i}.5" for i in range(40)]
    (tmp_path / "t.csv").write_text("customer_id,date,total\n" + "\n".join(lines))
    proposal, _ = inferred(tmp_path / "t.csv", tmp_path)
    assert proposal.document["columns"]["at"]["format"] == "%m/%d/%Y"


def test_what_is_suspicious_is_said(tmp_path: Path) -> None:
    header = "customer_id,order_id,ordered_at,amount,always,hardly,mixed,gap\n"
    rows = [
        f"c{i % 30},o{i},{'2999-01-01' if i == 7 else f'2025-03-{i % 28 + 1:02}'},{-1 if i == 3 else i}.5,same,"
        f"{'x' if i < 5 else ''},{i if i % 2 else 'word'},{-1 if i % 3 else i}\n"
        for i in range(300)
    ]
    (tmp_path / "t.csv").write_text(header + "".join(rows) + rows[0] + "one,two\n")
    proposal, found = inferred(tmp_path / "t.csv", tmp_path)
    told = {(each.column, each.what.split(":")[0]) for each in proposal.suspicious}
    assert {
        ("", "1 rows are ragged_row"),
        ("", "1 rows repeat an earlier one in every column"),
        ("ordered_at", "1 times lie ahead of now"),
        ("amount", "1 values are below zero"),
        ("always", "it is always 'same'"),
        ("hardly", "98.0 % of the rows have nothing there"),
        ("mixed", "mixed types"),
        ("gap", "-1 probably means not known"),
    } <= told
    assert found.counts["duplicate"] == found.counts["ragged_row"] == 1
    assert found.used["return as refund"] == 1


def test_several_currencies_are_not_added_up(tmp_path: Path) -> None:
    lines = [f"c{i % 9},o{i},2025-03-{i % 28 + 1:02} 10:00,{i}.5,{'EUR' if i % 10 else 'USD'}" for i in range(100)]
    (tmp_path / "t.csv").write_text("customer_id,order_id,created,total,currency\n" + "\n".join(lines))
    proposal, found = inferred(tmp_path / "t.csv", tmp_path)
    assert (proposal.document["currency"], found.counts["other_currency"], found.used["sale as order"]) == (
        "EUR",
        10,
        90,
    )


@pytest.mark.parametrize(
    "name", ["order", "group", "Price (in €)", "at", "customer", "row", "label", "price\nper piece", "select"]
)
def test_any_name_of_a_column_can_be_imported(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame(
        {
            "customer_id": [f"c{i % 9}" for i in range(50)],
            "created_at": [datetime(2025, 1, 1) + timedelta(hours=i) for i in range(50)],  # noqa: DTZ001
            "total amount": [float(i) for i in range(50)],
            name: [f"v{i % 9}" for i in range(50)],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    _, found = inferred(tmp_path / "t.parquet", tmp_path)
    assert found.rows_used == 50


def test_a_column_leaks_if_it_tells_the_label_and_does_not_if_it_does_not() -> None:
    label = pl.Series([0, 1] * 200)
    noise = Facts.of(pl.Series("noise", [str((i * 7919) % 101) for i in range(400)]))
    after = Facts.of(pl.Series("after", [f"{i % 2 * (1 + i % 3)}" for i in range(400)]))
    copy = Facts.of(pl.Series("copy", [("lost", "won")[i % 2] for i in range(400)]))
    assert 0.5 <= auc(noise, label) < 0.6
    assert leak(noise, label) == ""
    assert "whenever it is not 0" in leak(after, label)
    assert "AUC 1.000" in leak(copy, label)


# -- what cannot be guessed --------------------------------------------------------------------------------------------


WHEN = "when,b\n" + "".join(f"2025-01-{i + 1:02},{i}.5\n" for i in range(28))
HALF = "customer,b\n" + "".join(f"{i % 5},{'2025-01-01' if i % 2 else 'soon'}\n" for i in range(50))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1,2\n3,4\n", "2 readable rows, and 10 are needed"),
        ("a,b\n" + "".join(f"{i},{i * 2}\n" for i in range(50)), "no column reads as times"),
        ("a,b\n" + "".join(f"{i},{i * 2}\n" for i in range(50)), "no column is an outcome"),
        (
            "when,b\n" + "".join(f"2025-01-{i + 1:02},{i}.5\n" for i in range(28)),
            "no column is named like a customer's id",
        ),
        (
            "customer,b\n" + "".join(f"{i % 5},{'2025-01-01' if i % 2 else 'soon'}\n" for i in range(50)),
            "no column reads as times",
        ),
        ("a,b,c\n" + "1,2\n" * 60 + "1,2,3\n" * 20, "most of its rows cannot be read: 60 ragged_row"),
        ("y,z\n" + "".join(f"{i % 2},same\n" for i in range(50)), "no column can be a feature; z: it is always same"),
        ("lorem ipsum dolor\n" * 50, "no column"),
    ],
)
def test_what_cannot_be_guessed_is_declined_with_reasons(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InvalidInput, match=r"no recipe can be proposed: .*; name the columns in a recipe") as caught:
        propose_for_file(tmp_path / "t.csv")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"a;b\n1;2\n3;4\n", {"separator": ";"}),
        (b"a\tb\n1\t2\n", {"separator": "\t"}),
        (b'a|b\n"1|1"|2\n3|4\n', {"separator": "|"}),
        (b"a,b\n1,caf\xe9\n", {"encoding": "cp1252"}),
        ("a,b\n1,é\n".encode() + b"2,caf\xe9\n", {"encoding": "utf8"}),
        ("a,b\n1,é\n".encode("utf-16"), {"encoding": "utf-16"}),
        (b"1,2\n3,4\n5,6\n", {"header": ("column_1", "column_2")}),
        (b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n', {"format": "ndjson"}),
        (b"{a},{b}\n1,2\n", {"format": "csv", "separator": ","}),
    ],
)
def test_how_a_file_is_written_is_found_out(tmp_path: Path, content: bytes, form: dict[str, Any]) -> None:
    (tmp_path / "t").write_bytes(content)
    found = sniff(tmp_path / "t").format
    assert {name: getattr(found, name) for name in form} == form


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_writes_and_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    (tmp_path / "umsatz.csv").write_text(european(), encoding="cp1252")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["kairos", "import", *arguments])
        with pytest.raises(SystemExit) as ended:
            kairos.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    file, out = str(tmp_path / "umsatz.csv"), str(tmp_path / "umsatz.yaml")
    code, printed, _ = run("--infer", file)
    assert code == 0 and yaml.safe_load(printed)["kind"] == "events"
    code, told, _ = run("--infer", file, "--out", out)
    assert code == 0 and "Kundennr" in Path(out).read_text() and "--dry-run" in told
    assert Path(out).read_text() == printed
    assert run("--infer", file, "--out", out)[0] == 2, "nothing is written over"
    code, told, _ = run("--infer", file, "--json")
    document = json.loads(told)
    assert document["yaml"] == printed and document["used"] == {"sale as order": 60}
    assert {each["where"] for each in document["guesses"]} >= {
        "columns.at",
        "columns.customer",
        "currency",
        "time_zone",
    }
    code, told, _ = run(file, "--recipe", out, "--dry-run", "--json")
    assert code == 0 and json.loads(told)["used"] == {"sale as order": 60}


def test_a_query_is_looked_at_like_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sqlite3

    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE t (customer_id INTEGER, created TEXT, total REAL)")
        rows = [(i % 9, f"2025-01-01T{i // 60:02}:{i % 60:02}:00", i / 4) for i in range(100)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    query = "SELECT * FROM t WHERE created LIKE '2025%'"
    out = str(tmp_path / "t.yaml")
    for arguments in (("--infer", "--sql", query, "--out", out), ("--recipe", out, "--dry-run")):
        monkeypatch.setattr("sys.argv", ["kairos", "import", str(tmp_path / "shop.db"), *arguments])
        with pytest.raises(SystemExit) as ended:
            kairos.main()
        assert ended.value.code == 0
    assert yaml.safe_load(Path(out).read_text())["file"] == {"format": "sql", "query": query}
    assert "100 events of 9 people" in capsys.readouterr().out
