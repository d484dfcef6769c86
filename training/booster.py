"""The model: gradient-boosted trees by LightGBM, fitted the same way every time. The one door to LightGBM.

One thread: sums then have one order, and the same data give the same text on every machine; on tables of this size a
second thread saves little, and on a busy machine two that wait for each other cost ten times as much.
The product is text. Reading it back, in Python or through LightGBM's C API, predicts bit-equal, given float64 rows in
the card's order, C-contiguous.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput
from features.kernel.seeds import uniform
from training.trainingset import Split, TrainingSet

__all__ = ["DEFAULTS", "Model", "Trainer", "load"]

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32] | NDArray[np.float64]

DEFAULTS: dict[str, float | int] = {
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.5,
    "lambda_l2": 2.0,
    "cat_smooth": 20.0,
}
"""What is good on most customer tables of this size; tuning starts from here."""

_FIXED: dict[str, Any] = {
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": 7,
    "feature_pre_filter": False,
    "max_bin": 127,
    "max_cat_to_onehot": 16,
    "min_data_per_group": 20,
    "cat_l2": 5.0,
    "verbose": -1,
}
_MOST_ROUNDS, _PATIENCE = 400, 30
_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted model as text, with what its fitting found."""

    text: str
    parameters: dict[str, float | int]
    rounds: int
    validation_loss: float

    @property
    def sha256(self) -> str:
        """SHA-256 of the text as UTF-8: of the file `model.txt`."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def raw(self, x: Matrix) -> Floats:
        """Raw scores [n] (log-odds of a binary model) of rows [n, k]."""
        return _predict(load(self.text), x, raw_score=True)

    def contributions(self, x: Matrix) -> Floats:
        """SHAP values [n, k + 1] of rows [n, k]; the last column is the expected raw log-odds; rows sum to `raw`."""
        return _predict(load(self.text), x, pred_contrib=True)


class Trainer:
    """Fits models with various parameters on one training set, whose rows are binned once.

    Args:
        data: what is fitted; `y` and `weight` are those of the kind's `learning` set.
        objective: LightGBM's `objective` and the `metric` to stop early on.
    """

    def __init__(self, data: TrainingSet, objective: Mapping[str, Any]) -> None:
        import lightgbm  # noqa: PLC0415

        self._lightgbm = lightgbm
        self._data = data
        self._fixed = {**_FIXED, **objective}
        self._train = self._dataset(data.train)
        self._validation = self._dataset(data.validation, self._train)

    def fit(self, parameters: dict[str, float | int], *, rounds: int = _MOST_ROUNDS) -> Model:
        """Fit with early stopping on the validation split's log-loss; the same data and parameters, the same text."""
        booster = self._lightgbm.train(
            {**self._fixed, **parameters, **self._monotone()},
            self._train,
            num_boost_round=rounds,
            valid_sets=[self._validation],
            callbacks=[self._lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        return Model(
            text=booster.model_to_string(num_iteration=booster.best_iteration),
            parameters=dict(parameters),
            rounds=int(booster.best_iteration),
            validation_loss=float(next(iter(booster.best_score["valid_0"].values()))),
        )

    def out_of_fold(self, model: Model) -> Floats:
        """Raw log-odds [n] of the train split, each by a model like `model` that was not fitted on its person."""
        raw = np.empty(len(self._data.train))
        fold = np.array([int(_FOLDS * uniform("fold", each)) for each in self._data.train.person.tolist()])
        for held_out in range(_FOLDS):
            out = fold == held_out
            if not out.any():
                continue
            booster = self._lightgbm.train(
                {**self._fixed, **model.parameters, **self._monotone()},
                self._train.subset(np.flatnonzero(~out).tolist()),
                num_boost_round=model.rounds,
            )
            raw[out] = _predict(booster, self._data.train.x[out], raw_score=True)
        return raw

    def _monotone(self) -> dict[str, Any]:
        directions = [self._data.problem.monotone.get(name, 0) for name in self._data.inputs]
        return {"monotone_constraints": directions} if any(directions) else {}

    def _dataset(self, split: Split, reference: Any = None) -> Any:
        return self._lightgbm.Dataset(
            split.x,
            label=split.y,
            weight=split.weight,
            reference=reference,
            feature_name=self._data.columns,
            categorical_feature=self._data.categories,
            params=self._fixed,
            free_raw_data=False,
        ).construct()


def load(text: str) -> Any:
    """LightGBM's booster of a model text.

    Raises:
        InvalidInput: it is no LightGBM model.
    """
    import lightgbm  # noqa: PLC0415

    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise InvalidInput(f"is no LightGBM model: {error}", field="model.txt", remedy="train again") from error


def _predict(booster: Any, x: Matrix, **what: bool) -> Floats:
    return np.asarray(booster.predict(np.ascontiguousarray(x), num_threads=1, **what), dtype=np.float64)
