"""Bundles: the folders serving answers from, and the pointer that says which of them is the champion.

`<models>/<problem>/<version>/{model.txt,card.json,reference.parquet,members.bin}`, `<models>/<problem>/champion.json`.
A bundle comes into place whole, by one rename, the pointer after it: a reader sees the old champion or the new one.
Beside what serving reads, `origin.json` and `environment.json` say how to build the model again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from features.kernel import champion as champions
from features.kernel.card import Card, load_card
from features.kernel.champion import read_champion
from features.kernel.discover import pick
from features.kernel.errors import InvalidInput, NotFound
from training.registry import membership

__all__ = [
    "FILES",
    "MADE_FROM",
    "Listing",
    "Membership",
    "aliases",
    "alone",
    "card",
    "cards",
    "champion",
    "forget",
    "free_name",
    "listing",
    "memberships",
    "point",
    "publish",
]

FILES = ("model.txt", "card.json", "reference.parquet")
"""What a bundle shares with MLflow; `members.bin` is the bundle's own."""
MADE_FROM = ("origin.json", "environment.json")
"""How the model was made: the origin of its rows, where they can be built again, and the libraries."""

_NEW = ".new-"


class Listing(NamedTuple):
    """What there is in the folder of models."""

    cards: list[tuple[Card, bool]]
    """By problem and time of training; whether it is the champion."""
    faults: dict[str, str]
    """By `<problem>/<version>`, or by problem: why it cannot be read."""


class Membership(NamedTuple):
    """A published model and a person."""

    problem: str
    version: str
    champion: bool
    trained_at: datetime | None
    """None if the card cannot be read."""
    trained_on: bool | None
    """Whether the person is among those it was trained on; None if the bundle does not say."""
    forgotten: int
    """How many of those it was trained on were forgotten before."""


@contextmanager
def alone(models: Path, problem: str) -> Iterator[None]:
    """Nobody else publishes or points for this problem meanwhile; waits until that is so.

    What a process that died had begun to publish is removed.
    """
    folder = models / problem
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(f"{_NEW}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def free_name(models: Path, problem: str, trained_at: datetime, sha256: str) -> str:
    """A version's name: its day and the beginning of its model's SHA-256; numbered where the two are taken.

    Hold `alone` until it is published.
    """
    name = f"{trained_at:%Y%m%d}-{sha256[:8]}"
    taken = {each.name for each in (models / problem).glob(f"{name}*")}
    return name if name not in taken else next(f"{name}-{n}" for n in range(2, 10**6) if f"{name}-{n}" not in taken)


def publish(files: Path, models: Path, card: Card, people: Iterable[str]) -> Path:
    """Put the files of a bundle into their place, with a list of those it was trained on; returns its folder.

    Hold `alone` meanwhile.
    """
    target = models / card.problem / card.version
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=_NEW, dir=target.parent))
    try:
        staging.chmod(0o755)
        for name in (*FILES, *(each for each in MADE_FROM if (files / each).exists())):
            shutil.copyfile(files / name, staging / name)
        (staging / membership.FILE).write_bytes(membership.members(people))
        for path in staging.iterdir():
            _flush(path)
        staging.rename(target)
        _flush(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def point(models: Path, problem: str, version: str) -> None:
    """Make a published version the one that is served."""
    champions.point(models / problem, version)


def champion(models: Path, problem: str) -> Card:
    """The card of the served model.

    Raises:
        NotFound: none was promoted yet.
    """
    found = read_champion(models / problem)
    if found is None:
        raise NotFound("has no champion yet", field="problem", value=problem, remedy=f"run `kairos train {problem}`")
    return load_card(models / problem / found.version / "card.json")


def card(models: Path, problem: str, version: str) -> Card:
    """The card of one version.

    Raises:
        NotFound: there is no such problem or version; the message names those there are.
        InvalidInput: its card cannot be read.
    """
    problems = {folder.name: folder for folder in _problems(models)}
    folder = pick(problems, problem, field="problem")
    versions = {path.parent.name: path for path in sorted(folder.glob("[!.]*/card.json"))}
    return load_card(pick(versions, version, field=f"version of {problem}"))


def cards(models: Path) -> Iterator[tuple[Card, bool]]:
    """Every published card that can be read, by problem and time of training, and whether it is the champion."""
    yield from listing(models).cards


def listing(models: Path) -> Listing:
    """Every published card, and those that this Kairos cannot read: of an older schema, or damaged."""
    found, faults = list[tuple[Card, bool]](), dict[str, str]()
    for folder in _problems(models):
        served, read = None, list[Card]()
        try:
            served = read_champion(folder)
        except InvalidInput as error:
            faults[folder.name] = str(error)
        for path in sorted(folder.glob("[!.]*/card.json")):
            try:
                read.append(load_card(path))
            except (InvalidInput, OSError) as error:
                faults[f"{folder.name}/{path.parent.name}"] = str(error)
        by_time = sorted(read, key=lambda each: (each.trained_at, each.version))
        found += [(each, served is not None and each.version == served.version) for each in by_time]
    return Listing(found, faults)


def aliases(models: Path, problem: str) -> dict[str, str]:
    """Who is `champion`, and who is `challenger`: the newest model, where it is not the champion; "" for nobody.

    A champion that its own gates refuse (a demo may serve one) has no alias.
    """
    mine = [(card, served) for card, served in cards(models) if card.problem == problem]
    served = next((card for card, champion in mine if champion), None)
    newest = mine[-1][0] if mine else None
    refused = served is not None and any(each.refuses for each in served.gates)
    challenger = newest.version if newest is not None and newest != served else ""
    return {"champion": served.version if served is not None and not refused else "", "challenger": challenger}


def memberships(models: Path, customer_id: str) -> list[Membership]:
    """Every published model, and whether it was trained on a person; a damaged bundle does not say."""
    return [_membership(folder, customer_id) for folder in sorted(models.glob("*/[!.]*")) if folder.is_dir()]


def forget(models: Path, customer_id: str) -> None:
    """Take a person off every list of members, where a count of those forgotten stays."""
    for path in models.glob(f"*/[!.]*/{membership.FILE}"):
        with suppress(InvalidInput):  # damaged: it holds no readable hash
            membership.drop(path.parent, customer_id)


def _membership(folder: Path, customer_id: str) -> Membership:
    served = trained_at = trained_on = None
    forgotten = 0
    with suppress(InvalidInput):
        served = read_champion(folder.parent)
    with suppress(InvalidInput, OSError):
        trained_at = load_card(folder / "card.json").trained_at
    with suppress(InvalidInput):
        trained_on, forgotten = membership.holds(folder, customer_id), membership.forgotten(folder)
    champion = served is not None and served.version == folder.name
    return Membership(folder.parent.name, folder.name, champion, trained_at, trained_on, forgotten)


def _problems(models: Path) -> list[Path]:
    return sorted(each for each in models.glob("[!.]*") if each.is_dir())


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
