"""Bundles: the folders serving answers from, and the pointer that says which of them is the champion.

`<models>/<problem>/<version>/{model.txt,card.json,reference.parquet}` and `<models>/<problem>/champion.json`. Every
file comes into place whole, by renaming, the pointer last: a reader sees the old champion or the new one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from features.kernel import champion as champions
from features.kernel.card import Card, load_card
from features.kernel.champion import read_champion
from features.kernel.errors import NotFound

__all__ = ["FILES", "cards", "champion", "point", "publish"]

FILES = ("model.txt", "card.json", "reference.parquet")


def publish(files: Path, models: Path, card: Card) -> Path:
    """Put the three files of a bundle into their place; returns the bundle's folder."""
    target = models / card.problem / card.version
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as staging:
        for name in FILES:
            shutil.copyfile(files / name, Path(staging) / name)
            _flush(Path(staging) / name)
        target.mkdir(exist_ok=True)
        for name in FILES:
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


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
