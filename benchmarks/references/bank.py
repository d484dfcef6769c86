"""Bank Marketing without the call's duration, in five folds: who will subscribe.

Each fold is answered, calibrated, by the whole pipeline with eight trials of tuning, fitted on nine tenths of the
others and stopped early on the tenth. The year is in the rows' order only and the folds are random, as in the known
result: what drift does to such a model is shown by `bank_drift`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.reference import Claim, Progress, Reference
from features.importing.imported import Imported
from features.kernel.card import CardFeature, Cutoffs
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator, uniform
from features.recipe import load_recipe, read
from training import pipeline
from training.evaluation import binary
from training.plan import Plan
from training.problem import Problem
from training.rows.dataset import assemble
from training.trainingset import Split, TrainingSet

__all__ = ["reference", "training_set"]

FOLDS, VALIDATION = 5, 0.1
AUC, LOG_LOSS = 0.80, 0.281


def training_set(imported: Imported, split: Callable[[pl.DataFrame], pl.Series]) -> TrainingSet:
    """The recipe's rows as a training set.

    Args:
        split: rows -> [n] `train`, `validation`, `test`, or null for rows to leave out.
    """
    info = imported.snapshot
    if info is None:
        raise InvalidInput("holds events, not labelled snapshots", field="recipe", value=imported.recipe)
    features = tuple(
        CardFeature(ref=each.name, dtype=each.dtype, unit=each.unit, phrase=each.phrase) for each in info.columns
    )
    problem = Problem(
        name="bank_marketing",
        question=info.question,
        population=lambda events, cutoff: events.select("customer_id").unique(),
        label=lambda events, population, cutoff, horizon: population,
        horizon=timedelta(days=info.horizon_days),
        features=tuple(each.ref for each in features),
        baseline=info.baseline,
        needs=(),
    )
    rows = imported.table.rename({"id": "customer_id"})
    rows = rows.with_columns(split(rows).alias("split")).drop_nulls("split")
    whole = (rows["as_of"][0], rows["as_of"][-1])
    cutoffs = Cutoffs(train=whole, validation=whole, test=whole)
    data = assemble(problem, rows, features, cutoffs, whole[1] + problem.horizon)
    return replace(data, source="request", split="random")


def _fold(number: int) -> Callable[[pl.DataFrame], pl.Series]:
    def place(customer: str) -> str:
        if int(FOLDS * uniform("bank", customer)) == number:
            return "test"
        return "validation" if uniform("bank validation", customer) < VALIDATION else "train"

    return lambda rows: pl.Series([place(each) for each in rows["customer_id"]])


def _run(folder: Path, progress: Progress) -> list[Claim]:
    imported = read(load_recipe("bank_marketing"), folder / "bank_marketing" / "bank-full.csv")
    parts: list[tuple[Split, NDArray[np.float64], NDArray[np.float64]]] = []
    for number in range(FOLDS):
        data = training_set(imported, _fold(number))
        found = pipeline.fit(data, plan=Plan(trials=8))
        parts.append((data.test, found.answers, found.baseline))
        progress(f"fold {number + 1} of {FOLDS}", (number + 1) / FOLDS)
    every = _together([each for each, _, _ in parts])
    answers, simple = (np.concatenate([each[i] for each in parts]) for i in (1, 2))
    judged = binary.evaluate(every, answers, simple, generator("bank"))
    auc, loss, brier = (judged.metric(each) for each in ("auc", "log_loss", "brier"))
    return [
        Claim(
            "AUC", auc.value, f"at least {AUC:.2f}", auc.value >= AUC, auc.low, auc.high, 0.804, _beside(auc.baseline)
        ),
        Claim("log-loss", loss.value, f"at most {LOG_LOSS}", loss.value <= LOG_LOSS, loss.low, loss.high, 0.281),
        Claim("Brier score", brier.value, "at most .081", brier.value <= 0.0815, brier.low, brier.high, 0.081),
    ]


def _together(splits: list[Split]) -> Split:
    return Split(
        x=np.concatenate([each.x for each in splits]),
        y=np.concatenate([each.y for each in splits]),
        person=np.concatenate([each.person for each in splits]),
        as_of=np.concatenate([each.as_of for each in splits]),
    )


def _beside(baseline: float | None) -> str:
    return f"logistic regression on five columns: {baseline:.3f}"


reference = Reference(
    name="bank",
    about="Bank Marketing without duration, five random folds",
    needs="bank_marketing",
    run=_run,
)
