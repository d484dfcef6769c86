"""Calibration: knots a card can carry, that rise, and that make probabilities truer on rows not seen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from features.kernel.card import Calibration
from features.kernel.seeds import generator
from training.calibration import calibrate
from training.calibration.calibrators import all_calibrators
from training.evaluation.figures import Sorted

Floats = NDArray[np.float64]


def sigmoid(z: Floats) -> Floats:
    return 1 / (1 + np.exp(-z))


def simulated(n: int, distortion: float, *names: object) -> tuple[Floats, Floats, Floats]:
    """Raw log-odds of a model that is `distortion` times too sure of itself, labels, and the true probabilities."""
    rng = generator("calibration", n, distortion, *names)
    true = rng.normal(-1.0, 1.2, n)
    p = sigmoid(true)
    return distortion * true + 0.5, (rng.random(n) < p).astype(float), p


@pytest.mark.parametrize("n", [900, 12_000])
@pytest.mark.parametrize("distortion", [0.4, 2.5])
def test_it_makes_probabilities_truer_on_rows_not_seen(n: int, distortion: float) -> None:
    raw, y, _ = simulated(n, distortion, "fit")
    found = calibrate.fit(raw, y)
    new_raw, new_y, truth = simulated(20_000, distortion, "new")
    before, after = sigmoid(new_raw), calibrate.apply(found, new_raw)
    assert np.mean((after - truth) ** 2) < 0.15 * np.mean((before - truth) ** 2)
    figures = Sorted(new_y, after).figures()
    assert figures["ece"] < 0.5 * Sorted(new_y, before).figures()["ece"]
    assert figures["log_loss"] < Sorted(new_y, before).figures()["log_loss"]


# -- which calibrator --------------------------------------------------------------------------------------------------


def test_a_straight_line_is_taken_for_what_it_is() -> None:
    """Nothing that bends is better beyond noise, so nothing that bends is taken."""
    for number in range(3):
        raw, y, _ = simulated(6_000, 1.7, number)
        assert calibrate.fit(raw, y).method == "platt"


def stairs(n: int, *names: object) -> tuple[Floats, Floats, Floats]:
    rng = generator("stairs", *names)
    raw = rng.normal(0, 2, n)
    p = 0.1 + 0.25 * (raw > -1) + 0.5 * (raw > 1.5)
    return raw, (rng.random(n) < p).astype(float), p


def test_what_bends_is_taken_where_the_truth_bends() -> None:
    raw, y, p = stairs(20_000)
    found = calibrate.fit(raw, y)
    assert found.method in ("isotonic", "venn_abers")
    straight = calibrate.with_calibrator(all_calibrators()["platt"], raw, y)
    assert np.mean((calibrate.apply(found, raw) - p) ** 2) < 0.4 * np.mean((calibrate.apply(straight, raw) - p) ** 2)


def test_a_sigmoid_that_is_steeper_on_one_side_is_a_beta() -> None:
    rng = generator("beta")
    raw = rng.normal(0, 2, 20_000)
    p = sigmoid(0.4 * np.log(sigmoid(raw)) - 2.0 * np.log(1 - sigmoid(raw)) - 0.7)
    found = calibrate.fit(raw, (rng.random(len(raw)) < p).astype(float))
    assert found.method == "beta" and np.sqrt(np.mean((calibrate.apply(found, raw) - p) ** 2)) < 0.02


def test_where_the_rarer_class_is_small_nothing_that_bends_is_considered() -> None:
    raw, y, _ = stairs(150)
    assert calibrate.fit(raw, y).method == "platt"


def test_calibrators_are_judged_on_the_validation_rows() -> None:
    """The curve bends there alone; judged on all rows alike it would not be seen."""
    raw, y, _ = stairs(6_000)
    far, away, _ = simulated(6_000, 1.0, "train")
    both, labels = np.r_[raw, far + 20], np.r_[y, away]
    validation = np.arange(12_000) < 6_000
    person = np.arange(12_000).astype(np.str_)
    ones = np.ones(12_000)
    assert calibrate.choose(both, labels, ones, person, validation).name != "platt"
    chosen = {calibrate.choose(both, labels, ones, person, each).name for each in (validation, ~validation)}
    assert len(chosen) == 2


def test_rows_of_one_person_are_never_on_both_sides_when_calibrators_are_judged() -> None:
    """Each person has one score and one answer: who has been seen before could be known by heart."""
    rng = generator("by heart")
    people = rng.normal(0, 1, 300)
    raw, y = np.repeat(people, 40), np.repeat((rng.random(300) < 0.4).astype(float), 40)
    person = np.repeat(np.arange(300), 40).astype(np.str_)
    assert calibrate.fit(raw, y, person=person).method == "platt"


def test_fewer_people_with_a_yes_than_folds_do_no_harm() -> None:
    raw, y, _ = simulated(5_000, 1.0, "one person")
    person = np.where(y > 0, "the one", np.arange(5_000).astype(np.str_))
    assert calibrate.fit(raw, y, person=person).method == "platt"


def test_ranking_survives() -> None:
    raw, y, _ = simulated(12_000, 1.0, "rank")
    after = calibrate.apply(calibrate.fit(raw, y), raw)
    assert Sorted(y, after).figures()["auc"] == pytest.approx(Sorted(y, sigmoid(raw)).figures()["auc"], abs=1e-4)


def test_beyond_the_knots_it_stays_as_it_is() -> None:
    found = Calibration(method="platt", raw=(-1.0, 1.0), value=(0.2, 0.6), largest_error=0.0)
    assert calibrate.apply(found, np.array([-9.0, -1.0, 0.0, 1.0, 9.0])) == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6])
