"""Files that are broken, absent, closed to us or something else: a clear error, or every row accounted for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import kairos
from features.importing.ndjson import read_ndjson
from features.importing.raw import Raw
from features.importing.schema import FileFormat
from features.kernel.errors import InvalidInput, InvalidRecipe, KairosError
from features.recipe import load_recipe, read

RECIPES = Path(__file__).parent / "recipes"
SHOP = (RECIPES / "shop.yaml").read_text()
HEADER = "who,when,invoice,price,country\n"
GOOD = "7,2011-07-01 10:00,1,1,UK\n"
ROW = '{"who": "%s", "when": "2011-07-01 10:00", "invoice": %d, "price": %s, "country": "UK"}\n'


def shop(folder: Path, content: bytes, form: str = "csv", name: str = "shop.csv") -> Path:
    (folder / name).write_bytes(content)
    (folder / "shop.yaml").write_text(SHOP.replace("format: csv", f"format: {form}"))
    return folder / name


def ndjson(folder: Path, content: bytes) -> Raw:
    (folder / "rows.ndjson").write_bytes(content)
    return read_ndjson(FileFormat(format="ndjson"), folder / "rows.ndjson")


# -- files that are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "form", "told"),
    [
        (b"", "csv", "is empty"),
        (b"", "ndjson", "is empty"),
        (b"", "parquet", "is empty"),
        (HEADER.encode(), "csv", "has no rows"),
        (b"\n\n", "ndjson", "no such column"),
        (b"no json\n[1]\n", "ndjson", "no line is a JSON object"),
        (b"PAR1 no parquet PAR1", "parquet", "cannot be read as parquet"),
        (b"\x00\x01\x02,\n1,2\n", "csv", "is no text"),
    ],
)
def test_a_file_without_rows_is_named_as_such(tmp_path: Path, content: bytes, form: str, told: str) -> None:
    file = shop(tmp_path, content, form)
    with pytest.raises(KairosError, match=told):
        read(load_recipe(tmp_path / "shop.yaml"), file)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is a folder"):
        read(load_recipe(RECIPES / "shop.yaml"), tmp_path)


@contextmanager
def without_rights() -> Iterator[None]:
    """As somebody who may not read everything, as root may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_that_may_not_be_read(closed: str) -> None:
    recipe = load_recipe(RECIPES / "shop.yaml")
    with tempfile.TemporaryDirectory() as name:  # the way to pytest's own folders is closed to others
        folder = Path(name)
        folder.chmod(0o755)
        file = shop(folder, (HEADER + GOOD).encode())
        (file if closed == "file" else folder).chmod(0o000)
        try:
            with without_rights(), pytest.raises(InvalidInput, match=r"may not be read.*chmod"):
                read(recipe, file)
        finally:
            folder.chmod(0o755)


def test_a_parquet_file_cut_in_half(tmp_path: Path) -> None:
    at = [datetime(2011, 7, 1) + timedelta(minutes=i) for i in range(5_000)]  # noqa: DTZ001
    pl.DataFrame(
        {"who": ["7"] * 5_000, "when": at, "invoice": range(5_000), "price": [1.0] * 5_000, "country": ["UK"] * 5_000}
    ).write_parquet(tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    whole = shop(tmp_path, content, "parquet")
    recipe = load_recipe(tmp_path / "shop.yaml")
    assert read(recipe, whole).rows_used == 5_000
    with pytest.raises(InvalidRecipe, match="cannot be read as parquet"):
        read(recipe, shop(tmp_path, content[: len(content) // 2], "parquet"))


# -- NDJSON ------------------------------------------------------------------------------------------------------------


def test_ndjson_is_read_like_csv_of_the_same_rows(tmp_path: Path) -> None:
    rows = [("7", 1, "1.5"), ("8", 2, "-2"), ("", 3, "4")]
    lines = "".join(ROW % row for row in rows).encode()
    plain = HEADER + "".join(f"{who},2011-07-01 10:00,{invoice},{price},UK\n" for who, invoice, price in rows)
    as_csv = read(load_recipe(RECIPES / "shop.yaml"), shop(tmp_path, plain.encode()))
    file = shop(tmp_path, lines, "ndjson")
    found = read(load_recipe(tmp_path / "shop.yaml"), file)
    assert found.events.equals(as_csv.events)
    assert found.counts == as_csv.counts


def test_a_broken_line_is_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    content = (ROW % ("7", 1, "1")).encode() + b'{"who": "8", "when"\n[1, 2]\n\n' + (ROW % ("9", 2, "1")).encode()[:-1]
    file = shop(tmp_path, content, "ndjson")
    found = read(load_recipe(tmp_path / "shop.yaml"), file)
    assert (found.rows_read, found.used["sale as order"], found.counts["broken_line"]) == (4, 2, 2)
    assert found.examples("broken_line") == [{"row": 2, "text": '{"who": "8", "when"'}, {"row": 3, "text": "[1, 2]"}]


def test_values_of_json_keep_what_they_say(tmp_path: Path) -> None:
    raw = ndjson(
        tmp_path,
        b'\xef\xbb\xbf{"a": 1, "b": {"c": "x", "d": {"e": true}}, "f": [1, {"g": 2}]}\n'
        b'{"a": 123456789012345678901234567890, "h": null}\n{"a": NaN, "b": 2}\n{"a": 17850.0}\n{"a": Infinity}\n',
    )
    assert raw.frame["a"].to_list() == ["1", "123456789012345678901234567890", "nan", "17850.0", "inf"]
    assert raw.frame.row(0, named=True) == {
        "a": "1",
        "b.c": "x",
        "b.d.e": "true",
        "f": '[1,{"g":2}]',
        "h": None,
        "b": None,
    }
    assert raw.corrections.counts() == {"byte_order_mark": 1}


def test_a_line_of_another_encoding_is_mended_and_one_that_is_no_text_set_aside(tmp_path: Path) -> None:
    raw = ndjson(tmp_path, b'{"a": "caf\xe9"}\n{"a": "\x81"}\n{"a": "' + "für".encode() + b'"}\n')
    assert raw.frame["a"].to_list() == ["café", "für"]
    assert (raw.corrections.counts(), raw.broken["reason"].to_list()) == ({"mis_encoded": 1}, ["unreadable_text"])


def test_json_nested_beyond_reason_is_one_broken_line(tmp_path: Path) -> None:
    raw = ndjson(tmp_path, b'{"a": 1}\n' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b'\n{"a": 2}\n')
    assert raw.frame["a"].to_list() == ["1", "2"]
    assert raw.broken["reason"].to_list() == ["broken_line"]


# -- the command -------------------------------------------------------------------------------------------------------


def test_no_bad_file_is_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of them ends with one red line and exit code 2, and writes nothing."""
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    files = {
        "empty.csv": b"",
        "header.csv": HEADER.encode(),
        "binary.csv": bytes(range(256)) * 10,
        "cut.gz": b"\x1f\x8b\x08",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in (*files, ".", "nowhere.csv"):
        for arguments in (
            (str(tmp_path / name), "--recipe", str(RECIPES / "shop.yaml")),
            ("--infer", str(tmp_path / name)),
        ):
            monkeypatch.setattr("sys.argv", ["kairos", "import", *arguments])
            with pytest.raises(SystemExit) as ended:
                kairos.main()
            assert ended.value.code == 2, (name, arguments)
            assert ":" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "home").exists()
