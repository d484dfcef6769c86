"""Hillstrom's e-mail test: who should get the women's e-mail can be told; of the men's, targeting has no proven gain.

64,000 customers were drawn at random for a women's, a men's or no e-mail; the outcome is a visit within two weeks. Each
e-mail is judged against none. Five folds of people: each is answered by a model of the whole pipeline (nuisance,
R-learner, calibration; tuning off) that was fitted on three others and stopped early on a fourth. Qini, its
bootstrap interval and 200 random rankings are over all five folds together, ranked by how far an answer lies from the
average effect its own model learnt from: a fold whose average came out high by chance leaves a low one to the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.reference import Claim, Progress, Reference
from features.kernel.card import CardFeature, Cutoffs
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator, uniform
from features.recipe import Imported, load_recipe, read
from training import pipeline
from training.effects.pseudo_outcomes import arms
from training.effects.treatment import UNIT, two_arms
from training.evaluation.result import Evaluation
from training.evaluation.uplift import evaluate
from training.plan import Plan
from training.problem import Problem
from training.rows.dataset import assemble
from training.trainingset import TrainingSet

__all__ = ["MEN", "WOMEN", "out_of_fold", "reference", "training_set"]

FOLDS = 5
WOMEN, MEN, NOBODY = "Womens E-Mail", "Mens E-Mail", "No E-Mail"
_SENT = datetime(2008, 3, 20, tzinfo=UTC)
_HORIZON = timedelta(days=14)
_PROVEN = 5.0
"""Standard deviations of random rankings by which the women's Qini must lie above chance."""


def training_set(imported: Imported, treated: str, fold: int) -> TrainingSet:
    """One e-mail against none: the fold of customers is the test split, the next one validation, the others train."""
    info = imported.snapshot
    if info is None:
        raise InvalidInput("holds events, not labelled snapshots", field="recipe", value=imported.recipe)
    number = pl.col("customer_id").map_elements(_fold, return_dtype=pl.Int64)
    place = {fold: "test", (fold + 1) % FOLDS: "validation"}
    made = two_arms(imported.table.rename({"id": "customer_id"}), "treatment", control=NOBODY, treated=treated)
    rows = made.rows.with_columns(number.replace_strict(place, default="train", return_dtype=pl.String).alias("split"))
    features = tuple(
        CardFeature(ref=each.name, dtype=each.dtype, unit=each.unit, phrase=each.phrase) for each in info.columns
    )
    problem = Problem(
        name="hillstrom",
        question=f"By how much does the {treated} change the probability of a visit within {{days}} days?",
        population=lambda events, cutoff: events.select("customer_id").unique(),
        label=lambda events, population, cutoff, horizon: population,
        horizon=_HORIZON,
        features=tuple(each.ref for each in features),
        baseline=info.baseline,
        needs=(),
        kind="uplift",
        unit=UNIT,
    )
    cutoffs = Cutoffs(train=(_SENT,), validation=(_SENT,), test=(_SENT,))
    data = assemble(problem, rows, features, cutoffs, _SENT + _HORIZON)
    return replace(data, source="request", split="random", limits=made.limits)


def out_of_fold(imported: Imported, treated: str, told: Callable[[float], None] = lambda share: None) -> Evaluation:
    """Figures of one e-mail against none over all customers, each answered by a model that never saw them."""
    parts = []
    for fold in range(FOLDS):
        data = training_set(imported, treated, fold)
        found = pipeline.fit(data, plan=Plan(trials=0))
        parts.append((data.test.y, *arms(data.test), found.answers - found.baseline, found.baseline, data.test.person))
        told((fold + 1) / FOLDS)
    y, arm, propensity, beyond, averages, person = (np.concatenate(each) for each in zip(*parts, strict=True))
    average = np.full(len(y), averages.mean())
    return evaluate(y, arm, propensity, average + beyond, average, person, generator("hillstrom", treated))


def _fold(customer: str) -> int:
    return int(FOLDS * uniform("hillstrom", customer))


def _run(folder: Path, progress: Progress) -> list[Claim]:
    imported = read(load_recipe("hillstrom"), folder / "hillstrom" / "hillstrom.csv")
    women = out_of_fold(imported, WOMEN, lambda share: progress("women's e-mail", share / 2))
    men = out_of_fold(imported, MEN, lambda share: progress("men's e-mail", 0.5 + share / 2))
    sds, gain = women.metric("qini_in_null_sds"), men.gain
    return [
        _effect("women's", women, 0.045),
        Claim(
            what="women's e-mail: Qini in standard deviations of random rankings",
            value=sds.value,
            target=f"at least {_PROVEN:.0f}",
            holds=sds.value >= _PROVEN and women.gain.low > 0,
            low=sds.low,
            high=sds.high,
            peer=7.7,
            note=_note(women),
        ),
        _effect("men's", men, 0.077),
        Claim(
            what="men's e-mail: Qini",
            value=gain.value,
            target="no proven gain: its interval holds 0",
            holds=gain.low <= 0,
            low=gain.low,
            high=gain.high,
            peer=0.001,
            note=_note(men),
        ),
    ]


def _effect(whose: str, found: Evaluation, known: float) -> Claim:
    effect = found.metric("average_effect")
    return Claim(
        what=f"{whose} e-mail: average effect on a visit",
        value=effect.value,
        target=f"{known} to three places",
        holds=abs(effect.value - known) < 1e-3,
        low=effect.low,
        high=effect.high,
        peer=known,
    )


def _note(found: Evaluation) -> str:
    qini, sds, chance = found.metric("qini"), found.metric("qini_in_null_sds"), found.tables["null"][0]
    return (
        f"Qini {qini.value:.4f} ({qini.low:.4f} to {qini.high:.4f}), {sds.value:.1f} standard deviations of random "
        f"rankings ({chance['mean']:.4f}, sd {chance['sd']:.4f})"
    )


reference = Reference(
    name="hillstrom",
    about="an e-mail test of 64,000 customers: the women's e-mail can be targeted, the men's has no proven gain",
    needs="hillstrom",
    run=_run,
)
