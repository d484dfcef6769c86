"""The baseline: what a careful person would do in an afternoon. A model that does not beat it is not worth its keep.

A logistic regression on the few columns the problem names: medians for missing values (and a flag that they were),
the signed logarithm of what spans decades, standardised; categories one column each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from training.trainingset import TrainingSet

__all__ = ["columns", "describe", "predict"]


def describe(data: TrainingSet) -> str:
    """The baseline in words."""
    if data.problem.simple:
        return data.problem.simple.about
    if data.problem.kind == "uplift":
        return "the average effect for everybody"
    regression = "Tweedie" if data.problem.kind == "regression" else "logistic"
    return f"{regression} regression on {', '.join(data.problem.baseline)}"


def predict(data: TrainingSet) -> NDArray[np.float64]:
    """Probabilities [n] of the test split by the baseline fitted on the train split."""
    taken = [data.inputs.index(name) for name in data.problem.baseline]
    model = make_pipeline(columns(data, taken), LogisticRegression(max_iter=1000))
    model.fit(data.train.x[:, taken], data.train.y, logisticregression__sample_weight=data.train.weight)
    return np.asarray(model.predict_proba(data.test.x[:, taken])[:, 1], dtype=np.float64)


def columns(data: TrainingSet, taken: list[int]) -> ColumnTransformer:
    """Prepares the taken columns of the matrix for a linear model, as the module says."""
    categories = [place for place, i in enumerate(taken) if i in data.categories]
    numbers = [place for place in range(len(taken)) if place not in categories]
    numeric = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        FunctionTransformer(_signed_log),
        StandardScaler(),
    )
    return ColumnTransformer(
        [("numbers", numeric, numbers), ("categories", OneHotEncoder(handle_unknown="ignore"), categories)]
    )


def _signed_log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(x) * np.log1p(np.abs(x))
