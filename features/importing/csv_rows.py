"""CSV to columns of text. A row that is none (ragged, quotes that do not close) is set aside with its reason.

Whole blocks go to Polars; only lines that are no rows as they stand are looked at one by one (`csv_block`). What
Polars is given is strict CSV, so that it never has to guess.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from features.importing.csv_block import Block, fields_of
from features.importing.lines import mended
from features.importing.raw import BROKEN_SCHEMA, Corrections, Progress, Raw
from features.importing.schema import FileFormat
from features.importing.stream import BLOCK, blocks, is_utf8
from features.kernel.errors import InvalidRecipe

__all__ = ["read_csv"]

_HELD_BACK = 2 * BLOCK
"""Bytes of one row at most, where it runs over several lines."""


def read_csv(file: FileFormat, path: Path, progress: Progress | None = None, most: int | None = None) -> Raw:
    """Read a CSV file, or about its first `most` rows.

    Raises:
        InvalidRecipe: its first line is no header, or it is no text at all.
    """
    names: list[str] = []
    frames: list[pl.DataFrame] = []
    numbers = [pl.Series([], dtype=pl.Int64)]
    broken: list[tuple[int, str, str]] = []
    noted, read, blanks = Corrections(), 0, file.separator == "whitespace"
    for text in _joined(file, path, progress):
        if not names:
            names, text = _names(file, _without_mark(text, noted))
        text = _squeezed(text) if blanks else text
        separator = "\t" if blanks else file.separator
        block = Block.of(text, separator, len(names), quoted=not blanks, declared=not is_utf8(file.encoding))
        frames.append(_parsed(block, names))
        numbers += [pl.Series(each + read + 1, dtype=pl.Int64) for each in block.good]
        broken += [(row + read + 1, reason, line) for row, reason, line in block.broken]
        for row, reason, was, became in block.corrected:
            noted.add(reason, "", pl.Series([row + read + 1]), [was], [became])
        read += block.rows
        if most is not None and read >= most:
            break
    return Raw(
        frame=pl.concat(frames, rechunk=True) if frames else pl.DataFrame(),
        numbers=pl.concat(numbers),
        format="csv",
        broken=pl.DataFrame(broken, schema=BROKEN_SCHEMA, orient="row"),
        corrections=noted,
    )


def _joined(file: FileFormat, path: Path, progress: Progress | None) -> Iterator[bytes]:
    """Blocks that end where a row ends: from the last line with an odd quote on, a row may go on in the next block."""
    rest = b""
    for block in blocks(path, file.encoding, progress):
        block, rest = rest + block, b""
        if file.separator != "whitespace" and block.count(b'"') % 2:
            start = _last_odd_line(block)
            if len(block) - start < _HELD_BACK:
                block, rest = block[:start], block[start:]
        if block:
            yield block
    if rest:
        yield rest


def _last_odd_line(block: bytes) -> int:
    end = len(block)
    while end > 0:
        start = block.rfind(b"\n", 0, end - 1) + 1
        if block.count(b'"', start, end) % 2:
            return start
        end = start
    return 0


def _without_mark(block: bytes, noted: Corrections) -> bytes:
    if not block.startswith(codecs.BOM_UTF8):
        return block
    noted.add("byte_order_mark", "", pl.Series([1]), ["\ufeff"], [""])
    return block[len(codecs.BOM_UTF8) :]


def _names(file: FileFormat, block: bytes) -> tuple[list[str], bytes]:
    """The columns' names, and the rows of the block: all of it where the recipe gives the names."""
    line, _, rest = block.lstrip(b"\r\n").partition(b"\n")
    text = mended(line.removesuffix(b"\r"))
    if text is None or "\x00" in text:
        raise InvalidRecipe("is no text", field="file", value=line[:40], remedy="check file.format and file.encoding")
    first = text.split() if file.separator == "whitespace" else fields_of(text, file.separator)
    if first is None:
        raise InvalidRecipe("cannot be read as csv: a quote in its first line is not closed", field="file", value=text)
    if file.header:
        if len(file.header) != len(first):
            raise InvalidRecipe(
                f"names {len(file.header)} columns, the file has {len(first)}", field="file.header", value=file.header
            )
        return list(file.header), block
    names: list[str] = []
    for i, each in enumerate(first):
        name = each.strip() or f"column_{i + 1}"
        names.append(name if name not in names else f"{name}_{i + 1}")
    return names, rest


def _squeezed(block: bytes) -> bytes:
    """Runs of blanks as one tab, none at the ends of lines."""
    return re.sub(rb"(?m)^\t|\t(?=\r?$)", b"", re.sub(rb"[ \t]+", b"\t", block))


def _parsed(block: Block, names: list[str]) -> pl.DataFrame:
    rows = sum(map(len, block.good))
    if rows == 0:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    frame = pl.read_csv(
        b"".join(block.pieces),
        separator=block.separator,
        has_header=False,
        new_columns=names,
        infer_schema=False,
        quote_char='"' if block.quoted else None,
    )
    if frame.shape != (rows, len(names)):
        raise AssertionError(f"{frame.shape} read of {rows} rows: a mistake in Kairos, not in the file")
    return frame
