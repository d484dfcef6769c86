"""BG/NBD and Gamma-Gamma: published parameters on CDNOW, parameters that were drawn, and no overflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.references import cdnow
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.seeds import generator
from features.recipe import load_recipe, read
from training.amounts import bgnbd, gamma_gamma
from training.amounts.bgnbd import BGNBD, History

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) are not here")
TRUTH = BGNBD(r=0.6, alpha=6.0, a=0.9, b=3.0)
WINDOW, AFTER = 40.0, 30.0


def simulated(people: int) -> tuple[History, np.ndarray, np.ndarray, np.ndarray]:
    """Histories drawn from the model, purchases in `AFTER`, time to the first of them, and who was still active."""
    rng = generator("bgnbd", people)
    age = rng.uniform(0.3 * WINDOW, WINDOW, people)
    rate, drop = rng.gamma(TRUTH.r, 1 / TRUTH.alpha, people), rng.beta(TRUTH.a, TRUTH.b, people)
    x, t_x, later, wait = np.zeros(people), np.zeros(people), np.zeros(people), np.full(people, AFTER)
    active = np.ones(people, dtype=bool)
    for i in range(people):
        t = 0.0
        while True:
            t += rng.exponential(1 / rate[i])
            if t > age[i] + AFTER:
                break
            if t <= age[i]:
                x[i], t_x[i] = x[i] + 1, t
            else:
                wait[i] = min(wait[i], t - age[i])
                later[i] += 1
            if rng.random() < drop[i]:
                active[i] = t > age[i]
                break
    return History(x, t_x, age), later, wait, active


@pytest.fixture(scope="module")
def drawn() -> tuple[History, np.ndarray, np.ndarray, np.ndarray]:
    return simulated(20_000)


def z(observed: np.ndarray, expected: np.ndarray) -> float:
    """Standard errors between what was observed and expected, on average."""
    gap = observed - expected
    return float(abs(gap.mean()) / (gap.std() / np.sqrt(len(gap)))) if gap.any() else 0.0


# -- what is known -----------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@needs_data
def test_the_published_parameters_are_recovered() -> None:
    """Fader, Hardie & Lee (2005), table 2, and the holdout of the same sample."""
    events = read(load_recipe("cdnow"), DATA / "cdnow" / "CDNOW_master.txt").events
    chosen = cdnow.sample(DATA / "cdnow")
    assert len(chosen) == 2_357
    cohort = cdnow.histories(events.filter(events["customer_id"].is_in(sorted(chosen))))
    model = bgnbd.fit(cohort.known)
    assert model == pytest.approx((0.243, 4.414, 0.793, 2.426), abs=6e-4)
    assert model.log_likelihood(cohort.known).sum() == pytest.approx(-9582.4, abs=0.05)
    expected = model.expected(cohort.known, 39.0)
    assert (cohort.later.sum(), round(expected.sum())) == (1882, 1653)
    assert np.abs(expected - cohort.later).mean() <= 0.786


def test_parameters_that_were_drawn_are_recovered(drawn: tuple[History, ...]) -> None:
    found = bgnbd.fit(drawn[0])
    assert found.r == pytest.approx(TRUTH.r, rel=0.08) and found.alpha == pytest.approx(TRUTH.alpha, rel=0.1)
    assert found.a / (found.a + found.b) == pytest.approx(TRUTH.a / (TRUTH.a + TRUTH.b), abs=0.03)
    assert found.log_likelihood(drawn[0]).sum() >= TRUTH.log_likelihood(drawn[0]).sum()


@pytest.mark.parametrize("least", [0, 1, 5])
def test_what_is_expected_is_what_comes(drawn: tuple[History, np.ndarray, np.ndarray, np.ndarray], least: int) -> None:
    """Given the true parameters, of those with few purchases and of those with many: within 4 standard errors."""
    known, later, wait, active = drawn
    who = known.x >= least if least else known.x == 0
    some = History(*(each[who] for each in known))
    assert z(later[who], TRUTH.expected(some, AFTER)) < 4
    assert z(wait[who], TRUTH.wait(some, AFTER)) < 4
    assert z((later[who] == 0).astype(float), TRUTH.none(some, AFTER)) < 4
    assert z(active[who].astype(float), TRUTH.alive(some)) < 4


def test_gamma_gamma_recovers_what_was_drawn() -> None:
    rng = generator("gamma-gamma")
    p, q, gamma, people = 6.0, 4.0, 15.0, 20_000
    scale = rng.gamma(q, 1 / gamma, people)
    orders = 1.0 + rng.poisson(2.0, people)
    mean = rng.gamma(p * orders, 1 / scale) / orders
    found = gamma_gamma.fit(orders, mean)
    assert tuple(found) == pytest.approx((p, q, gamma), rel=0.1)
    assert z(rng.gamma(p, 1 / scale), found.expected(orders, mean)) < 4


# -- properties --------------------------------------------------------------------------------------------------------


def test_the_wait_is_the_integral_of_no_purchase() -> None:
    known = History(np.array([0.0, 1, 4, 30]), np.array([0.0, 5, 20, 38]), np.array([39.0, 30, 25, 39]))
    times = np.linspace(0, AFTER, 4001)
    survival = np.stack([TRUTH.none(known, t) for t in times])
    assert TRUTH.wait(known, AFTER) == pytest.approx(np.trapezoid(survival, times, axis=0), rel=1e-6)


def test_more_time_never_means_fewer_purchases_nor_a_sooner_end() -> None:
    known = History(np.arange(6.0), np.arange(6.0) * 4, np.full(6, 30.0))
    counts = np.stack([TRUTH.expected(known, t) for t in (1.0, 5.0, 20.0, 100.0)])
    assert (np.diff(counts, axis=0) > 0).all()
    assert ((TRUTH.alive(known) > 0) & (TRUTH.alive(known) <= 1)).all() and TRUTH.alive(known)[0] == 1


@pytest.mark.parametrize("a", [0.2, 1 - 1e-9, 1.0, 1 + 1e-9, 1.7])
def test_frequent_buyers_do_not_overflow(a: float) -> None:
    """Thousands of purchases, and parameters at which the paper's formula divides by zero."""
    model = BGNBD(0.24, 4.4, a, 2.4)
    known = History(np.array([0.0, 800.0, 5_000.0, 5_000.0]), np.array([0.0, 38.8, 38.99, 3.0]), np.full(4, 39.0))
    expected = model.expected(known, 39.0)
    assert np.isfinite(expected).all() and (expected >= 0).all()
    assert expected[2] > expected[1] > expected[0] and expected[3] == pytest.approx(0, abs=1e-12)
    near = model._replace(a=a + 1e-4).expected(known, 39.0)
    assert near == pytest.approx(expected, rel=2e-3, abs=1e-9)


