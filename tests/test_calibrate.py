"""Calibration: knots a card can carry, that rise, and that make probabilities truer on rows not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.kernel.card import Calibration
from features.kernel.seeds import generator
from training import calibrate
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


@given(st.integers(0, 10_000), st.integers(4, 3_000), st.floats(-3, 6), st.booleans())
def test_knots_rise_strictly_inside_zero_and_one(seed: int, n: int, slope: float, coarse: bool) -> None:
    """Whatever the model: sure, unsure, ranking backwards (negative slope), constant, with ties."""
    rng = generator("knots", seed)
    z = rng.normal(-1.5, 1, n)
    y = (rng.random(n) < sigmoid(z)).astype(float)
    y[:2] = 0, 1
    raw = slope * (z.round(0) if coarse else z)
    found = calibrate.fit(raw, y)
    assert np.all(np.diff(found.raw) > 0) and np.all(np.diff(found.value) > 0)
    assert len(found.raw) == len(found.value) >= 2
    assert found.value[0] > 0 and found.value[-1] < 1
    grid = calibrate.apply(found, np.linspace(raw.min() - 5, raw.max() + 5, 500))
    assert np.all(np.diff(grid) >= 0)


@pytest.mark.parametrize(("n", "method"), [(900, "platt"), (12_000, "isotonic")])
@pytest.mark.parametrize("distortion", [0.4, 2.5])
def test_it_makes_probabilities_truer_on_rows_not_seen(n: int, method: str, distortion: float) -> None:
    raw, y, _ = simulated(n, distortion, "fit")
    found = calibrate.fit(raw, y)
    assert found.method == method
    new_raw, new_y, truth = simulated(20_000, distortion, "new")
    before, after = sigmoid(new_raw), calibrate.apply(found, new_raw)
    assert np.mean((after - truth) ** 2) < 0.15 * np.mean((before - truth) ** 2)
    figures = Sorted(new_y, after).figures()
    assert figures["ece"] < 0.5 * Sorted(new_y, before).figures()["ece"]
    assert figures["log_loss"] < Sorted(new_y, before).figures()["log_loss"]


def test_isotonic_bends_where_a_sigmoid_cannot() -> None:
    rng = generator("bent")
    raw = rng.normal(0, 2, 20_000)
    p = 0.1 + 0.25 * (raw > -1) + 0.5 * (raw > 1.5)
    y = (rng.random(len(raw)) < p).astype(float)
    found = calibrate.fit(raw, y)
    after = calibrate.apply(found, raw)
    slope, intercept = np.polyfit(raw, y, 1)
    assert np.mean((after - p) ** 2) < 0.1 * np.mean((sigmoid(slope * raw + intercept) - p) ** 2)


def test_ranking_survives() -> None:
    raw, y, _ = simulated(12_000, 1.0, "rank")
    after = calibrate.apply(calibrate.fit(raw, y), raw)
    assert Sorted(y, after).figures()["auc"] == pytest.approx(Sorted(y, sigmoid(raw)).figures()["auc"], abs=1e-4)


def test_a_model_that_ranks_backwards_is_not_turned_round() -> None:
    raw, y, _ = simulated(700, 1.0, "backwards")
    found = calibrate.fit(-raw, y)
    assert np.ptp(found.value) < 0.01
    assert np.mean(found.value) == pytest.approx(y.mean(), abs=0.01)


def test_beyond_the_knots_it_stays_as_it_is() -> None:
    found = Calibration(method="platt", raw=(-1.0, 1.0), value=(0.2, 0.6), largest_error=0.0)
    assert calibrate.apply(found, np.array([-9.0, -1.0, 0.0, 1.0, 9.0])) == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6])
