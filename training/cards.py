"""Writing the card: what was found in training, in the form serving reads, its weakness in the first sentence."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from features.kernel.card import Calibration, Card
from features.kernel.seeds import generator
from training import baseline
from training.booster import Model
from training.evaluation.result import Evaluation
from training.trainingset import TrainingSet, decode

__all__ = ["headline", "reference", "write"]

REFERENCE_ROWS = 5_000


def write(
    data: TrainingSet,
    model: Model,
    calibration: Calibration,
    evaluation: Evaluation,
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
        headline=headline(evaluation),
        horizon_days=problem.horizon.days,
        features=data.features,
        candidates=data.candidates,
        calibration=calibration,
        prior=float(data.train.y.mean()),
        unit=problem.unit,
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


def headline(evaluation: Evaluation) -> str:
    """One sentence on how far to trust the model, its weakest side first."""
    return f"{_weakness(evaluation)}; {_strength(evaluation)}."


def _weakness(evaluation: Evaluation) -> str:
    gain, error = evaluation.gain, evaluation.largest_error
    top = evaluation.metric("lift_top_decile").value * evaluation.mean
    if gain.low <= 0:
        return (
            f"Not shown to beat its baseline ({gain.name} {gain.value:+.3f}, 95 % {gain.low:+.3f} to {gain.high:+.3f})"
        )
    if error > 0.1:
        return f"Its probabilities are off by up to {100 * error:.0f} points in places"
    if evaluation.positives < 100:
        return f"Judged on only {evaluation.positives} positives, so every figure is rough"
    return f"Even of the tenth it is surest about, {100 * (1 - min(top, 1.0)):.0f} in 100 turn out otherwise"


def _strength(evaluation: Evaluation) -> str:
    auc, lift = evaluation.metric("auc"), evaluation.metric("lift_top_decile")
    beside = "" if auc.baseline is None else f", the baseline {100 * auc.baseline:.0f}"
    return (
        f"it ranks {100 * auc.value:.0f} of 100 pairs of a yes and a no rightly{beside}, "
        f"and its top tenth holds {lift.value:.1f} times the average share of yes"
    )


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
