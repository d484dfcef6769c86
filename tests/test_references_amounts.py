"""CDNOW and Online Retail against their known results: each whole run is `kairos results`; here what is quick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.cohorts import in_folds, labelled, training_set
from benchmarks.references import cdnow, online_retail
from features.recipe import load_recipe, read
from training.problems import all_problems

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) are not here"),
]


@pytest.fixture(scope="module")
def retail() -> pl.DataFrame:
    return read(load_recipe("online_retail"), DATA / "online_retail" / "onlineretail.parquet").events


@pytest.fixture(scope="module")
def discs() -> pl.DataFrame:
    return read(load_recipe("cdnow"), DATA / "cdnow" / "CDNOW_master.txt").events


def test_online_retail_reaches_its_reference(retail: pl.DataFrame) -> None:
    """AUC .725 and normalised Gini .76, and nothing that was learnt from was unknown at the test cutoff."""
    buys = online_retail.fitted(all_problems()["propensity"], retail)
    spends = online_retail.fitted(all_problems()["clv"], retail)
    assert buys.evaluation.metric("auc").value >= online_retail.AUC
    assert spends.evaluation.metric("gini").value >= online_retail.GINI
    for found in (buys, spends):
        data = found.data
        latest = max(data.train.as_of.max(), data.validation.as_of.max())
        assert latest + np.timedelta64(data.problem.horizon) <= data.test.as_of.min()
        assert set(data.train.person) & set(data.validation.person) == set()
    assert buys.evaluation.mean == pytest.approx(0.569, abs=1e-3)


def test_people_of_a_fold_are_answered_by_a_model_of_others(discs: pl.DataFrame) -> None:
    """On every eighth customer of CDNOW: each is answered once, and well enough."""
    people = discs["customer_id"].unique().sort().gather_every(8)
    events = discs.filter(pl.col("customer_id").is_in(people.implode()))
    problem = replace(all_problems()["propensity"], horizon=cdnow.WINDOW, features=("orders:*",))
    rows = labelled(problem, events, [cdnow.CUTOFF])
    judged = in_folds(problem, rows, lambda share: None, folds=3)
    assert sorted(judged.rows.person.tolist()) == people.to_list()
    assert np.bincount(judged.fold).min() > 0.3 * len(people) * 0.9
    ranked = np.argsort(judged.answers)
    assert judged.rows.y[ranked[-300:]].mean() > 2.5 * judged.rows.y.mean()
    assert judged.answers.mean() == pytest.approx(judged.rows.y.mean(), rel=0.1)
    middle = cdnow.medians(labelled(cdnow.counting(), events, [cdnow.CUTOFF]), folds=3)
    assert sorted(middle) == people.to_list() and np.median(list(middle.values())) < 0.1
    parts = pl.Series(["train", "validation", "test", None] * len(rows))[: len(rows)]
    assert sum(map(len, training_set(problem, rows, parts).splits.values())) == int(parts.is_not_null().sum())
