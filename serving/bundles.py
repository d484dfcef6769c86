"""Model bundles from disk: what the champion's pointer names, verified, kept while a newer one is broken.

A bundle is `<folder>/<problem>/<version>/{model.txt,card.json}`; `<folder>/<problem>/champion.json` holds
`{"version": …}` and is replaced atomically by training. A worker looks again at most once a second, off the request's
path; an answer is always computed by one whole bundle, the old or the new.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.kernel.card import Card, column_name, load_card
from features.kernel.champion import POINTER, Champion, read_champion
from features.kernel.discover import pick
from features.kernel.errors import InvalidInput, KairosError, NotFound
from serving.model import Booster, Floats

__all__ = ["Bundle", "Models", "load_bundle"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A card and its model. `booster` is None where the model is broken and only its card could be trusted."""

    card: Card
    booster: Booster | None
    refs: tuple[str, ...]
    """Every feature reference read for one customer: the card's features, then those of its candidate columns."""
    inputs: tuple[str, ...]
    """The card's features by reference, in the model's order."""
    categories: tuple[tuple[int, str, dict[str, int]], ...]
    """Of each category its place among the inputs, its reference, and the code of each value."""
    knots: tuple[Floats, Floats]
    """The card's calibration: raw scores and the answers there."""


def _bundle(card: Card, booster: Booster | None) -> Bundle:
    columns = card.candidates.columns if card.candidates else ()
    inputs = tuple(each.ref for each in card.features)
    refs = [*inputs, *(ref for column in columns for ref in column.refs)]
    categories = tuple(
        (i, each.ref, {value: code for code, value in enumerate(each.vocabulary)})
        for i, each in enumerate(card.features)
        if each.dtype == "category"
    )
    knots = np.array(card.calibration.raw), np.array(card.calibration.value)
    return Bundle(card, booster, tuple(dict.fromkeys(refs)), inputs, categories, knots)


def load_bundle(folder: Path) -> Bundle:
    """Read and verify one bundle: the model's SHA-256 is the card's, and its columns are the card's, in order.

    Raises:
        InvalidInput: a file is missing, damaged, or does not belong to the other.
    """
    try:
        card, text = load_card(folder / "card.json"), (folder / "model.txt").read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(error.filename)) from error
    found = hashlib.sha256(text).hexdigest()
    if found != card.model_sha256:
        raise InvalidInput(
            "is not the model of its card: SHA-256 differs",
            field=str(folder / "model.txt"),
            value=found,
            remedy="publish the bundle again",
        )
    booster = Booster(text)
    columns = card.candidates.columns if card.candidates else ()
    expected = tuple(column_name(each.ref) for each in card.features) + tuple(each.name for each in columns)
    if tuple(map(column_name, booster.names)) != tuple(map(column_name, expected)):
        raise InvalidInput("has other columns than its card", field=str(folder / "model.txt"), value=booster.names)
    return _bundle(card, booster)


class Models:
    """The served bundles by problem. `refresh()` follows the pointers; reading never touches the disk.

    Args:
        folder: `settings.models`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bundles: dict[str, Bundle] = {}
        self.faults: dict[str, str] = {}
        """By problem: why its newest bundle is not served. Empty when all is well."""

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems that can be answered, sorted."""
        return tuple(sorted(self._bundles))

    def get(self, problem: str) -> Bundle:
        """The bundle served for a problem.

        Raises:
            NotFound: there is none; the message says why, or names the problems there are.
        """
        if problem not in self._bundles and problem in self.faults:
            raise NotFound(f"has no model that can be served: {self.faults[problem]}", field="problem", value=problem)
        return pick(self._bundles, problem, field="problem")

    def refresh(self) -> None:
        """Load what a pointer newly names. Never raises for a bad bundle: it keeps the last good one and says why."""
        bundles, faults = dict(self._bundles), {}
        for pointer in sorted(self._folder.glob(f"*/{POINTER}")):
            folder, champion = pointer.parent, None
            served = bundles.get(folder.name)
            try:
                champion = read_champion(folder)
                if champion and _is_new(served, champion):
                    bundles[folder.name] = load_bundle(folder / champion.version)
            except (KairosError, OSError) as error:
                faults[folder.name] = str(error)
                if served is None and (fallback := _fallback(folder, champion)):
                    bundles[folder.name] = fallback
        for problem in faults.keys() - self.faults.keys():
            _log.warning("the newest bundle of %s is not served: %s", problem, faults[problem])
        self._bundles, self.faults = bundles, faults


def _is_new(served: Bundle | None, champion: Champion) -> bool:
    return served is None or served.booster is None or served.card.version != champion.version


def _fallback(folder: Path, champion: Champion | None) -> Bundle | None:
    """The latest former champion that verifies; else the latest card of a champion alone; else None.

    Only versions that were champions: others in the folder were refused by the gates.
    """
    if champion is None:
        return None
    cards: list[Card] = []
    for version in (champion.version, *reversed(champion.former)):
        try:
            return load_bundle(folder / version)
        except (KairosError, OSError):
            with contextlib.suppress(KairosError, OSError):  # damaged too: reported by the pointer that names it
                cards.append(load_card(folder / version / "card.json"))
    return _bundle(cards[0], None) if cards else None
