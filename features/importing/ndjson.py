"""NDJSON (one JSON object a line) to columns of text; a line that is none is set aside.

Values become text as JSON writes them, so that a column may change its type from line to line and its values still be
read one by one. Objects within objects become columns `outer.inner`; lists stay JSON.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from features.importing.lines import mended
from features.importing.raw import BROKEN_SCHEMA, Corrections, Progress, Raw
from features.importing.schema import FileFormat
from features.importing.stream import REPLACED, blocks, is_utf8
from features.kernel.errors import InvalidRecipe

__all__ = ["read_ndjson"]

_DECODE = msgspec.json.Decoder().decode
_ENCODE = msgspec.json.Encoder().encode
_AT_ONCE = 50_000
"""Rows held as Python objects."""
_DEPTH = 8
"""Objects within objects that become columns; deeper ones stay JSON."""

Row = dict[str, str | None]


def read_ndjson(file: FileFormat, path: Path, progress: Progress | None = None, most: int | None = None) -> Raw:
    """Read an NDJSON file, or about its first `most` rows.

    Raises:
        InvalidRecipe: no line of it is a JSON object.
    """
    found = _Found(declared=not is_utf8(file.encoding))
    for block in blocks(path, file.encoding, progress):
        for line in block.splitlines():
            if line.strip():
                found.take(line)
        if most is not None and found.read >= most:
            break
    if found.read and not found.numbers:
        raise InvalidRecipe("cannot be read as ndjson: no line is a JSON object", field="file", value=str(path))
    return Raw(
        frame=pl.concat([*found.frames, _frame(found.rows)], how="diagonal", rechunk=True),
        numbers=pl.Series(found.numbers, dtype=pl.Int64),
        format="ndjson",
        broken=pl.DataFrame(found.broken, schema=BROKEN_SCHEMA, orient="row"),
        corrections=found.noted,
    )


@dataclass(slots=True)
class _Found:
    """What the lines came to so far."""

    declared: bool
    read: int = 0
    rows: list[Row] = field(default_factory=list)
    frames: list[pl.DataFrame] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    noted: Corrections = field(default_factory=Corrections)

    def take(self, line: bytes) -> None:
        """One line that is not blank."""
        if self.read == 0 and line.startswith(codecs.BOM_UTF8):
            self.noted.add("byte_order_mark", "", pl.Series([1]), ["\ufeff"], [""])
            line = line.removeprefix(codecs.BOM_UTF8)
        self.read += 1
        text, row = _row(line)
        if text is None or (self.declared and REPLACED.encode() in line):
            self.broken.append((self.read, "unreadable_text", line.decode("latin-1")))
        elif row is None:
            self.broken.append((self.read, "broken_line", text))
        else:
            if text and not _is_utf8(line):
                self.noted.add("mis_encoded", "", pl.Series([self.read]), [line.decode("latin-1")], [text])
            self.rows.append(row)
            self.numbers.append(self.read)
        if len(self.rows) >= _AT_ONCE:
            self.frames.append(_frame(self.rows))
            self.rows = []


def _row(line: bytes) -> tuple[str | None, Row | None]:
    """The line's text where it was needed (None if it is no text), and its values (None if it is no object)."""
    try:
        value = _DECODE(line)
        return ("", _flat(value)) if isinstance(value, dict) else (line.decode(), None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = mended(line)
    if text is None:
        return None, None
    try:
        value = json.loads(text)  # takes NaN and Infinity, which Python and Spark write
    except (ValueError, RecursionError):
        return text, None
    return text, _flat(value) if isinstance(value, dict) else None


def _flat(value: dict[str, Any], prefix: str = "", depth: int = 0) -> Row:
    found: Row = {}
    for key, each in value.items():
        if each is None or isinstance(each, str):
            found[prefix + key] = each
        elif isinstance(each, dict) and depth < _DEPTH:
            found |= _flat(each, f"{prefix}{key}.", depth + 1)
        elif isinstance(each, float):
            found[prefix + key] = repr(each)
        else:
            found[prefix + key] = _ENCODE(each).decode()
    return found


def _frame(rows: list[Row]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
