"""The model: gradient-boosted trees by LightGBM, fitted the same way every time. The one door to LightGBM.

The same data give the same text on every machine. Below `LARGE` values one thread: it saves what threads cost when they
wait for each other, on a busy machine ten times the work. From there on every core, column by column: then each
histogram is summed by one thread in the order of the rows, and the trees are those of a single thread, bit by bit;
row by row they would not be.
The product is text. Reading it back, in Python or through LightGBM's C API, predicts bit-equal, given rows in the
card's order, C-contiguous; float32 and float64 rows of equal values give equal answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput
from training import losses
from training.rows import folds
from training.trainingset import Split, TrainingSet

__all__ = ["DEFAULTS", "FIXED", "LARGE", "Model", "Trainer", "additive", "load", "threads"]

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32] | NDArray[np.float64]
Parameters = Mapping[str, float | int | str]

DEFAULTS: dict[str, float | int] = {
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.5,
    "lambda_l2": 2.0,
    "cat_smooth": 10.0,
}
"""What is good on most customer tables of this size; tuning starts from here."""

FIXED: dict[str, Any] = {
    "deterministic": True,
    "seed": 7,
    "feature_pre_filter": False,
    "verbose": -1,
}
_EXACT: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 1.0,
    "num_leaves": 16,
    "min_data_in_leaf": 1,
    "min_sum_hessian_in_leaf": 0.0,
    "max_bin": 1000,
    "min_data_in_bin": 1,
    "max_cat_to_onehot": 1000,
    "cat_smooth": 0.0,
    "cat_l2": 0.0,
    "min_data_per_group": 1,
}
"""For a function that is known, not guessed from noisy outcomes."""
_EXACT_ROUNDS = 100
LARGE = 16_000_000
"""Values of the training matrix from which on all cores work."""
_MOST_ROUNDS, _PATIENCE = 1_000, 30
_LEAST_GAIN = 1e-10  # of a round: less is rounding, and differs with the number of threads
_FOLDS, _LARGE_FOLDS = 4, 2
"""A model on half of very many rows answers as one on three quarters does, and takes a third of the time."""
_CHUNK = 65_536


def threads(values: int) -> dict[str, Any]:
    """LightGBM's parameters on threads for a matrix of so many values; 0 is every core, or `OMP_NUM_THREADS`."""
    return {"force_row_wise": True, "num_threads": 1} if values < LARGE else {"force_col_wise": True, "num_threads": 0}


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted model as text, with what its fitting found."""

    text: str
    parameters: dict[str, float | int | str]
    rounds: int
    validation_loss: float
    learner: Literal["trees", "logistic"] = "trees"

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
    """Fits models with various parameters on one training set, whose rows are binned once and never copied.

    Args:
        data: what is fitted; `y` and `weight` are those of the kind's `learning` set.
        objective: LightGBM's `objective` and the `metric` to stop early on.
        defaults: what the kind sets otherwise than `DEFAULTS`.
    """

    def __init__(self, data: TrainingSet, objective: Mapping[str, Any], defaults: Parameters | None = None) -> None:
        import lightgbm  # noqa: PLC0415

        self._lightgbm = lightgbm
        self.data = data
        self.defaults = {**DEFAULTS, **(defaults or {})}
        self.fixed = {**FIXED, **threads(data.train.x.size), **objective}
        self._train = self._dataset(data.train)
        self._validation: Any = None

    def fit(
        self,
        parameters: Parameters,
        *,
        rounds: int = _MOST_ROUNDS,
        watch: Callable[[int, float], None] | None = None,
    ) -> Model:
        """Fit with early stopping on the validation split's loss; the same data and parameters, the same text.

        Args:
            watch: told (round from 1, validation loss) after each; what it raises ends the fit.
        """
        if self._validation is None:
            self._validation = self._dataset(self.data.validation, self._train)
        stop = self._lightgbm.early_stopping(_PATIENCE, verbose=False, min_delta=_LEAST_GAIN)
        watching = [lambda env: watch(env.iteration + 1, env.evaluation_result_list[0][2])] if watch else []
        booster = self._boost(parameters, rounds, [*watching, stop], valid_sets=[self._validation])
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        loss = next(iter(booster.best_score["valid_0"].values()))
        return Model(text, dict(parameters), int(booster.best_iteration), float(loss))

    def refit(self, parameters: Parameters, rounds: int) -> Model:
        """Fit exactly so many rounds, watching nothing: the text of a `fit` that stopped there, bit by bit."""

        def stop(env: Any) -> None:
            if env.iteration + 1 >= rounds:
                raise self._lightgbm.callback.EarlyStopException(env.iteration, [])

        booster = self._boost(parameters, max(rounds, _MOST_ROUNDS), [stop])
        model = Model(booster.model_to_string(num_iteration=rounds), dict(parameters), rounds, float("nan"))
        return Model(model.text, model.parameters, rounds, self._mean(self.losses(model)))

    def losses(self, model: Model) -> Floats:
        """The validation loss of each row [n], unweighted; its weighted mean is `model.validation_loss`."""
        validation = self.data.validation
        return losses.by_row(self.fixed, model.raw(validation.x), validation.y)

    def out_of_fold(self, model: Model) -> Floats:
        """Raw scores [n] of the train split, each by a model like `model` that was not fitted on its person."""
        rows = self.data.train
        raw = np.empty(len(rows))
        fold = folds.by_person(rows.person, rows.y, _FOLDS if rows.x.size < LARGE else _LARGE_FOLDS)
        for held_out in range(int(fold.max()) + 1):
            out = np.flatnonzero(fold == held_out)
            rest = self._train.subset(np.flatnonzero(fold != held_out).tolist())
            booster = self._lightgbm.train(self._all(model.parameters), rest, num_boost_round=model.rounds)
            for start in range(0, len(out), _CHUNK):
                chunk = out[start : start + _CHUNK]
                raw[chunk] = _predict(booster, rows.x[chunk], raw_score=True)
        return raw

    def _boost(self, parameters: Parameters, rounds: int, callbacks: Sequence[Any], **more: Any) -> Any:
        return self._lightgbm.train(
            self._all(parameters), self._train, num_boost_round=rounds, callbacks=[*callbacks], **more
        )

    def _all(self, parameters: Parameters) -> dict[str, Any]:
        directions = [self.data.problem.monotone.get(name, 0) for name in self.data.inputs]
        monotone = {"monotone_constraints": directions} if any(directions) else {}
        return {**self.fixed, **parameters, **monotone}

    def _mean(self, loss: Floats) -> float:
        return float(np.average(loss, weights=self.data.validation.weight))

    def _dataset(self, split: Split, reference: Any = None) -> Any:
        return self._lightgbm.Dataset(
            split.x,
            label=split.y,
            weight=split.weight,
            reference=reference,
            feature_name=self.data.columns,
            categorical_feature=self.data.categories,
            params=self.fixed,
            free_raw_data=False,
        ).construct()


def additive(x: Matrix, target: Floats, names: list[str], categories: list[int], taken: list[int]) -> tuple[str, int]:
    """A function of single columns as a binary model's text, and its trees: each tree splits on one column alone.

    Args:
        x: [n, k] rows at which the function is known.
        target: [n] its values, log-odds; a sum of functions of one `taken` column each.
        names: the columns of the card, in order.
    """
    import lightgbm  # noqa: PLC0415

    exact = {**FIXED, **_EXACT, **threads(0), "interaction_constraints": [[each] for each in taken]}
    rows = lightgbm.Dataset(x, label=target, feature_name=names, categorical_feature=categories, params=exact)
    text = lightgbm.train(exact, rows, num_boost_round=_EXACT_ROUNDS).model_to_string()
    # Fitted as a regression, read as what it is: log-odds.
    return text.replace("\nobjective=regression\n", "\nobjective=binary sigmoid:1\n", 1), _EXACT_ROUNDS


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
