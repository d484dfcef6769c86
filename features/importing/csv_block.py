"""A block of CSV sorted out: what is a row as it stands, what becomes one when mended, and what is none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.importing.lines import mended, scan
from features.importing.stream import REPLACED

__all__ = ["Block", "fields_of"]

_LONGEST = 1_000
"""Lines of one row, at most."""


@dataclass(slots=True)
class Block:
    """The rows of a block, numbered from 0. Make one with `Block.of`.

    Attributes:
        pieces: strict CSV, joined it holds the good rows in their order.
        good: numbers of those rows.
        broken: rows that are none: number, reason, text.
        corrected: rows that were mended: number, reason, text before and after.
        rows: how many there are of both.
    """

    text: bytes
    separator: str
    width: int
    quoted: bool
    declared: bool
    pieces: list[bytes] = field(default_factory=list)
    good: list[NDArray[np.int64]] = field(default_factory=list)
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    corrected: list[tuple[int, str, str, str]] = field(default_factory=list)
    rows: int = 0

    @classmethod
    def of(cls, text: bytes, separator: str, width: int, *, quoted: bool = True, declared: bool = False) -> Block:
        """Sort out a block.

        Args:
            text: UTF-8, or nearly: bytes that are not are read as Windows-1252.
            separator: one ASCII character.
            width: the fields of a row.
            quoted: whether quotes have a meaning.
            declared: whether the file's encoding was declared and `REPLACED` marks what does not fit it.
        """
        block = cls(text, separator, width, quoted, declared)
        if text:
            block._sort_out()
        return block

    def _sort_out(self) -> None:
        lines = scan(self.text, self.separator, self.width, quoted=self.quoted)
        whole, odd, done = lines.whole, np.flatnonzero(lines.odd), 0
        if self.declared:
            whole = whole & ~self._replaced(lines.ends)
        for i in map(int, np.flatnonzero(~whole)):
            if i < done:
                continue  # a part of the row before
            self._take(lines.starts, lines.ends, done, i)
            done = i + 1
            if lines.blank[i]:
                continue
            if lines.odd[i] and fields_of(self._line(lines.starts[i], lines.ends[i]), self.separator) is None:
                later = odd[np.searchsorted(odd, i, side="right") :]
                if len(later) and self._is_one_row(lines.starts[i], lines.ends[later[0]], whole[i + 1 : later[0]]):
                    done = int(later[0]) + 1
            self._look_at(self.text[lines.starts[i] : lines.ends[done - 1]])
        self._take(lines.starts, lines.ends, done, len(lines.ends))

    def _line(self, start: int, end: int) -> str:
        return self.text[start:end].decode(errors="replace").rstrip("\r\n")

    def _is_one_row(self, start: int, end: int, inner: NDArray[np.bool_]) -> bool:
        """Whether a field runs over several lines: not where it would swallow lines that are rows themselves."""
        if len(inner) > _LONGEST or (len(inner) and self.width > 2 and inner.all()):
            return False
        return fields_of(self._line(start, end), self.separator) is not None

    def _take(self, starts: NDArray[np.int64], ends: NDArray[np.int64], first: int, last: int) -> None:
        """Lines `first` to `last` (excluded) are rows as they stand."""
        if last > first:
            piece = self.text[starts[first] : ends[last - 1]]
            self.pieces.append(piece if piece.endswith(b"\n") else piece + b"\n")
            self.good.append(np.arange(self.rows, self.rows + last - first))
            self.rows += last - first

    def _look_at(self, row: bytes) -> None:
        number = self.rows
        self.rows += 1
        text = mended(row)
        if text is None or (self.declared and REPLACED in text):
            self.broken.append((number, "unreadable_text", row.decode("latin-1" if text is None else "utf8").rstrip()))
            return
        text = text.removesuffix("\n").removesuffix("\r")
        parts = _parts(text, self.separator) if self.quoted else [(each, False) for each in text.split(self.separator)]
        if parts is None or len(parts) != self.width:
            self.broken.append((number, "broken_quotes" if parts is None else "ragged_row", text))
            return
        became = self.separator.join(_written(value, quoted, self.separator) for value, quoted in parts)
        if not _is_utf8(row):
            self.corrected.append((number, "mis_encoded", row.decode("latin-1").rstrip(), text))
        if any('"' in value and not quoted for value, quoted in parts) and self.quoted:
            self.corrected.append((number, "stray_quote", text, became))
        self.pieces.append(became.encode() + b"\n")
        self.good.append(np.array([number]))

    def _replaced(self, ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Lines with something in them that the declared encoding does not have."""
        marks, sign = np.zeros(len(ends), dtype=bool), REPLACED.encode()
        at = self.text.find(sign)
        while at >= 0:
            line = int(np.searchsorted(ends, at, side="right"))
            marks[line] = True
            at = self.text.find(sign, int(ends[line]))
        return marks


def fields_of(line: str, separator: str) -> list[str] | None:
    """The fields of one row without its line feed, quotes within an unquoted field taken as they stand.

    None where a quoted field does not close, or goes on after its closing quote.

    >>> fields_of('7,"a ""b"", c",5" pipe', ",")
    ['7', 'a "b", c', '5" pipe']
    >>> fields_of('7,"a', ",") is None
    True
    """
    parts = _parts(line, separator)
    return None if parts is None else [value for value, _ in parts]


def _parts(line: str, separator: str) -> list[tuple[str, bool]] | None:
    """Each field with whether it was quoted."""
    quoted = re.compile(rf'"((?:[^"]++|"")*+)"(?={re.escape(separator)}|\Z)')
    found, at = list[tuple[str, bool]](), 0
    while True:
        if line.startswith('"', at):
            match = quoted.match(line, at)
            if match is None:
                return None
            found.append((match[1].replace('""', '"'), True))
            at = match.end()
        else:
            end = line.find(separator, at)
            end = len(line) if end < 0 else end
            found.append((line[at:end], False))
            at = end
        if at >= len(line):
            return found
        at += 1


def _written(value: str, quoted: bool, separator: str) -> str:
    if (quoted and not value) or any(sign in value for sign in ('"', separator, "\n", "\r")):
        return '"' + value.replace('"', '""') + '"'
    return value


def _is_utf8(row: bytes) -> bool:
    try:
        row.decode()
    except UnicodeDecodeError:
        return False
    return True
