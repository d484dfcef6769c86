"""Figures against scikit-learn's, and intervals that cover what they say they cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from features.kernel.seeds import generator
from training.evaluation.binary import evaluate
from training.evaluation.figures import HIGHER_IS_BETTER, Sorted
from training.trainingset import Split

Floats = NDArray[np.float64]

PEERS: dict[str, Callable[[Floats, Floats, Floats], float]] = {
    "auc": lambda y, p, w: float(roc_auc_score(y, p, sample_weight=w)),
    "pr_auc": lambda y, p, w: float(average_precision_score(y, p, sample_weight=w)),
    "log_loss": lambda y, p, w: float(log_loss(y, p, sample_weight=w)),
    "brier": lambda y, p, w: float(brier_score_loss(y, p, sample_weight=w)),
}


@given(st.integers(0, 10_000), st.integers(5, 200), st.sampled_from([2, 5, 1000]))
def test_figures_equal_those_of_scikit_learn(seed: int, n: int, levels: int) -> None:
    """Under any whole weights, zeros among them, and with ties."""
    rng = generator("figures", seed)
    p = (rng.integers(0, levels, n) + 0.5) / levels
    y, w = (rng.random(n) < p).astype(float), rng.integers(0, 4, n).astype(float)
    if not 0 < w @ y < w.sum():
        return
    found = Sorted(y, p).figures(w)
    assert {name: found[name] for name in PEERS} == pytest.approx({name: peer(y, p, w) for name, peer in PEERS.items()})


@given(st.integers(0, 10_000))
def test_a_weight_is_a_repetition(seed: int) -> None:
    rng = generator("weights", seed)
    p, w = rng.random(60).round(1), rng.integers(1, 5, 60)
    y = (rng.random(60) < 0.5).astype(float)
    y[:2] = 0, 1
    assert Sorted(y, p).figures(w.astype(float)) == pytest.approx(Sorted(np.repeat(y, w), np.repeat(p, w)).figures())


@given(st.integers(0, 10_000), st.integers(20, 300), st.sampled_from([3, 7, 1000]))
def test_reliability_less_resolution_plus_uncertainty_is_the_brier_score(seed: int, n: int, levels: int) -> None:
    """Exactly, with ties, under any weights; and with no more answers than bins the parts are Murphy's own."""
    rng = generator("murphy", seed)
    p = (rng.integers(0, levels, n) + 0.5) / levels
    y, w = (rng.random(n) < p).astype(float), rng.integers(0, 3, n).astype(float)
    if not 0 < w @ y < w.sum():
        return
    found = Sorted(y, p).figures(w)
    parts = found["brier_reliability"] - found["brier_resolution"] + found["brier_uncertainty"]
    assert parts == pytest.approx(float(brier_score_loss(y, p, sample_weight=w)))
    assert found["brier_reliability"] >= 0 and 0 <= found["brier_uncertainty"] <= 0.25


def test_the_parts_of_a_brier_score_by_hand() -> None:
    """Two answers, each right once in its five bins: Murphy's sums over distinct answers."""
    p = np.repeat([0.2, 0.8], 50)
    y = np.r_[np.repeat([0.0, 1], [30, 20]), np.repeat([0.0, 1], [10, 40])]
    found = Sorted(np.r_[y], p).figures()
    reliability = (50 * (0.2 - 0.4) ** 2 + 50 * (0.8 - 0.8) ** 2) / 100
    resolution = (50 * (0.4 - 0.6) ** 2 + 50 * (0.8 - 0.6) ** 2) / 100
    assert found["brier_reliability"] == pytest.approx(reliability)
    assert found["brier_resolution"] == pytest.approx(resolution)
    assert found["brier_uncertainty"] == pytest.approx(0.24)


def test_a_wrong_answer_loses_reliability_and_a_blunt_one_resolution() -> None:
    y, p, _ = people(generator("parts"), 4000, 1)
    right = Sorted(y, p).figures()
    odds = np.exp(np.log(p / (1 - p)) + 1)
    off, blunt = Sorted(y, odds / (1 + odds)).figures(), Sorted(y, np.full(len(p), y.mean())).figures()
    assert off["brier_reliability"] > 5 * right["brier_reliability"]
    assert off["brier_resolution"] == pytest.approx(right["brier_resolution"], rel=0.1)
    assert blunt["brier_resolution"] == pytest.approx(0, abs=1e-12)
    assert blunt["brier_reliability"] == pytest.approx(0, abs=1e-12)


