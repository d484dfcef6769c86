"""Which lines of a block of CSV are whole rows, found for all of them at once by NumPy; the rest is for `csv_rows`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lines", "mended", "scan"]

_LF, _CR, _QUOTE = 10, 13, 34

Places = NDArray[np.int64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a block: line i is `block[starts[i]:ends[i]]`, its line feed included.

    Attributes:
        blank: has nothing in it.
        whole: a row as it stands: right number of fields, quotes in their places, valid UTF-8.
        odd: has an odd number of quotes, so that a row may begin in it that ends in a later one.
        foreign: not valid UTF-8.
    """

    starts: Places
    ends: Places
    blank: Marks
    whole: Marks
    odd: Marks
    foreign: Marks


def scan(block: bytes, separator: str, width: int, *, quoted: bool = True) -> Lines:
    """Look at every line of a block. `separator` is one ASCII character, `width` the fields of a row."""
    data = np.frombuffer(block, dtype=np.uint8)
    feeds = np.flatnonzero(data == _LF)
    ends = feeds + 1 if block.endswith(b"\n") else np.append(feeds + 1, len(block))
    starts = np.concatenate([[0], ends[:-1]])
    length = ends - starts - (data[ends - 1] == _LF)
    blank = (length == 0) | ((length == 1) & (data[starts] == _CR))
    splits = np.flatnonzero(data == ord(separator))
    foreign = _foreign(block, ends)
    if not quoted or b'"' not in block:
        fields = _counts(splits, ends)
        whole = (fields == width - 1) & ~blank & ~foreign
        return Lines(starts, ends, blank, whole, np.zeros(len(ends), dtype=bool), foreign)
    quotes = np.flatnonzero(data == _QUOTE)
    counts = _counts(quotes, ends)
    odd = counts % 2 == 1
    before = np.cumsum(counts) - counts  # quotes in earlier lines
    line = np.searchsorted(ends, splits, side="right")
    outside = (np.searchsorted(quotes, splits) - before[line]) % 2 == 0
    fields = _counts(splits[outside], ends)
    misplaced = np.zeros(len(ends), dtype=bool)
    misplaced[np.searchsorted(ends, _misplaced(data, quotes, before, ends, ord(separator)), side="right")] = True
    whole = (fields == width - 1) & ~odd & ~misplaced & ~blank & ~foreign
    return Lines(starts, ends, blank, whole, odd, foreign)


def mended(line: bytes) -> str | None:
    """Text of a line that is not valid UTF-8: the bytes at fault read as Windows-1252; None if they are no such text.

    >>> mended("Österreich;".encode() + "Café".encode("cp1252"))
    'Österreich;Café'
    """
    parts, start = [], 0
    while True:
        try:
            parts.append(line[start:].decode())
            return "".join(parts)
        except UnicodeDecodeError as error:
            parts.append(line[start : start + error.start].decode())
            wrong = line[start + error.start : start + error.end]
            try:
                parts.append(wrong.decode("cp1252"))
            except UnicodeDecodeError:
                return None
            start += error.end


def _counts(places: Places, ends: Places) -> Places:
    """How many places lie in each line."""
    upto = np.searchsorted(places, ends)
    return np.diff(upto, prepend=0)


def _misplaced(data: NDArray[np.uint8], quotes: Places, before: Places, ends: Places, sign: int) -> Places:
    """Quotes that open elsewhere than at a field's start, or close elsewhere than at its end."""
    line = np.searchsorted(ends, quotes, side="right")
    opens = (np.arange(len(quotes)) - before[line]) % 2 == 0
    padded = np.concatenate([data, np.array([_LF, _LF], dtype=np.uint8)])
    earlier, later, next_but_one = padded[quotes - 1], padded[quotes + 1], padded[quotes + 2]
    good_start = np.isin(earlier, [sign, _LF, _QUOTE])
    good_end = np.isin(later, [sign, _LF, _QUOTE]) | ((later == _CR) & (next_but_one == _LF))
    return quotes[np.where(opens, ~good_start, ~good_end)]


def _foreign(block: bytes, ends: Places) -> Marks:
    marks = np.zeros(len(ends), dtype=bool)
    if block.isascii():
        return marks
    view, start = memoryview(block), 0
    while start < len(block):
        try:
            str(view[start:], "utf-8")
        except UnicodeDecodeError as error:
            line = int(np.searchsorted(ends, start + error.start, side="right"))
            marks[line] = True
            start = int(ends[line])
        else:
            break
    return marks
