"""Gates refuse what they must, let pass what they may, and say the figure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from features.kernel.seeds import generator
from training.evaluation.binary import evaluate
from training.gate import Evidence, Finding, Gate, does_not_apply
from training.gates import all_gates, judge
from training.synthetic import Synthetic, draw
from training.trainingset import Split

GATES = all_gates()


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return draw(generator("gates"), 1500)


def evidence(made: Synthetic, model: np.ndarray, baseline: np.ndarray) -> Evidence:
    test = made.data.test
    return Evidence(made.data, evaluate(test.y, model, baseline, test.person, generator("gate draws"), draws=60))


def finding(name: str, given: Evidence) -> Finding:
    return GATES[name].judge(given)


def moved(split: Split, days: int) -> Split:
    return dataclasses.replace(split, as_of=split.as_of + np.timedelta64(days, "D"))


# -- the contract ------------------------------------------------------------------------------------------------------


def test_each_has_a_code_of_its_own_and_a_title() -> None:
    assert {"beats_baseline", "calibrated", "time_order"} <= GATES.keys()
    codes = [gate.code for gate in GATES.values()]
    assert len(set(codes)) == len(codes) and all(gate.title for gate in GATES.values())


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_each_is_pure_and_tells_its_figure(gate: Gate, made: Synthetic) -> None:
    given = evidence(made, made.truth, np.full(len(made.truth), made.truth.mean()))
    first, second = gate.judge(given), gate.judge(given)
    assert first == second and first.outcome == "passed"
    assert any(character.isdigit() for character in first.figure)


def test_the_truth_passes_them_all(made: Synthetic) -> None:
    given = evidence(made, made.truth, np.full(len(made.truth), made.truth.mean()))
    assert [each.outcome for each in judge(given)] == ["passed"] * len(GATES)


def test_only_a_failed_gate_that_refuses_refuses() -> None:
    outcomes = {
        (severity, outcome): Finding("KT0", "x", severity, outcome, "1").refuses  # type: ignore[arg-type]
        for severity in ("refuse", "warn")
        for outcome in ("passed", "failed", "does not apply")
    }
    assert [case for case, refuses in outcomes.items() if refuses] == [("refuse", "failed")]
    gate = Gate("KT0", "x", "refuse", lambda given: does_not_apply("no rows at all"))
    assert not gate.judge(None).refuses  # type: ignore[arg-type]


# -- each of them ------------------------------------------------------------------------------------------------------


def test_no_better_than_the_baseline_is_refused(made: Synthetic) -> None:
    noise = generator("noise").normal(0, 1e-3, len(made.truth))
    assert finding("beats_baseline", evidence(made, made.truth, made.truth)).refuses
    assert finding("beats_baseline", evidence(made, made.truth + noise, made.truth)).refuses
    worse = generator("worse").permutation(made.truth)
    assert finding("beats_baseline", evidence(made, worse, made.truth)).refuses


def test_better_but_perhaps_by_chance_is_refused(made: Synthetic) -> None:
    """A gain above zero with an interval that holds zero is not enough."""
    rng = generator("few")
    few = np.sort(rng.permutation(len(made.truth))[:60])
    split = made.data.test
    small = dataclasses.replace(split, x=split.x[few], y=split.y[few], person=split.person[few], as_of=split.as_of[few])
    data = dataclasses.replace(made.data, test=small)
    weaker = made.truth[few] + rng.normal(0, 0.12, 60)
    found = evaluate(small.y, made.truth[few], weaker, small.person, rng)
    assert found.gain.low < 0 < found.gain.value
    assert finding("beats_baseline", Evidence(data, found)).refuses


@pytest.mark.parametrize("error", [-0.12, 0.12])
def test_probabilities_that_are_off_are_refused(made: Synthetic, error: float) -> None:
    baseline = np.full(len(made.truth), made.truth.mean())
    given = evidence(made, np.clip(made.truth + error, 0.001, 0.999), baseline)
    assert finding("calibrated", given).refuses
    assert not finding("beats_baseline", given).refuses  # it ranks as well as ever


def test_twice_too_sure_is_refused(made: Synthetic) -> None:
    odds = (made.truth / (1 - made.truth)) ** 3
    assert finding("calibrated", evidence(made, odds / (1 + odds), made.truth)).refuses


def test_a_perfect_model_is_seldom_called_uncalibrated() -> None:
    """Over 60 small test sets, rare positives among them, the truth itself must pass at least 57 times."""
    passed = 0
    for number in range(60):
        small = draw(generator("small", number), 120, base=-2.5 if number % 2 else -1.0)
        passed += not finding("calibrated", evidence(small, small.truth, small.truth)).refuses
    assert passed >= 57


@pytest.mark.parametrize(
    ("split", "days"), [("validation", -1), ("test", -1), ("train", 1), ("validation", 1), ("test", 1), ("test", -300)]
)
def test_splits_out_of_order_or_not_matured_are_refused(made: Synthetic, split: str, days: int) -> None:
    """The synthetic set leaves not a day to spare: moved by one, a split leaks, or its labels have not matured."""
    assert not finding("time_order", evidence(made, made.truth, made.truth)).refuses
    shifted = dataclasses.replace(made.data, **{split: moved(made.data.splits[split], days)})
    given = dataclasses.replace(evidence(made, made.truth, made.truth), data=shifted)
    assert finding("time_order", given).refuses
