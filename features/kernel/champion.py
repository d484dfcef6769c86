"""The pointer `<models>/<problem>/champion.json`: which version of a problem is served, and which were before it.

Only versions that stood here ever passed the gates: where the champion is damaged, serving falls back on a former one.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from features.kernel.errors import InvalidInput

__all__ = ["POINTER", "Champion", "point", "read_champion"]

POINTER = "champion.json"


class Champion(msgspec.Struct, frozen=True):
    """The served version; `former` ones, the latest last."""

    version: str
    former: tuple[str, ...] = ()


def read_champion(folder: Path) -> Champion | None:
    """The champion of a problem's folder; None where none was promoted yet.

    Raises:
        InvalidInput: the pointer cannot be read.
    """
    path = folder / POINTER
    try:
        return msgspec.json.decode(path.read_bytes(), type=Champion)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        raise InvalidInput(f"is no pointer: {error}", field=str(path), remedy="train the problem again") from error


def point(folder: Path, version: str) -> None:
    """Make a version the champion; the file is replaced whole, and is on disk when this returns."""
    try:
        last = read_champion(folder)
    except InvalidInput:
        last = None  # damaged: what it said of former versions is lost
    former = tuple(each for each in (*last.former, last.version) if each != version) if last else ()
    descriptor, path = tempfile.mkstemp(prefix=".champion-", dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(Champion(version, former)))
        file.flush()
        os.fsync(file.fileno())
    Path(path).replace(folder / POINTER)
