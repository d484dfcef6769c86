"""An older model's answers on today's rows: its columns by name, its own vocabulary, its own calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Card, CardFeature
from features.kernel.errors import InvalidInput
from training.booster import Model
from training.calibration import calibrate
from training.trainingset import Split, TrainingSet, encode

__all__ = ["answers"]

Floats = NDArray[np.float64]


def answers(folder: Path, card: Card, data: TrainingSet, split: Split) -> Floats:
    """[n] what the model of a bundle answers on the rows of a split.

    Args:
        folder: the bundle.
        card: its card.

    Raises:
        InvalidInput: it asks another question, or needs a column that these rows do not have.
        OSError: its files cannot be read.
    """
    asked = (card.kind, card.horizon_days, card.candidates and card.candidates.count)
    asking = (data.problem.kind, data.problem.horizon.days, data.candidates and data.candidates.count)
    if asked != asking:
        raise InvalidInput(
            f"asks another question: {card.kind} over {card.horizon_days} days", field=card.problem, value=card.version
        )
    places = {name: i for i, name in enumerate(data.inputs)}
    extra = [each.name for each in card.candidates.columns] if card.candidates else []
    missing = [name for name in (*(each.ref for each in card.features), *extra) if name not in places]
    if missing:
        raise InvalidInput(
            f"needs {len(missing)} columns that are not here: {', '.join(missing[:5])}",
            field=card.problem,
            value=card.version,
        )
    x = np.empty((len(split), len(card.features) + len(extra)), dtype=np.float32)
    for i, feature in enumerate(card.features):
        x[:, i] = _column(feature, split.x[:, places[feature.ref]], data.features[places[feature.ref]])
    for i, name in enumerate(extra, start=len(card.features)):
        x[:, i] = split.x[:, places[name]]
    text = (folder / "model.txt").read_text(encoding="utf-8")
    return calibrate.apply(card.calibration, Model(text, {}, card.rounds, float("nan")).raw(x))


def _column(its: CardFeature, values: NDArray[np.float32], ours: CardFeature) -> Floats | NDArray[np.float32]:
    if its.dtype != ours.dtype:
        raise InvalidInput(f"is {ours.dtype} here and {its.dtype} there", field=its.ref)
    if its.dtype != "category":
        return values
    table = encode([*ours.vocabulary, None], its.vocabulary)
    return table[np.where(np.isnan(values), len(ours.vocabulary), np.nan_to_num(values)).astype(np.intp)]