def test_another_unit_of_time_gives_the_same_answers() -> None:
    known = simulated(1500)[0]
    days = History(known.x, 7 * known.t_x, 7 * known.T)
    weekly, daily = bgnbd.fit(known), bgnbd.fit(days)
    assert daily.alpha == pytest.approx(7 * weekly.alpha, rel=1e-3)
    assert daily.expected(days, 7 * AFTER) == pytest.approx(weekly.expected(known, AFTER), rel=1e-3)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "t_x", "age"), [(-1.0, 0.0, 5.0), (2.0, 6.0, 5.0), (1.0, -1.0, 5.0), (np.nan, 1.0, 5.0)])
def test_histories_that_cannot_be_are_refused(x: float, t_x: float, age: float) -> None:
    known = History(np.array([1.0, x]), np.array([1.0, t_x]), np.array([3.0, age]))
    with pytest.raises(InvalidInput, match="history"):
        bgnbd.fit(known)


def test_nobody_who_came_back_is_too_little() -> None:
    with pytest.raises(NotEnoughData, match="second time"):
        bgnbd.fit(History(np.zeros(9), np.zeros(9), np.full(9, 30.0)))
    with pytest.raises(NotEnoughData, match="any value"):
        gamma_gamma.fit(np.ones(5), np.zeros(5))
