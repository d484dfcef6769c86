"""The contract every policy keeps, found unasked, and what each one claims for itself."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from decisioning.choose import choose
from decisioning.point import all_policies
from decisioning.policies.epsilon import Epsilon
from decisioning.policies.split import Split
from decisioning.policies.thompson import Thompson, best_of_beta
from decisioning.policy import Policy, State
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator

FAMILY = all_policies()
ARMS = ("none", "reminder", "discount", "call", "gift")
each_policy = pytest.mark.parametrize("policy", FAMILY.values(), ids=FAMILY)

steps = st.lists(
    st.tuples(st.sampled_from(ARMS[:3]), st.sampled_from([0.0, 1.0]) | st.floats(0, 1), st.floats(1e-3, 1)), max_size=60
)
eligible = st.lists(st.sampled_from(ARMS), min_size=1, unique=True)


def learnt(policy: Policy, journal: list[tuple[str, float, float]]) -> State:
    state = policy.initial()
    for action, reward, probability in journal:
        state = policy.learn(state, {"x": 1.0, "y": None}, action, reward, probability)
    return state


def test_the_family_is_found() -> None:
    assert {"split", "epsilon", "thompson"} <= FAMILY.keys()
    assert all(policy.name == name for name, policy in FAMILY.items())


@each_policy
@settings(max_examples=60, deadline=None)
@given(journal=steps, actions=eligible, shuffle=st.randoms(use_true_random=False))
def test_contract(policy: Policy, journal: list[tuple[str, float, float]], actions: list[str], shuffle) -> None:
    state = learnt(policy, journal)
    before = copy.deepcopy(state)
    pmf = policy.pmf(state, {"x": None}, actions)
    assert pmf.shape == (len(actions),) and math.isclose(pmf.sum(), 1.0, abs_tol=1e-12)
    assert pmf.min() > 0, "every action must be possible, or the log cannot be evaluated"
    assert state == before, "pmf must not change the state"
    again = policy.pmf(json.loads(json.dumps(state)), {"x": None}, actions)
    assert again.tolist() == pmf.tolist(), "a state must survive JSON, and pmf must depend on nothing else"
    order = shuffle.sample(range(len(actions)), len(actions))
    moved = policy.pmf(state, {"x": None}, [actions[i] for i in order])
    np.testing.assert_allclose(moved, pmf[order], rtol=0, atol=1e-12, err_msg="the order of actions must not matter")


@each_policy
@given(journal=steps, reward=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_learning_is_pure_and_finite(policy: Policy, journal: list[tuple[str, float, float]], reward: float) -> None:
    state = learnt(policy, journal)
    before = json.dumps(state)
    following = policy.learn(state, {}, "never seen", reward, 0.5)
    assert json.dumps(state) == before, "learn must return a new state, not change the old one"
    json.dumps(following, allow_nan=False)
    assert learnt(policy, journal) == state, "folding the same journal must give the same state"


@each_policy
def test_what_is_drawn_is_what_is_logged(policy: Policy) -> None:
    state = learnt(policy, [("none", 0.0, 0.3), ("reminder", 1.0, 0.3), ("none", 1.0, 0.3), ("none", 0.0, 0.3)])
    pmf = policy.pmf(state, {}, ARMS)
    draws = generator("draws", policy.name).random(100_000)
    counts = np.unique([choose(ARMS, pmf, u) for u in draws], return_counts=True)
    observed = [dict(zip(*counts, strict=True)).get(arm, 0) for arm in ARMS]
    assert stats.chisquare(observed, pmf * len(draws)).pvalue > 0.01


def test_choose_at_its_edges() -> None:
    pmf = np.full(3, 1 / 3) - 1e-12  # a sum short of 1 by rounding must not fall off the end
    assert choose(["a", "b", "c"], pmf, 0.0) == "a"
    assert choose(["a", "b", "c"], pmf, math.nextafter(1.0, 0.0)) == "c"


# -- Thompson sampling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arms",
    [
        [(1, 1), (1, 1), (1, 1)],
        [(3, 40), (5, 38), (1, 1), (9, 30)],
        [(1, 2000), (2, 1500)],
        [(400, 9600), (430, 9570), (1, 1)],
        [(1.3, 1.7), (2.5, 1.1)],
    ],
)
def test_thompson_is_the_probability_of_being_best(arms: list[tuple[float, float]]) -> None:
    rng, n = generator("oracle", str(arms)), 400_000
    draws = np.stack([rng.beta(a, b, n) for a, b in arms])
    observed = np.bincount(draws.argmax(axis=0), minlength=len(arms)) / n
    exact = best_of_beta(tuple((float(a), float(b)) for a, b in arms))
    error = np.sqrt(exact * (1 - exact) / n)
    assert (abs(observed - exact) <= 4.5 * error + 1e-9).all(), (observed, exact)


@given(st.tuples(*[st.integers(1, 5000)] * 4))
@settings(max_examples=60, deadline=None)
def test_two_arms_have_a_closed_form(counts: tuple[int, int, int, int]) -> None:
    a, b, c, d = counts  # P(Beta(a, b) > Beta(c, d)) = Σ_{i<a} B(c + i, d + b) / ((b + i) B(1 + i, b) B(c, d))
    i = np.arange(a)
    ln = math.lgamma
    lgamma = np.vectorize(ln)

    def lbeta(x: np.ndarray, y: float) -> np.ndarray:
        return lgamma(x) + ln(y) - lgamma(x + y)

    terms = lbeta(c + i, d + b) - np.log(b + i) - lbeta(1.0 + i, b) - float(lbeta(np.array(float(c)), d))
    arms = sorted([(float(a), float(b)), (float(c), float(d))])
    found = best_of_beta(tuple(arms))[arms.index((float(a), float(b)))]
    assert found == pytest.approx(np.exp(terms).sum(), abs=1e-6)


def test_thompson_prefers_what_works_more_the_more_it_is_seen() -> None:
    """A further success of an action never makes it less likely, nor another action more."""
    bandit, state = Thompson(floor=0.01), Thompson().initial()
    before = bandit.pmf(state, {}, ARMS[:3])
    for _ in range(30):
        state = bandit.learn(state, {}, "reminder", 1.0, 0.5)
        state = bandit.learn(state, {}, "none", 0.0, 0.5)
        after = bandit.pmf(state, {}, ARMS[:3])
        assert after[1] >= before[1] - 1e-9 and after[0] <= before[0] + 1e-9
        before = after
    assert before[1] > 0.9 and before.min() >= 0.01


def test_the_floor_holds_however_many_actions_there_are() -> None:
    state = {"arms": {"none": [900.0, 100.0]}}
    assert Thompson(floor=0.05).pmf(state, {}, ARMS).min() >= 0.05
    assert Thompson(floor=0.4).pmf(state, {}, ARMS).tolist() == pytest.approx([0.2] * 5)


# -- regret ------------------------------------------------------------------------------------------------------------


def regret(policy: Policy, means: dict[str, float], rounds: int, seed: int) -> float:
    rng, state, arms, lost = generator("regret", policy.name, seed), policy.initial(), tuple(means), 0.0
    for _ in range(rounds):
        pmf = policy.pmf(state, {}, arms)
        action = choose(arms, pmf, rng.random())
        reward = float(rng.random() < means[action])
        state = policy.learn(state, {}, action, reward, pmf[arms.index(action)])
        lost += max(means.values()) - means[action]
    return lost


@pytest.mark.parametrize("make", [Thompson, Epsilon], ids=["thompson", "epsilon"])
def test_learning_converges_and_loses_less_than_a_split(make: Callable[[], Policy]) -> None:
    means = {"none": 0.1, "reminder": 0.25, "discount": 0.15}
    split = 1200 * (0.25 - np.mean(list(means.values())))
    lost = [regret(make(), means, 1200, seed) for seed in range(4)]
    assert np.mean(lost) < 0.6 * split
    policy, state = make(), make().initial()
    rng = generator("converge")
    for arm, mean in means.items():
        for _ in range(2000):
            state = policy.learn(state, {}, arm, float(rng.random() < mean), 1 / 3)
    assert policy.pmf(state, {}, tuple(means))[1] > 0.9


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Thompson(floor=0.0),
        lambda: Thompson(floor=1.0),
        lambda: Epsilon(epsilon=0.0),
        lambda: Epsilon(epsilon=1.5),
        lambda: Split(weights={"none": 0.0}),
        lambda: Split(weights={"none": float("nan")}),
    ],
)
def test_a_parameter_that_would_break_the_contract_is_refused(wrong: Callable[[], Policy]) -> None:
    with pytest.raises(InvalidInput):
        wrong()
