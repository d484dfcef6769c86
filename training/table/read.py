"""A file to columns, however it is written: delimiter, encoding and header are found, not asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import polars as pl

from features.importing.infer.sniff import Sniffed, sniff
from features.importing.raw import Raw
from features.importing.reasons import BUILT_IN, CORRECTED
from features.importing.source import read_file
from features.kernel.errors import InvalidInput, InvalidRecipe

__all__ = ["Source", "read"]

_BLOCK = 1 << 20
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", "whitespace": "blank"}


@dataclass(frozen=True, slots=True)
class Source:
    """A table as it stands in its file.

    Attributes:
        frame: text of CSV and NDJSON, a Parquet file's own types; in the file's order.
        numbers: of each row, its number in the file, from 1.
        said: how it was read, a sentence each.
        sha256: of the file.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    said: tuple[str, ...]
    sha256: str


def read(path: Path, target: str, progress: Callable[[float, float], None]) -> Source:
    """Read a table: CSV (also gzip), Parquet or NDJSON.

    Args:
        target: a column that must be there: where the first line names it, that line is a header.
        progress: told (bytes read, of how many).

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no file that can be read; says why.
    """
    try:
        found = _with_header(sniff(path), path, target)
        raw = read_file(found.format, path, progress)
    except InvalidRecipe as error:
        raise InvalidInput(
            error.message, field="--table", value=str(path), remedy="export it again as CSV or Parquet"
        ) from None
    if not raw.frame.height:
        raise InvalidInput("has no rows", field="--table", value=str(path), remedy="give a file with a header and rows")
    return Source(raw.frame, raw.numbers, tuple(_said(found, raw)), _sha256(path))


def _with_header(found: Sniffed, path: Path, target: str) -> Sniffed:
    """A first line that names the target is a header, however odd its other names are."""
    if not found.format.header or target in found.format.header:
        return found
    first = read_file(found.format, path, most=1).frame
    if first.height and target in [str(each).strip() for each in first.row(0)]:
        return replace(found, format=msgspec.structs.replace(found.format, header=()), why={})
    return found


def _said(found: Sniffed, raw: Raw) -> list[str]:
    form = found.format
    said = [f"{raw.height:,} rows of {raw.frame.width} columns, {form.format.upper()}"]
    if form.format == "csv":
        said[0] += f" with {_SEPARATORS[form.separator]}s between the fields"
    if form.encoding != "utf8":
        said[0] += f", written in {form.encoding}"
    if form.header:
        said.append(f"No header: {found.why['header']}. The columns are called column_1 to column_{raw.frame.width}.")
    for reason, rows in raw.broken["reason"].value_counts(sort=True).iter_rows():
        said.append(f"{rows:,} rows left out, {reason.replace('_', ' ')}: {BUILT_IN[reason]}.")
    for reason, rows in raw.corrections.counts().items():
        if reason != "byte_order_mark":
            said.append(f"{rows:,} rows mended, {reason.replace('_', ' ')}: {CORRECTED[reason]}.")
    return said


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