def test_row_weights_count_in_every_figure_and_interval() -> None:
    """A weight of three is the row three times, of the same person."""
    y, p, person = people(generator("weighted"), 120, 3)
    w = generator("w").integers(1, 4, len(y))
    once = evaluate(split(y, person, w.astype(float)), p, 1 - p, generator("draws"), draws=40)
    thrice = evaluate(
        split(np.repeat(y, w), np.repeat(person, w)), np.repeat(p, w), np.repeat(1 - p, w), generator("draws"), draws=40
    )
    for ours, theirs in zip((*once.metrics, once.gain), (*thrice.metrics, thrice.gain), strict=True):
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high))
    assert once.mean == pytest.approx(thrice.mean)
    assert once.tables["deciles"][0]["lift_low"] == pytest.approx(thrice.tables["deciles"][0]["lift_low"])


def test_lift_and_calibration_error_by_hand() -> None:
    """Ten bins of two rows; the best tenth holds both positives of five: 2/2 over 5/20."""
    p = np.repeat(np.arange(10) / 10 + 0.05, 2)
    y = np.zeros(20)
    y[[18, 19, 10, 3, 4]] = 1
    found = Sorted(y, p)
    assert found.figures()["lift_top_decile"] == pytest.approx(4.0)
    observed = y.reshape(10, 2).mean(axis=1)
    assert found.figures()["ece"] == pytest.approx(np.abs(observed - p[::2]).mean())
    assert found.bins().observed == pytest.approx(observed)


def test_one_class_alone_has_no_figures() -> None:
    assert all(np.isnan(each) for each in Sorted(np.ones(5), np.linspace(0.1, 0.9, 5)).figures().values())


def split(y: Floats, person: NDArray[np.str_], weight: Floats | None = None) -> Split:
    """A test split of which nothing but labels and persons is looked at."""
    nothing = np.empty((len(y), 0), dtype=np.float32)
    return Split(nothing, y, person, np.full(len(y), np.datetime64("2026-01-01", "us")), weight=weight)


def people(rng: np.random.Generator, n: int, rows: int) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Labels, scores and persons: n persons with `rows` rows that share most of their score and of their outcome."""
    trait = np.repeat(rng.normal(size=n), rows)
    luck = np.repeat(rng.normal(0, 1.5, n), rows)
    score = trait + rng.normal(0, 0.3, n * rows)
    y = (rng.random(n * rows) < 1 / (1 + np.exp(-(score + luck)))).astype(float)
    return y, 1 / (1 + np.exp(-score)), np.repeat([f"p{i}" for i in range(n)], rows)


def test_intervals_by_person_cover_the_truth() -> None:
    """Of 150 simulated test sets the 95 % interval must hold the true figure in 88 to 99 %.

    Under a coverage of .95 the chance of fewer is below one in a thousand. Intervals by row must do worse.
    """
    rng = generator("coverage")
    y, p, _ = people(rng, 60_000, 5)
    truth = Sorted(y, p).figures()
    names = ("auc", "log_loss", "brier")
    by_person, by_row = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for _ in range(150):
        y, p, person = people(rng, 150, 5)
        for held, units in ((by_person, person), (by_row, np.arange(len(y)).astype(str))):
            found = evaluate(split(y, units), p, p, rng, draws=100)
            for name in names:
                metric = found.metric(name)
                held[name] += metric.low <= truth[name] <= metric.high
    assert all(0.88 <= each / 150 <= 0.99 for each in by_person.values()), by_person
    assert all(by_row[name] < by_person[name] for name in names), (by_row, by_person)


def test_the_gain_is_the_difference_and_knows_its_direction() -> None:
    y, p, person = people(generator("gain"), 400, 3)
    worse = generator("noise").permutation(p)
    for name in ("auc", "log_loss"):
        found = evaluate(split(y, person), p, worse, generator("draws"), judged=name)
        difference = found.metric(name).value - Sorted(y, worse).figures()[name]
        assert found.gain.value == pytest.approx(difference if HIGHER_IS_BETTER[name] else -difference)
        assert 0 < found.gain.low < found.gain.value < found.gain.high
    same = evaluate(split(y, person), p, p, generator("draws"))
    assert same.gain.low == same.gain.value == same.gain.high == 0


def test_the_same_generator_gives_the_same_intervals() -> None:
    y, p, person = people(generator("same"), 100, 2)
    first, again, other = (evaluate(split(y, person), p, p, generator(seed)) for seed in "aab")
    assert first.metrics == again.metrics and first.tables == again.tables
    assert first.metrics != other.metrics
