"""The pointer `<models>/<problem>/champion.json`: which version of a problem is served, and which were before it.

Only versions that stood here ever passed the gates: where the champion is damaged, serving falls back on a former one.
A version that was rolled back is no former champion any more.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from features.kernel.errors import InvalidInput

__all__ = ["POINTER", "Champion", "point", "read_champion", "restore"]

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
    _write(folder, Champion(version, former))


def restore(folder: Path, version: str) -> None:
    """Make a former champion the champion again; whoever came after it leaves the list.

    Raises:
        InvalidInput: it is no former champion, or the pointer cannot be read.
    """
    last = read_champion(folder)
    former = last.former if last else ()
    if version not in former:
        raise InvalidInput(
            "was never champion before the present one",
            field=f"version of {folder.name}",
            value=version,
            remedy=f"choose one of: {', '.join(reversed(former)) or '(none)'}",
        )
    _write(folder, Champion(version, former[: former.index(version)]))


def _write(folder: Path, champion: Champion) -> None:
    descriptor, path = tempfile.mkstemp(prefix=".champion-", dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(champion))
        file.flush()
        os.fsync(file.fileno())
    Path(path).replace(folder / POINTER)
