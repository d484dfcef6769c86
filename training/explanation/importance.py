"""How much each input, and each family of inputs, moves a model's answers: mean absolute SHAP values over many rows.

Rows come in blocks, so that a million of them need no memory. A family's value in a row is the sum of its members':
what one window gives and another takes back is no influence.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Card
from training.calibration import calibrate

__all__ = ["Importance", "Input", "Strength", "Tally", "inputs", "raw_unit", "worth"]

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32] | Floats

_NOTHING = 1e-9
"""Contributions that sum to less cancel out: what is left of them is rounding, and no scale."""
_RAW = {"logit": "log-odds", "log": "logarithm of {unit}", "identity": "{unit}"}


class Input(NamedTuple):
    """One column of the model."""

    name: str
    """Its reference, or of a candidate's column its name."""
    family: str
    """Its own name where it has no relatives."""


class Strength(msgspec.Struct, frozen=True, kw_only=True):
    """How much one input or family moves the answers."""

    name: str
    shap: float
    """Mean absolute SHAP value, in the raw score."""
    worth: float
    """The same in the answer's unit."""
    members: tuple[str, ...] = ()
    """Of a family, the strongest first."""


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """Every input and every family, the strongest first."""

    rows: int
    unit: str
    """Of `worth`: `probability`, `EUR`, `change of probability`."""
    raw_unit: str
    """Of `shap`: `log-odds`, `logarithm of EUR`."""
    groups: tuple[Strength, ...]
    inputs: tuple[Strength, ...]


def inputs(card: Card) -> tuple[Input, ...]:
    """The model's columns in order; what depends on the candidate is one family, named as the candidates are."""
    found = [Input(each.ref, each.group or each.ref) for each in card.features]
    if card.candidates is not None:
        found += [Input(each.name, card.candidates.name) for each in card.candidates.columns]
    return tuple(found)


def raw_unit(card: Card) -> str:
    """What the raw score is measured in."""
    return _RAW[card.link].format(unit=card.unit)


def worth(card: Card, values: Matrix, expected: float) -> Floats:
    """SHAP values [n, k] of the raw score in the answer's unit: scaled by row to sum to answer minus reference.

    As serving shows them: the factor is never negative, for calibration rises with the raw score.
    """
    total = values.sum(axis=1, dtype=np.float64)
    answers = calibrate.apply(card.calibration, expected + total)
    reference = calibrate.apply(card.calibration, np.array([expected]))[0]
    small = np.abs(total) <= _NOTHING
    factor = np.where(small, 0.0, (answers - reference) / np.where(small, 1.0, total))
    return np.asarray(values * factor[:, None])


class Tally:
    """Adds up blocks of SHAP values of one model."""

    def __init__(self, card: Card) -> None:
        self._card, self._inputs = card, inputs(card)
        self._families = list(dict.fromkeys(each.family for each in self._inputs))
        places = [self._families.index(each.family) for each in self._inputs]
        self._membership = np.eye(len(self._families))[places]
        self._rows = 0
        self._of_inputs = np.zeros((2, len(self._inputs)))
        self._of_families = np.zeros((2, len(self._families)))

    def add(self, values: Matrix, scaled: Matrix) -> None:
        """A block of rows: SHAP values [m, k], and the same in the answer's unit [m, k]."""
        self._rows += len(values)
        for kind, block in enumerate((values, scaled)):
            self._of_inputs[kind] += np.abs(block).sum(axis=0, dtype=np.float64)
            self._of_families[kind] += np.abs(block @ self._membership).sum(axis=0)

    def importance(self) -> Importance:
        """What came of all rows so far; there must have been one."""
        names = [each.name for each in self._inputs]
        of_inputs = _strengths(names, self._of_inputs / self._rows, [()] * len(names))
        order = [each.name for each in of_inputs]
        families = dict(self._inputs)
        members = [tuple(name for name in order if families[name] == family) for family in self._families]
        return Importance(
            rows=self._rows,
            unit=self._card.unit,
            raw_unit=raw_unit(self._card),
            groups=_strengths(self._families, self._of_families / self._rows, members),
            inputs=of_inputs,
        )


def _strengths(names: list[str], means: Floats, members: list[tuple[str, ...]]) -> tuple[Strength, ...]:
    order = np.argsort(-means[0], kind="stable").tolist()
    return tuple(
        Strength(name=names[i], shap=float(means[0, i]), worth=float(means[1, i]), members=members[i]) for i in order
    )
