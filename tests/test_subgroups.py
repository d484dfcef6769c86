"""Subgroup gaps: Fairlearn's figures, intervals by person, and gaps that a planted difference shows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from features.kernel.card import Metric
from features.kernel.seeds import generator
from training.evaluation.judged import Judged
from training.evaluation.subgroups import MOST, OTHERS, UNKNOWN, table
from training.kinds import kind_of
from training.synthetic import Synthetic, draw
from training.trainingset import Split, TrainingSet

Floats = NDArray[np.float64]

AUC = Metric(name="auc", value=0.7, low=0.6, high=0.8)


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return draw(generator("subgroups"), 800)


def judged(data: TrainingSet, answers: Floats) -> Judged:
    return Judged(data, kind_of(data.problem), AUC, answers, answers, data.validation.y)


def grouped(data: TrainingSet, groups: NDArray[np.str_], **changes: Any) -> TrainingSet:
    return dataclasses.replace(data, test=dataclasses.replace(data.test, groups={"city": groups}, **changes))


def cities(data: TrainingSet) -> NDArray[np.str_]:
    return np.array(data.features[2].vocabulary)[data.test.x[:, 2].astype(int)]


def rows_of(made: Synthetic, answers: Floats, groups: NDArray[np.str_], **changes: Any) -> dict[str, dict[str, Any]]:
    data = grouped(made.data, groups, **changes)
    return {each["group"]: each for each in table(judged(data, answers), generator("draws"))}


def test_figures_by_group_equal_those_counted_by_hand(made: Synthetic) -> None:
    """With weights: rows, positives, AUC, means, and the share that is among the best tenth of all."""
    weight = generator("weights").integers(1, 4, len(made.truth)).astype(float)
    groups, y, p = cities(made.data), made.data.test.y, made.truth
    found = rows_of(made, p, groups, weight=weight)
    order = np.argsort(-p)
    best = p >= p[order[np.searchsorted(np.cumsum(weight[order]), 0.1 * weight.sum())]]
    assert sorted(found) == sorted(set(groups.tolist()))
    for name, row in found.items():
        at = groups == name
        assert (row["rows"], row["positives"]) == (at.sum(), y[at].sum())
        assert row["value"] == pytest.approx(roc_auc_score(y[at], p[at], sample_weight=weight[at]))
        expected = {
            "predicted": np.average(p[at], weights=weight[at]),
            "observed": np.average(y[at], weights=weight[at]),
            "selection_rate": np.average(best[at], weights=weight[at]),
        }
        assert {key: row[key] for key in expected} == pytest.approx(expected)
        assert row["bias"] == pytest.approx(expected["predicted"] - expected["observed"])
        for key in ("value", "gap", "bias", "ece", *expected):
            assert row[f"{key}_low"] <= row[key] <= row[f"{key}_high"]


def test_the_gap_is_to_the_mean_of_the_other_groups(made: Synthetic) -> None:
    found = rows_of(made, made.truth, cities(made.data))
    for name, row in found.items():
        others = [each for other, each in found.items() if other != name]
        mean = np.average([each["value"] for each in others], weights=[each["rows"] for each in others])
        assert row["gap"] == pytest.approx(row["value"] - mean)


def test_a_group_that_is_ranked_by_chance_and_one_that_is_overestimated_stand_out(made: Synthetic) -> None:
    groups, p = cities(made.data), made.truth.copy()
    p[groups == "Lyon"] = generator("lyon").permutation(p[groups == "Lyon"])
    p[groups == "Porto"] = np.clip(p[groups == "Porto"] + 0.2, 0, 0.99)
    found = rows_of(made, p, groups)
    assert found["Lyon"]["gap_high"] < -0.05 and found["Porto"]["bias_low"] > 0.1
    assert all(found[name]["gap_high"] > -0.05 and found[name]["bias_low"] < 0.05 for name in ("Bergen", "Turin"))


def test_groups_that_differ_by_chance_alone_are_seldom_apart() -> None:
    """Of 40 draws with two groups by lot, the 95 % interval of the gap must hold zero in 34 at least."""
    held = 0
    for number in range(40):
        small = draw(generator("null", number), 150)
        lot = np.where(generator("lot", number).random(len(small.truth)) < 0.5, "a", "b")
        row = rows_of(small, small.truth, lot)["a"]
        held += row["gap_low"] <= 0 <= row["gap_high"]
    assert held >= 34


def test_small_groups_are_told_together_and_the_unknown_apart(made: Synthetic) -> None:
    rng = generator("many")
    names = np.array(["", *(f"g{i:02d}" for i in range(30))])
    groups = names[np.minimum((rng.exponential(6, len(made.truth))).astype(int), 30)]
    found = rows_of(made, made.truth, groups)
    assert len(found) == MOST + 2 and {OTHERS, UNKNOWN} <= found.keys()
    assert found[UNKNOWN]["rows"] == (groups == "").sum()
    assert sum(each["rows"] for each in found.values()) == len(groups)


def test_a_group_of_one_class_has_no_auc_but_its_rates(made: Synthetic) -> None:
    groups = np.where(made.data.test.y > 0, cities(made.data), "Bergen")
    found = rows_of(made, made.truth, groups)
    assert np.isnan(found["Lyon"]["value"]) and np.isnan(found["Lyon"]["gap"])
    assert found["Lyon"]["observed"] == 1 and not np.isnan(found["Bergen"]["value"])


def test_an_effect_is_compared_with_the_effect_in_the_group(made: Synthetic) -> None:
    """The treatment adds .3 in Bergen and nothing elsewhere; a model that says .1 for all is off by .2 there."""
    rng, groups = generator("effect"), cities(made.data)
    arm = (rng.random(len(groups)) < 0.4).astype(float)
    y = (rng.random(len(groups)) < 0.3 + 0.3 * arm * (groups == "Bergen")).astype(float)
    test: Split = dataclasses.replace(made.data.test, y=y, arm=arm, propensity=np.full(len(y), 0.4))
    data = dataclasses.replace(made.data, problem=dataclasses.replace(made.data.problem, kind="uplift"), test=test)
    data = grouped(data, groups)
    answers = np.full(len(y), 0.1)
    qini = Metric(name="qini", value=0.0, low=0.0, high=0.0)
    given = Judged(data, kind_of(data.problem), qini, answers, answers, data.validation.y)
    found = {each["group"]: each for each in table(given, generator("draws"))}
    assert found["Bergen"]["observed"] == pytest.approx(0.3, abs=0.12)
    assert found["Bergen"]["bias_high"] < 0 and found["Turin"]["bias_high"] > 0
    assert "ece" not in found["Bergen"] and found["Bergen"]["figure"] == "qini"


def test_without_sensitive_attributes_there_is_no_table(made: Synthetic) -> None:
    assert table(judged(made.data, made.truth), generator("draws")) == ()
