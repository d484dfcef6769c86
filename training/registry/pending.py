"""What MLflow has not been told yet: `<home>/pending/<problem>/<version>/{record.json,files/…}`.

Everything is written here before MLflow is asked, and goes when MLflow has it. So training needs no MLflow, and
whatever interrupts a sending, `kairos models send` goes on with it. A change of champion that MLflow does not know of
stands in `<home>/pending/<problem>/aliases.json`.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from training.registry import bundle, record, track

__all__ = ["FILES", "Kept", "keep", "kept", "note", "of_aliases", "send", "stage"]

FILES = "files"
_RECORD, _ALIASES, _NEW = "record.json", "aliases.json", ".new-"


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that waits to be sent, or changes of champion if `version` is empty."""

    problem: str
    version: str
    folder: Path


@contextmanager
def stage(settings: Settings, problem: str) -> Iterator[Path]:
    """An empty folder for a record's files, beside where they will be kept; hold `bundle.alone` meanwhile.

    What a process that died had begun to write is removed.
    """
    place = _place(settings, problem)
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f"{_NEW}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=place))
    try:
        (folder / FILES).mkdir()
        yield folder / FILES
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(files: Path, told: record.Record, settings: Settings) -> Kept:
    """Keep a staged record until it is sent."""
    record.save(told, files.parent / _RECORD)
    folder = _place(settings, told.problem) / told.version
    files.parent.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)  # of a version that was never published: its name was free
    files.parent.rename(folder)
    return Kept(told.problem, told.version, folder)


def kept(settings: Settings) -> list[Kept]:
    """What waits to be sent, by problem, the oldest version first, changes of champion last."""
    found = []
    for place in sorted(each for each in (settings.home / "pending").glob("[!.]*") if each.is_dir()):
        records = sorted(place.glob(f"[!.]*/{_RECORD}"), key=lambda path: path.stat().st_mtime_ns)
        found += [Kept(place.name, path.parent.name, path.parent) for path in records]
        found += [Kept(place.name, "", place)] if (place / _ALIASES).exists() else []
    return found


def send(each: Kept, settings: Settings) -> track.Sent | None:
    """Send what is kept, and let MLflow's aliases follow; None if nothing is to be sent, or another process sends it.

    Raises:
        Unavailable: MLflow cannot be used; it stays kept.
        InvalidInput: what is kept is damaged.
    """
    with _alone(each.folder, wait=False) as mine:
        if not mine:
            return None
        if each.version:
            return _send_record(each, settings)
        _send_aliases(each, settings)
        return None


def note(problem: str, tags: Mapping[str, Mapping[str, str]], settings: Settings) -> Kept:
    """Keep that the champion changed, until MLflow is told.

    Args:
        tags: by version: who made the change, when and why.
    """
    place = _place(settings, problem)
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place, wait=True):
        told = _tags(place)
        for version, more in tags.items():
            told[version] = told.get(version, {}) | dict(more)
        whole = place / f".{_ALIASES}"
        whole.write_bytes(msgspec.json.encode(told))
        whole.replace(place / _ALIASES)
    return of_aliases(problem, settings)


def of_aliases(problem: str, settings: Settings) -> Kept:
    """Where changes of a problem's champion wait."""
    return Kept(problem, "", _place(settings, problem))


def _send_record(each: Kept, settings: Settings) -> track.Sent | None:
    if not (each.folder / _RECORD).exists():
        return None
    told = record.load(each.folder / _RECORD)
    sent: track.Sent | None = None
    if (settings.models / told.problem / told.version).exists():  # else its training died before it was published
        sent = track.send(told, each.folder / FILES, settings)
        track.mirror(told.problem, bundle.aliases(settings.models, told.problem), {}, settings)
    shutil.rmtree(each.folder)
    return sent


def _send_aliases(each: Kept, settings: Settings) -> None:
    if not (each.folder / _ALIASES).exists():
        return
    track.mirror(each.problem, bundle.aliases(settings.models, each.problem), _tags(each.folder), settings)
    (each.folder / _ALIASES).unlink()


def _tags(place: Path) -> dict[str, dict[str, str]]:
    path = place / _ALIASES
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"cannot be read: {error}", field=str(path), remedy="remove it") from error


def _place(settings: Settings, problem: str) -> Path:
    return settings.home / "pending" / problem


@contextmanager
def _alone(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Whether nobody else sends this meanwhile."""
    try:
        lock = (folder / ".lock").open("w")
    except FileNotFoundError:  # another process has sent it
        yield False
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
