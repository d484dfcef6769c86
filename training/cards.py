"""Writing the card: what was found in training, in the form serving reads, its weakness in the first sentence."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from features.kernel.card import Calibration, Card, GateFinding
from features.kernel.seeds import generator
from training import baseline
from training.booster import Model
from training.evaluation.outcome import outcome
from training.evaluation.result import Evaluation
from training.headline import headline
from training.trainingset import TrainingSet, decode

__all__ = ["reference", "write"]

REFERENCE_ROWS = 5_000


def write(
    data: TrainingSet,
    model: Model,
    calibration: Calibration,
    evaluation: Evaluation,
    findings: tuple[GateFinding, ...],
    trained_at: datetime,
) -> Card:
    """The card of a model, without its version and run, which the registry gives."""
    problem = data.problem
    return Card(
        problem=problem.name,
        version="",
        kind=problem.kind,
        source=data.source,
        question=problem.asked,
        headline=headline(data, evaluation, findings, model.learner),
        horizon_days=problem.horizon.days,
        features=data.features,
        candidates=data.candidates,
        calibration=calibration,
        prior=_prior(data),
        unit=problem.unit,
        learner=model.learner,
        gates=findings,
        split=data.split,
        limits=data.limits,
        columns=data.refused,
        parameters=dict(model.parameters),
        rounds=model.rounds,
        default_features=data.defaults,
        metrics=evaluation.metrics,
        baseline=baseline.describe(data),
        cutoffs=data.cutoffs,
        rows={name: len(split) for name, split in data.splits.items()},
        data_hash=data.data_hash,
        membership_hash=data.membership_hash,
        model_sha256=model.sha256,
        trained_at=trained_at,
    )


def _prior(data: TrainingSet) -> float:
    """The mean outcome of the train split, each row with its weight; of an uplift problem the mean effect."""
    return float(np.average(outcome(data.train), weights=data.train.weight))


def reference(data: TrainingSet) -> pl.DataFrame:
    """Up to 5,000 of the newest rows learnt from, one column per feature reference, without ids, for drift.

    The newest: what is compared with today's scores should differ from them by change, not by age.
    """
    rows, n = data.train, len(data.train)
    cutoff = np.sort(rows.as_of)[max(0, n - REFERENCE_ROWS)]
    newest = np.flatnonzero(rows.as_of >= cutoff)
    chosen = np.sort(generator("reference", data.problem.name).permutation(newest)[:REFERENCE_ROWS])
    columns: dict[str, pl.Series] = {}
    for i, feature in enumerate(data.features):
        values = rows.x[chosen, i]
        if feature.dtype == "category":
            columns[feature.ref] = pl.Series(decode(values, feature.vocabulary), dtype=pl.String)
        else:
            columns[feature.ref] = pl.Series(values, dtype=pl.Float32).fill_nan(None)
    return pl.DataFrame(columns)
