"""How a file is written: format, encoding, separator, and whether its first line is a header."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from features.importing.csv_block import fields_of
from features.importing.lines import mended
from features.importing.schema import FileFormat
from features.importing.stream import check_file
from features.kernel.errors import InvalidInput

__all__ = ["Sniffed", "sniff"]

_HEAD = 256 * 1024
_LINES = 200
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar", "whitespace": "blanks"}


@dataclass(frozen=True, slots=True)
class Sniffed:
    """A file's format, and for each part of it why."""

    format: FileFormat
    why: dict[str, str] = field(default_factory=dict)


def sniff(path: Path) -> Sniffed:
    """Find out how a file is written.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a folder, may not be read, or is neither text nor Parquet.
        InvalidRecipe: it is empty.
    """
    check_file(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PAR1"):
        return Sniffed(FileFormat(format="parquet"), {"format": "the file begins as Parquet does"})
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as unpacked:
                head = unpacked.read(_HEAD)
        except (OSError, EOFError) as error:
            raise InvalidInput(f"is a damaged archive: {error}", field="file", value=str(path)) from None
    encoding, why = _encoding(head)
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    if "\x00" in text:
        raise InvalidInput(
            "is neither text nor Parquet", field="file", value=str(path), remedy="export it as CSV, NDJSON or Parquet"
        )
    lines = [each for each in text.splitlines() if each.strip()]
    lines = lines[:-1] if len(head) == _HEAD and len(lines) > 1 else lines  # the last one is cut off
    if lines and re.match(r'\s*\{\s*["}]', lines[0]):
        return Sniffed(FileFormat(format="ndjson", encoding=encoding), why | {"format": "its lines are JSON objects"})
    return _csv(lines[:_LINES], encoding, why)


def _encoding(head: bytes) -> tuple[str, dict[str, str]]:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", {"encoding": "it begins with the mark of UTF-16"}
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(head) == _HEAD and error.start >= _HEAD - 4:  # a character cut off by the end of what was read
            return "utf8", {}
        text = mended(head)
        if text is not None and any(0xC3 <= each <= 0xF4 for each in head) and _some_utf8(head):
            return "utf8", {"encoding": "some lines are not UTF-8; they are read as Windows-1252 and counted"}
        return "cp1252", {"encoding": "its bytes are not UTF-8 but read as Windows-1252"}
    return "utf8", {}


def _some_utf8(head: bytes) -> bool:
    """Whether some line that is not plain ASCII is valid UTF-8."""
    for line in head.splitlines():
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError:
                continue
            return True
    return False


def _csv(lines: list[str], encoding: str, why: dict[str, str]) -> Sniffed:
    widths = {sign: _widths(lines, sign) for sign in _SEPARATORS}
    fits = {sign: _fit(found) for sign, found in widths.items()}
    good = [sign for sign in _SEPARATORS if fits[sign][1] > 1 and (sign != "whitespace" or fits[sign][0] > 0.95)]
    sign = max(good, key=lambda each: (fits[each][0] > 0.9, each != "whitespace", fits[each]), default=",")
    fit, width = fits[sign]
    why = why | {
        "separator": f"{fit:.0%} of its first {len(lines)} lines have {width} fields apart by {_SEPARATORS[sign]}"
    }
    rows = [row for each in lines if (row := _fields(each, sign)) is not None and len(row) == width]
    header: tuple[str, ...] = ()
    if rows and lines[0] and len(_fields(lines[0], sign) or ()) == width and not _is_header(rows):
        header = tuple(f"column_{i + 1}" for i in range(width))
        why["header"] = f"its first line reads like any other: {', '.join(rows[0][:5])}"
    return Sniffed(FileFormat(format="csv", separator=sign, encoding=encoding, header=header), why)


def _widths(lines: list[str], sign: str) -> Counter[int]:
    return Counter(len(row) for each in lines if (row := _fields(each, sign)) is not None)


def _fields(line: str, sign: str) -> list[str] | None:
    return line.split() if sign == "whitespace" else fields_of(line, sign)


def _fit(widths: Counter[int]) -> tuple[float, int]:
    """Share of the lines with the most frequent number of fields, and that number."""
    if not widths:
        return 0.0, 0
    width, lines = widths.most_common(1)[0]
    return lines / widths.total(), width


def _is_header(rows: list[list[str]]) -> bool:
    """Names differ from each other, are no numbers, and stand in no later line in their column."""
    first = [each.strip() for each in rows[0]]
    if len(set(first)) != len(first) or not all(first):
        return False
    if any(each[0].isdigit() or each[0] in "+-" for each in first):
        return False
    return not any(name == row[i].strip() for row in rows[1:] for i, name in enumerate(first))
