"""The simple model of an amount, where a problem names none of its own: a Tweedie regression on few columns.

The columns are the problem's `baseline`, prepared as `training.baseline` prepares them for a logistic regression:
medians for missing values and a flag that they were, the signed logarithm of what spans decades, one column a category.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import TweedieRegressor
from sklearn.pipeline import make_pipeline

from training import baseline
from training.trainingset import TrainingSet

__all__ = ["predict"]

_RIDGE = 1e-3


def predict(data: TrainingSet) -> NDArray[np.float64]:
    """Expected amounts [n] of the test split by the simple model fitted on the train split."""
    if data.problem.simple:
        return data.problem.simple.predict(data)
    taken = [data.inputs.index(name) for name in data.problem.baseline]
    y, weight = data.train.y, data.train.weight
    mean = float(np.average(y, weights=weight))
    glm = TweedieRegressor(power=1.5, link="log", alpha=_RIDGE, max_iter=1000)
    model = make_pipeline(baseline.columns(data, taken), glm)
    model.fit(data.train.x[:, taken], y / mean, tweedieregressor__sample_weight=weight)
    return mean * np.asarray(model.predict(data.test.x[:, taken]), dtype=np.float64)
