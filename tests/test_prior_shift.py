"""A base rate that moves: known, guessed from rows alone, or learnt again from the outcomes that came in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit

from features.kernel.card import Calibration
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator
from training.calibration.calibrate import apply, fit
from training.calibration.prior_shift import MEMORY, estimated, recalibrate, shifted

Floats = NDArray[np.float64]


def world(n: int, prior: float, *names: object) -> tuple[Floats, Floats]:
    """Raw scores and outcomes where a yes scores normal(1, 1) and a no normal(-1, 1), whatever the share of yes."""
    rng = generator("world", n, prior, *names)
    y = (rng.random(n) < prior).astype(float)
    return 1.5 * rng.normal(2 * y - 1, 1) + 0.3, y


def truth(raw: Floats, prior: float) -> Floats:
    return expit(2 * (raw - 0.3) / 1.5 + logit(prior))


def loss(p: Floats, y: Floats) -> float:
    return float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p))))


@pytest.fixture(scope="module")
def former() -> Calibration:
    return fit(*world(20_000, 0.2, "former"))


# -- a known base rate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [0.02, 0.1, 0.5, 0.8])
def test_a_known_base_rate_gives_the_probabilities_of_the_new_world(now: float, former: Calibration) -> None:
    raw, _ = world(20_000, now, "new")
    moved = apply(shifted(former, 0.2, now), raw)
    assert np.sqrt(np.mean((moved - truth(raw, now)) ** 2)) < 0.02
    assert moved.mean() == pytest.approx(now, rel=0.1)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_shifts_add_up_and_can_be_taken_back(one: float, two: float, three: float) -> None:
    was = Calibration(method="platt", raw=(-2.0, 0.0, 1.0), value=(0.1, 0.3, 0.6), largest_error=0.1)
    there = shifted(shifted(was, one, two), two, three)
    assert there.value == pytest.approx(shifted(was, one, three).value, abs=1e-5)
    assert np.all(np.diff(there.raw) > 0) and np.all(np.diff(there.value) > 0)
    if min(one, two) > 0.01 and max(one, two) < 0.99:
        assert shifted(shifted(was, one, two), two, one).value == pytest.approx(was.value, abs=1e-3)


@pytest.mark.parametrize(("name", "prior", "now"), [("prior", 0.0, 0.5), ("now", 0.5, 1.0), ("now", 0.5, float("nan"))])
def test_a_share_that_is_none_is_refused(name: str, prior: float, now: float, former: Calibration) -> None:
    with pytest.raises(InvalidInput, match=f"{name}: must lie inside"):
        shifted(former, prior, now)


# -- rows alone --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [0.02, 0.1, 0.5, 0.8])
def test_the_base_rate_is_found_without_outcomes(now: float, former: Calibration) -> None:
    raw, y = world(20_000, now, "unlabelled")
    assert estimated(apply(former, raw), 0.2) == pytest.approx(y.mean(), abs=0.015)


def test_where_nothing_has_moved_the_base_rate_stays(former: Calibration) -> None:
    raw, y = world(20_000, 0.2, "same")
    assert estimated(apply(former, raw), 0.2) == pytest.approx(y.mean(), abs=0.015)


def test_rows_count_with_their_weight(former: Calibration) -> None:
    raw, _ = world(5_000, 0.4, "weights")
    p, times = apply(former, raw), generator("times").integers(0, 4, 5_000)
    assert estimated(p, 0.2, times.astype(float)) == pytest.approx(estimated(np.repeat(p, times), 0.2), abs=1e-6)


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_without_outcomes_it_is_the_former(former: Calibration) -> None:
    none = np.empty(0)
    assert recalibrate(none, none, former).value == pytest.approx(former.value, abs=1e-9)


def test_outcomes_of_the_same_world_change_little(former: Calibration) -> None:
    after = recalibrate(*world(2_000, 0.2, "again"), former)
    assert np.abs(np.subtract(apply(after, np.linspace(-4, 4, 99)), apply(former, np.linspace(-4, 4, 99)))).max() < 0.04


@pytest.mark.parametrize(("count", "most"), [(10, 1.0), (50, 0.6), (200, 0.3), (2_000, 0.1)])
def test_the_more_outcomes_the_nearer_to_the_new_world(count: int, most: float, former: Calibration) -> None:
    """Share of the loss of the former, above that of the truth, which is left; never more than all of it."""
    raw, y = world(20_000, 0.6, "later")
    best, before = loss(truth(raw, 0.6), y), loss(apply(former, raw), y)
    left = [
        (loss(apply(recalibrate(*world(count, 0.6, number), former), raw), y) - best) / (before - best)
        for number in range(10)
    ]
    assert np.mean(left) < most


def one_class(label: float) -> Callable[[int], tuple[Floats, Floats]]:
    return lambda n: (generator("one class").normal(0, 1, n), np.full(n, label))


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 5, 500, 50_000])
def test_outcomes_of_one_class_are_believed_by_degrees(label: float, count: int, former: Calibration) -> None:
    after = recalibrate(*one_class(label)(count), former, memory=count)
    value = np.array(after.value)
    assert np.all((value > 0) & (value < 1)) and np.all(np.diff(value) > 0) and np.all(np.diff(after.raw) > 0)
    was, now = apply(former, np.zeros(1))[0], apply(after, np.zeros(1))[0]
    assert (now > was) if label else (now < was)
    assert abs(now - was) < 0.5 or count > 5


def test_a_model_that_has_come_to_rank_backwards_is_made_flat_not_turned(former: Calibration) -> None:
    raw, y = world(2_000, 0.4, "backwards")
    after = recalibrate(raw, 1 - y, former)
    value = apply(after, np.linspace(-4, 4, 99))
    assert np.all(np.diff(value) >= 0) and np.ptp(value) < 0.2


def test_a_row_of_weight_two_is_the_row_said_twice(former: Calibration) -> None:
    raw, y = world(300, 0.5, "twice")
    times = generator("times").integers(1, 4, 300)
    weighed = recalibrate(raw, y, former, weight=times.astype(float))
    assert weighed.value == pytest.approx(recalibrate(np.repeat(raw, times), np.repeat(y, times), former).value)


def test_what_is_older_than_its_memory_is_forgotten(former: Calibration) -> None:
    old, new = world(5_000, 0.02, "old"), world(MEMORY, 0.5, "new")
    both = [np.concatenate(each) for each in zip(old, new, strict=True)]
    assert recalibrate(both[0], both[1], former).value == recalibrate(*new, former).value


def test_played_forward_it_beats_the_rolling_base_rate_and_doing_nothing(former: Calibration) -> None:
    """Thirty months whose base rate wanders from .05 to .6 and back; each is answered by outcomes of those before."""
    raws, ys = [np.empty(0)], [np.empty(0)]
    total = {"recalibrated": 0.0, "rolling": 0.0, "former": 0.0}
    for month in range(30):
        raw, y = world(400, 0.325 - 0.275 * np.cos(month / 5), "forward", month)
        known_raw, known = np.concatenate(raws), np.concatenate(ys)
        total["recalibrated"] += loss(apply(recalibrate(known_raw, known, former), raw), y)
        rate = (known[-MEMORY:].sum() + 1) / (len(known[-MEMORY:]) + 2)
        total["rolling"] += loss(np.full(len(y), rate), y)
        total["former"] += loss(apply(former, raw), y)
        raws.append(raw)
        ys.append(y)
    assert total["recalibrated"] < 0.9 * total["former"] and total["recalibrated"] < 0.7 * total["rolling"]
