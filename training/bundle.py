"""Bundles: the folders serving answers from, and the pointer that says which of them is the champion.

`<models>/<problem>/<version>/{model.txt,card.json,reference.parquet,members.bin}`, `<models>/<problem>/champion.json`.
Every file comes into place whole, by renaming, the pointer last: a reader sees the old champion or the new one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from features.kernel import champion as champions
from features.kernel.card import Card, load_card
from features.kernel.champion import read_champion
from features.kernel.errors import InvalidInput, NotFound
from training import membership

__all__ = ["FILES", "Membership", "cards", "champion", "forget", "memberships", "point", "publish"]

FILES = ("model.txt", "card.json", "reference.parquet")
"""What a bundle shares with MLflow; `members.bin` is the bundle's own."""


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


def publish(files: Path, models: Path, card: Card, people: Iterable[str]) -> Path:
    """Put the files of a bundle into their place, with a list of those it was trained on; returns its folder."""
    target = models / card.problem / card.version
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as staging:
        for name in FILES:
            shutil.copyfile(files / name, Path(staging) / name)
        (Path(staging) / membership.FILE).write_bytes(membership.members(people))
        for name in (*FILES, membership.FILE):
            _flush(Path(staging) / name)
        target.mkdir(exist_ok=True)
        for name in (*FILES, membership.FILE):
            (Path(staging) / name).replace(target / name)
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


def cards(models: Path) -> Iterator[tuple[Card, bool]]:
    """Every published card by problem and time of training, and whether it is the champion."""
    for folder in sorted(each for each in models.glob("*") if each.is_dir()):
        served = read_champion(folder)
        found = [load_card(path) for path in folder.glob("[!.]*/card.json")]
        for card in sorted(found, key=lambda each: (each.trained_at, each.version)):
            yield card, served is not None and card.version == served.version


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


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
