"""The bytes of a text file in blocks of whole lines, as UTF-8 whatever they were, decompressed if need be."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from features.importing.raw import Progress
from features.kernel.errors import InvalidInput, InvalidRecipe, NotFound, Unavailable

__all__ = ["BLOCK", "REPLACED", "blocks", "check_file"]

BLOCK = 16 * 1024 * 1024
"""Bytes read at once; a line may be longer, up to `MAX_LINE`."""
MAX_LINE = 64 * 1024 * 1024
REPLACED = "\ufffd"
"""Stands where the file's declared encoding has no such character."""

_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def check_file(path: Path) -> None:
    """Raise the error that names what is wrong with a path, if it is no readable file with something in it."""
    try:
        if path.is_dir():
            raise InvalidInput("is a folder", field="file", value=str(path), remedy="give a file in it")
        if not path.is_file():
            raise NotFound("there is no such file", field="file", value=str(path), remedy="check the path")
        with path.open("rb") as opened:
            if not opened.read(1):
                raise InvalidRecipe(
                    "is empty", field="file", value=str(path), remedy="give a file with a header and rows"
                )
    except PermissionError:
        raise InvalidInput(
            "may not be read", field="file", value=str(path), remedy="ask for the right to read it (chmod u+r)"
        ) from None
    except OSError as error:
        raise Unavailable(f"cannot be read: {error.strerror}", field="file", value=str(path)) from error


def blocks(path: Path, encoding: str = "utf8", progress: Progress | None = None) -> Iterator[bytes]:
    """Blocks of UTF-8 that end with a line feed (but for the last). A mark at the start of UTF-8 is left in its place.

    Raises:
        InvalidRecipe: an unknown encoding, a cut-off archive, a line without end, or UTF-16 that nobody declared.
    """
    size, plain = path.stat().st_size, is_utf8(encoding)
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
        packed = file.read(2) == _GZIP
        file.seek(0)
        source = cast(BinaryIO, unpacked) if packed else file
        parts = _read(source) if plain else _decoded(source, encoding)
        try:
            for part in _whole_lines(_not_utf16(parts) if plain else parts):
                yield part
                if progress is not None:
                    progress(file.tell(), size)
        except (EOFError, gzip.BadGzipFile) as error:
            raise InvalidRecipe(f"is cut off or damaged: {error}", field="file", value=str(path)) from error


def is_utf8(encoding: str) -> bool:
    """Whether a recipe's encoding is UTF-8, in any spelling.

    Raises:
        InvalidRecipe: there is no such encoding.
    """
    try:
        return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    except LookupError:
        raise InvalidRecipe(
            "is no encoding", field="file.encoding", value=encoding, remedy="write utf8, cp1252 or utf-16"
        ) from None


def _read(source: BinaryIO) -> Iterator[bytes]:
    while part := source.read(BLOCK):
        yield part


def _decoded(source: BinaryIO, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    first = True
    while part := source.read(BLOCK):
        text = decoder.decode(part)
        yield (text.removeprefix("\ufeff") if first else text).encode()
        first = False
    yield decoder.decode(b"", final=True).encode()


def _not_utf16(parts: Iterator[bytes]) -> Iterator[bytes]:
    for i, part in enumerate(parts):
        if i == 0 and part.startswith(_UTF16):
            raise InvalidRecipe(
                "begins like UTF-16", field="file.encoding", value="utf8", remedy="say file.encoding: utf-16"
            )
        yield part


def _whole_lines(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Cut at line feeds; a file whose lines end with a carriage return alone gets line feeds."""
    rest, old_mac = b"", None
    for part in parts:
        if old_mac is None:
            old_mac = b"\n" not in part and b"\r" in part[:-1]
        block = rest + (part.replace(b"\r", b"\n") if old_mac else part)
        end = block.rfind(b"\n") + 1
        if end == 0 and len(block) > MAX_LINE:
            raise InvalidRecipe(
                f"has a line of more than {MAX_LINE // 2**20} MB", field="file", remedy="is it a text file at all?"
            )
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest
