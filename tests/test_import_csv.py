"""CSV as it comes: what the standard library reads is read alike, and of what is no CSV no row is lost."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.importing import stream
from features.importing.csv_rows import read_csv
from features.importing.raw import Raw
from features.importing.schema import FileFormat
from features.importing.stream import blocks
from features.kernel.errors import InvalidRecipe

CSV = FileFormat(format="csv")
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BLOCKS = st.sampled_from([5, 17, 64, 1 << 20])
"""Bytes read at once: small, so that rows of a small file lie across the borders of blocks."""


def raw_of(folder: Path, content: bytes, form: FileFormat = CSV) -> Raw:
    (folder / "file.csv").write_bytes(content)
    return read_csv(form, folder / "file.csv")


def cells(raw: Raw) -> list[list[str]]:
    return [[cell or "" for cell in row] for row in raw.frame.rows()]


@pytest.fixture
def block_size(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


_CELLS = st.sampled_from(
    ["", "a", "b c", "x,y", 'q"q', '"', "l1\nl2", "é", "🙂", "1.5", " pad ", "'", "\r\n", "a\nb,c\n"]
)


@QUIET
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(_CELLS, min_size=width, max_size=width), min_size=1)
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
    block=BLOCKS,
)
def test_what_the_standard_library_writes_is_read_back(
    tmp_path: Path, block_size: pytest.MonkeyPatch, rows: list[list[str]], quoting: int, ending: str, block: int
) -> None:
    block_size.setattr(stream, "BLOCK", block)
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=ending)  # type: ignore[arg-type]
    writer.writerow([f"c{i}" for i in range(len(rows[0]))])
    writer.writerows(rows)
    raw = raw_of(tmp_path, text.getvalue().encode())
    assert cells(raw) == rows
    assert raw.broken.is_empty()
    assert raw.numbers.to_list() == list(range(1, len(rows) + 1))


@QUIET
@given(
    body=st.text(alphabet='ab,"\n\r;é\x00 ', min_size=1, max_size=80),
    spoilt=st.lists(st.tuples(st.integers(0, 79), st.sampled_from([0xE9, 0x81, 0xFF, 0x22])), max_size=3),
    block=BLOCKS,
)
def test_of_what_is_no_csv_every_row_is_numbered_once(
    tmp_path: Path, block_size: pytest.MonkeyPatch, body: str, spoilt: list[tuple[int, int]], block: int
) -> None:
    block_size.setattr(stream, "BLOCK", block)
    content = bytearray(body.encode())
    for at, byte in spoilt:
        content[at % len(content)] = byte
    raw = raw_of(tmp_path, b"c0,c1,c2\n" + bytes(content))
    numbers = sorted([*raw.numbers, *raw.broken["row"]])
    assert numbers == list(range(1, len(numbers) + 1))
    assert raw.frame.width == 3


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("7,1", "ragged_row"),
        ("7,1,2,3", "ragged_row"),
        ('7,"a,1', "broken_quotes"),
        ('7,"a" b,1', "broken_quotes"),
        ("7,\x81,1", "unreadable_text"),
    ],
)
def test_a_row_that_is_none_is_set_aside_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    content = f"a,b,c\n1,2,3\n{row}\n4,5,6\n".encode("latin-1")
    raw = raw_of(tmp_path, content)
    assert cells(raw) == [["1", "2", "3"], ["4", "5", "6"]]
    assert raw.broken.rows() == [(2, reason, row)]
    assert raw.numbers.to_list() == [1, 3]


def test_a_quote_that_never_closes_swallows_no_other_row(tmp_path: Path) -> None:
    rows = [f"{i},x,{i}" for i in range(1, 400)]
    raw = raw_of(tmp_path, "\n".join(["a,b,c", *rows[:100], '0,"open,0', *rows[100:], '0,"open,0', "1,x,1"]).encode())
    assert raw.frame.height == 400
    assert raw.broken["reason"].to_list() == ["broken_quotes"] * 2
    assert raw.broken["row"].to_list() == [101, 401]


def test_a_quote_within_a_field_is_taken_as_it_stands_and_counted(tmp_path: Path) -> None:
    raw = raw_of(tmp_path, b'a,b\n1,5" pipe\n2,say ""hi""\n3,"fine, ""too"""\n')
    assert cells(raw) == [["1", '5" pipe'], ["2", 'say ""hi""'], ["3", 'fine, "too"']]
    assert raw.corrections.counts() == {"stray_quote": 2}


def test_windows_1252_within_utf8_is_read_and_counted(tmp_path: Path) -> None:
    lines = ["a,b", "1,Österreich", "2,plain"]
    content = "\n".join(lines).encode() + b"\n3,caf\xe9 " + "für".encode() + b"\n"
    raw = raw_of(tmp_path, content)
    assert cells(raw) == [["1", "Österreich"], ["2", "plain"], ["3", "café für"]]
    assert raw.corrections.counts() == {"mis_encoded": 1}
    assert raw.corrections.examples("mis_encoded")[0]["row"] == 3


def test_what_the_declared_encoding_does_not_have_is_refused(tmp_path: Path) -> None:
    content = b"a,b\n1,caf\xe9\n2,\x81\n"
    raw = raw_of(tmp_path, content, FileFormat(format="csv", encoding="cp1252"))
    assert cells(raw) == [["1", "café"]]
    assert raw.broken["reason"].to_list() == ["unreadable_text"]


def test_a_byte_order_mark_and_old_line_ends(tmp_path: Path) -> None:
    raw = raw_of(tmp_path, b"\xef\xbb\xbfa,b\r1,2\r3,4")
    assert (raw.frame.columns, cells(raw)) == (["a", "b"], [["1", "2"], ["3", "4"]])
    assert raw.corrections.counts() == {"byte_order_mark": 1}


def test_names_that_are_missing_or_stand_there_twice_are_told_apart(tmp_path: Path) -> None:
    assert raw_of(tmp_path, b"a,,a\n1,2,3\n").frame.columns == ["a", "column_2", "a_3"]


def test_an_archive_is_read_like_its_file_and_a_cut_one_is_not(tmp_path: Path) -> None:
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5_000))
    packed = gzip.compress(content)
    assert cells(raw_of(tmp_path, packed)) == cells(raw_of(tmp_path, content))
    with pytest.raises(InvalidRecipe, match="cut off or damaged"):
        raw_of(tmp_path, packed[: len(packed) // 2])


def test_a_line_without_end_is_an_error_and_an_enormous_field_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_LINE", 40 * 2**20)
    large = "x" * (20 * 2**20)
    raw = raw_of(tmp_path, f"a,b\n1,{large}\n2,y\n".encode())
    assert raw.frame["b"].str.len_chars().to_list() == [len(large), 1]
    (tmp_path / "endless").write_bytes(b"x" * (50 * 2**20))
    with pytest.raises(InvalidRecipe, match="a line of more than 40 MB"):
        list(blocks(tmp_path / "endless"))
