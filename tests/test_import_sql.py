"""A SQL query as the source: SQLite and PostgreSQL, read only, in parts, and no password in any message."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import create_engine, text

import kairos
from features.importing import query as module
from features.importing.query import read_query, shown
from features.importing.schema import FileFormat
from features.kernel.errors import InvalidInput, InvalidRecipe, KairosError, NotFound, Unavailable
from features.recipe import EventRecipe, SnapshotRecipe, load_recipe, read

RECIPES = Path(__file__).parent / "recipes"
ROWS = [
    ("7", "2011-07-01 10:00", "1", 0.1, "UK"),
    ("7", "2011-07-01 10:00", "1", 0.2, "UK"),
    (None, "2011-07-01 10:00", "2", 5.0, "UK"),
    ("8", "2011-07-02 10:00", "C1", -2.5, "Eire: 5%"),
]
COLUMNS = ("who", "when", "invoice", "price", "country")
TABLE = 'CREATE TABLE sales (who TEXT, "when" TEXT, invoice TEXT, price NUMERIC(9, 2), country TEXT)'
QUERY = "SELECT who, \"when\", invoice, price, country FROM sales WHERE country NOT LIKE 'x%:y' ORDER BY invoice, price"


def by_query(query: str = QUERY) -> EventRecipe | SnapshotRecipe:
    return msgspec.structs.replace(load_recipe(RECIPES / "shop.yaml"), file=FileFormat(format="sql", query=query))


@pytest.fixture
def filled(ledger_url: str) -> str:
    """A database of each kind with the table of sales."""
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text(TABLE))
        insert = text("INSERT INTO sales VALUES (:who, :when, :invoice, :price, :country)")
        connection.execute(insert, [dict(zip(COLUMNS, row, strict=True)) for row in ROWS])
    engine.dispose()
    return ledger_url


def test_a_query_is_read_like_csv_of_the_same_rows(filled: str, tmp_path: Path) -> None:
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in ROWS]
    (tmp_path / "sales.csv").write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    as_csv = read(load_recipe(RECIPES / "shop.yaml"), tmp_path / "sales.csv")
    found = read(by_query(), None, url=filled)
    assert found.events.equals(as_csv.events)
    assert (found.counts, found.used) == (as_csv.counts, as_csv.used)


def test_parts_come_together_whatever_their_kinds(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_query(filled, QUERY).frame
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    assert read_query(filled, QUERY).frame.equals(whole)


@pytest.mark.parametrize("statement", ["DELETE FROM sales", "DROP TABLE sales", "UPDATE sales SET who = 'x'"])
def test_a_query_that_writes_is_refused_and_changes_nothing(filled: str, statement: str) -> None:
    with pytest.raises(InvalidRecipe):
        read_query(filled, statement)
    assert read_query(filled, QUERY).frame.height == len(ROWS)


def test_a_query_that_cannot_be_answered_says_why(filled: str) -> None:
    with pytest.raises(InvalidRecipe, match=r"query: cannot be answered: .*nothing_like_it"):
        read_query(filled, "SELECT * FROM nothing_like_it")
    with pytest.raises(InvalidRecipe, match="no such column"):
        read(by_query("SELECT who FROM sales"), None, url=filled)
    with pytest.raises(InvalidRecipe, match="has no rows"):
        read(by_query("SELECT * FROM sales WHERE price > 1000"), None, url=filled)


def test_sqlite_may_hold_several_kinds_of_values_in_a_column(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE t (a, b, c)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [(1, None, 1), ("x", 2, 2.5), (b"y", None, None)])
    frame = read_query(f"sqlite:///{tmp_path / 'shop.db'}", "SELECT a, b, c, c FROM t").frame
    assert frame["a"].to_list() == ["1", "x", "y"]
    assert (frame["b"].to_list(), frame["c"].to_list()) == ([None, 2, None], [1.0, 2.5, None])
    assert frame.columns == ["a", "b", "c", "c_4"]


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"postgresql://me:{SECRET}@127.0.0.1:1/shop", Unavailable),
        (f"postgresql+psycopg://me@127.0.0.1:1/shop?password={SECRET}", Unavailable),
        (f"postgres://me:{SECRET}@127.0.0.1:1/shop", Unavailable),
        (f"mysql://me:{SECRET}@127.0.0.1/shop", InvalidInput),
        (f"nonsense://me:{SECRET}@127.0.0.1/shop", InvalidInput),
        (f"://me:{SECRET}@127.0.0.1/shop", InvalidInput),
        (f"sqlite:///nowhere.db?password={SECRET}", NotFound),
    ],
)
def test_no_message_shows_a_password(
    url: str,
    kind: type[KairosError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(kind) as caught:
        read_query(url, "SELECT 1")
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAIROS_SOURCE_URL", url)
    monkeypatch.setattr("sys.argv", ["kairos", "import", "--recipe", str(RECIPES / "shop.yaml"), "--sql", "SELECT 1"])
    with pytest.raises(SystemExit):
        kairos.main()
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err


def test_a_url_is_shown_without_what_is_secret() -> None:
    assert (
        shown(f"postgresql://me:{SECRET}@host/shop?sslmode=require&password={SECRET}")
        == "postgresql+psycopg://me:***@host/shop"
    )


def test_a_recipe_may_hold_the_query_and_a_sqlite_file_stands_for_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute(TABLE)
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", ROWS)
    quoted = QUERY.replace('"', '\\"')
    recipe = (RECIPES / "shop.yaml").read_text().replace("{format: csv}", f'{{format: sql, query: "{quoted}"}}')
    (tmp_path / "db.yaml").write_text(recipe)
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        "sys.argv", ["kairos", "import", str(tmp_path / "shop.db"), "--recipe", str(tmp_path / "db.yaml")]
    )
    with pytest.raises(SystemExit) as ended:
        kairos.main()
    assert ended.value.code == 0
    assert "Ledger: 4 accepted" in capsys.readouterr().out
    assert [each.suffix for each in (tmp_path / "home" / "imports").glob("*/refused.*")] == [".parquet"]
