"""Every calibrator, asked unasked: knots that a card can carry, of which all know what rows and weights are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from features.kernel.seeds import generator
from training.calibration.calibrate import with_calibrator
from training.calibration.calibrator import EDGE, apply
from training.calibration.calibrators import all_calibrators
from training.calibration.confidence import interval

Floats = NDArray[np.float64]
EVERY = pytest.mark.parametrize("name", list(all_calibrators()))


def drawn(seed: int, n: int, slope: float, coarse: bool) -> tuple[Floats, Floats]:
    """Scores of any model: sure, unsure, ranking backwards (negative slope), constant (0), with ties."""
    rng = generator("drawn", seed)
    z = rng.normal(-1.5, 1, n)
    y = (rng.random(n) < expit(z)).astype(float)
    y[:2] = 0, 1
    return slope * (z.round(0) if coarse else z), y


any_rows = given(st.integers(0, 10_000), st.integers(4, 2_000), st.floats(-3, 6), st.booleans())


# -- the contract ------------------------------------------------------------------------------------------------------


@EVERY
@any_rows
def test_knots_rise_strictly_inside_zero_and_one(name: str, seed: int, n: int, slope: float, coarse: bool) -> None:
    raw, y = drawn(seed, n, slope, coarse)
    found = with_calibrator(all_calibrators()[name], raw, y)
    assert found.method == name and len(found.raw) == len(found.value) >= 2
    assert np.all(np.diff(found.raw) > 0) and np.all(np.diff(found.value) > 0)
    assert found.value[0] > 0 and found.value[-1] < 1
    grid = apply(found, np.linspace(raw.min() - 5, raw.max() + 5, 500))
    assert np.all(np.diff(grid) >= 0)


@EVERY
@any_rows
def test_the_mean_probability_is_the_share_of_yes(name: str, seed: int, n: int, slope: float, coarse: bool) -> None:
    raw, y = drawn(seed, n, slope, coarse)
    weight = generator("weights", seed).uniform(0.1, 3, n)
    found = with_calibrator(all_calibrators()[name], raw, y, weight)
    assert np.average(apply(found, raw), weights=weight) == pytest.approx(
        np.average(y, weights=weight), abs=2 * EDGE + 1e-4
    )


@EVERY
@any_rows
def test_a_row_of_weight_two_is_the_row_said_twice(name: str, seed: int, n: int, slope: float, coarse: bool) -> None:
    raw, y = drawn(seed, n, slope, coarse)
    times = generator("times", seed).integers(1, 4, n)
    twice = with_calibrator(all_calibrators()[name], np.repeat(raw, times), np.repeat(y, times))
    weighed = with_calibrator(all_calibrators()[name], raw, y, times.astype(float))
    assert weighed.raw == pytest.approx(twice.raw) and weighed.value == pytest.approx(twice.value)


@EVERY
def test_rows_without_weight_say_nothing(name: str) -> None:
    raw, y = drawn(1, 900, 1.0, False)
    there = np.arange(900) < 600
    nowhere = with_calibrator(all_calibrators()[name], raw, np.where(there, y, 1 - y), there.astype(float))
    assert nowhere == with_calibrator(all_calibrators()[name], raw[there], y[there]) or np.allclose(
        nowhere.value, with_calibrator(all_calibrators()[name], raw[there], y[there]).value
    )


@EVERY
@pytest.mark.parametrize("distortion", [0.4, 1.0, 2.5])
def test_it_finds_the_truth_where_rows_are_many(name: str, distortion: float) -> None:
    rng = generator("many", distortion)
    z = rng.normal(-1, 1.2, 30_000)
    found = with_calibrator(
        all_calibrators()[name], distortion * z + 0.5, (rng.random(len(z)) < expit(z)).astype(float)
    )
    assert np.sqrt(np.mean((apply(found, distortion * z + 0.5) - expit(z)) ** 2)) < 0.02


@EVERY
def test_a_model_that_ranks_backwards_is_not_turned_round(name: str) -> None:
    raw, y = drawn(3, 3_000, -2.0, False)
    found = with_calibrator(all_calibrators()[name], raw, y)
    assert np.ptp(apply(found, raw)) < 0.05


# -- intervals ---------------------------------------------------------------------------------------------------------


def clustered(number: int, people: int, mean: float, bend: float) -> tuple[Floats, Floats, NDArray[np.str_], Floats]:
    """Raw scores, labels, persons of four rows each who share a trait nobody sees, and the true share of yes."""
    rng = generator("clustered", number, people, mean, bend)
    trait, z = np.repeat(rng.normal(0, 0.8, people), 4), rng.normal(mean, 1.2, 4 * people)
    curve = z + bend * np.sin(2 * z)
    y = (rng.random(len(z)) < expit(curve + trait)).astype(float)
    place, mass = np.polynomial.hermite_e.hermegauss(21)
    truth = expit(curve[:, None] + 0.8 * place) @ mass / mass.sum()
    return 2 * z + 0.5, y, np.repeat(np.arange(people), 4).astype(np.str_), truth


def covered(repeats: int, people: int, mean: float, bend: float) -> tuple[float, float]:
    """Share of true shares inside their bounds over the middle nine tenths of scores, and the mean width."""
    inside, width = [], []
    for number in range(repeats):
        raw, y, person, truth = clustered(number, people, mean, bend)
        found = interval(with_calibrator(all_calibrators()["platt"], raw, y), raw, y, np.ones(len(raw)), person)
        assert found is not None
        p = apply(with_calibrator(all_calibrators()["platt"], raw, y), raw)
        low, high = np.interp(p, found.value, found.low), np.interp(p, found.value, found.high)
        middle = (raw > np.quantile(raw, 0.05)) & (raw < np.quantile(raw, 0.95))
        inside.append(np.mean((low <= truth) & (truth <= high), where=middle))
        width.append(np.mean(high - low, where=middle))
    return float(np.mean(inside)), float(np.mean(width))


@pytest.mark.parametrize(
    ("repeats", "people", "mean", "bend"),
    [(100, 60, -1.0, 0.0), (100, 150, -2.5, 0.0), (40, 800, -1.0, 0.0), (40, 800, -1.0, 0.3)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(repeats: int, people: int, mean: float, bend: float) -> None:
    """Also where the calibrator, a straight line, is wrong: the truth bends by 0.3 sin(2z)."""
    assert 0.93 <= covered(repeats, people, mean, bend)[0] <= 0.97


def test_intervals_that_forget_whose_row_it_is_are_too_narrow() -> None:
    raw, y, person, _ = clustered(0, 400, -1.0, 0.0)
    raw, y, person = np.repeat(raw, 5), np.repeat(y, 5), np.repeat(person, 5)
    knots, ones = with_calibrator(all_calibrators()["platt"], raw, y), np.ones(len(raw))
    known = interval(knots, raw, y, ones, person)
    forgotten = interval(knots, raw, y, ones, np.arange(len(raw)).astype(np.str_))
    assert known and forgotten
    assert np.mean(np.subtract(known.high, known.low)) > 1.7 * np.mean(np.subtract(forgotten.high, forgotten.low))


def test_few_rows_have_wide_intervals() -> None:
    assert covered(5, 40, -1.0, 0.0)[1] > 1.7 * covered(5, 400, -1.0, 0.0)[1]


@given(st.integers(0, 1000), st.integers(8, 300), st.booleans())
def test_an_answer_lies_between_its_bounds(seed: int, n: int, coarse: bool) -> None:
    raw, y = drawn(seed, n, 1.0, coarse)
    person = generator("whose", seed).integers(0, max(2, n // 3), n).astype(np.str_)
    found = interval(with_calibrator(all_calibrators()["platt"], raw, y), raw, y, np.ones(n), person)
    if found is None:
        assert len(np.unique(raw)) == 1
        return
    low, value, high = (np.array(each) for each in (found.low, found.value, found.high))
    assert np.all(np.diff(value) > 0) and np.all((low >= 0) & (low <= value) & (value <= high) & (high <= 1))
