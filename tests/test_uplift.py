"""Effects of a treatment: figures against an independent oracle, null data, planted effects, and what is refused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from features.kernel.card import CardFeature, Cutoffs
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.seeds import generator
from training.booster import Model, Trainer
from training.calibration import calibrate
from training.effects import pseudo_outcomes
from training.effects.treatment import UNIT, two_arms
from training.evaluation.ranked import Ranked, average_effect
from training.evaluation.result import Evaluation
from training.evaluation.uplift import evaluate, null
from training.kind import Unseen
from training.kinds.uplift import kind
from training.problem import Problem
from training.rows.dataset import assemble
from training.trainingset import TrainingSet

Floats = NDArray[np.float64]

START = datetime(2026, 1, 1, tzinfo=UTC)
HORIZON = timedelta(days=14)


# -- what is learnt from -----------------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """A simulated test of a treatment, and the true effect on each test row."""

    data: TrainingSet
    truth: Floats


def trial(rng: np.random.Generator, rows: int, *, spread: float, average: float = 0.05, uneven: bool = False) -> Trial:
    """Rows of a test: an outcome of probability .1 to .4 by `a`, an effect of average ± spread by the sign of `b`.

    Three fifths train, a fifth each validation and test; three rows a person. `uneven`: the treatment goes to those
    with a high `a` with probability .8, to the others with .3.
    """
    a, b, c = rng.normal(size=(3, rows))
    base = 0.1 + 0.3 * stats.norm.cdf(a)
    effect = average + spread * np.sign(b)
    propensity = np.where(a > 0, 0.8, 0.3) if uneven else np.full(rows, 0.5)
    arm = (rng.random(rows) < propensity).astype(float)
    number = np.arange(rows) // 3
    split = np.array(["train", "train", "train", "validation", "test"])[number % 5]
    frame = pl.DataFrame(
        {
            "split": split,
            "customer_id": [f"p{i:06d}" for i in number],
            "as_of": [START] * rows,
            "label": (rng.random(rows) < base + arm * effect).astype(float),
            "arm": arm,
            "propensity": propensity,
            "a": a,
            "b": b,
            "c": c,
        },
        schema_overrides={"as_of": pl.Datetime("us", "UTC")},
    )
    features = tuple(CardFeature(ref=name, dtype="float32", phrase=f"has {name} {{value}}") for name in "abc")
    problem = Problem(
        name="trial",
        question="By how much does it change the probability within {days} days?",
        population=lambda events, cutoff: events.select("customer_id").unique(),
        label=lambda events, population, cutoff, horizon: population,
        horizon=HORIZON,
        features=("a", "b", "c"),
        baseline=("a",),
        needs=(),
        kind="uplift",
        unit=UNIT,
    )
    cutoffs = Cutoffs(train=(START,), validation=(START,), test=(START,))
    data = assemble(problem, frame, features, cutoffs, START + HORIZON)
    return Trial(dataclasses.replace(data, split="random"), effect[split == "test"])


class Learnt(NamedTuple):
    """What the kind made of a training set."""

    model: Model
    unseen: Unseen
    answers: Floats
    evaluation: Evaluation


def learn(data: TrainingSet, seed: object = 0) -> Learnt:
    """The steps of `training.pipeline.fit` that the kind answers for, without tuning."""
    kind.check(data)
    learning = kind.learning(data)
    trainer = Trainer(learning, kind.objective, kind.defaults)
    model = trainer.fit(trainer.defaults)
    train, validation = learning.train, learning.validation
    assert train.weight is not None and validation.weight is not None
    unseen = Unseen(
        raw=np.concatenate([trainer.out_of_fold(model), model.raw(validation.x)]),
        y=np.concatenate([train.y, validation.y]),
        weight=np.concatenate([train.weight, validation.weight]),
        person=np.concatenate([train.person, validation.person]),
        validation=np.arange(len(train) + len(validation)) >= len(train),
    )
    answers = calibrate.apply(kind.calibrate(unseen), model.raw(data.test.x))
    return Learnt(model, unseen, answers, kind.evaluate(data, answers, kind.baseline(data), generator("test", seed)))


@pytest.fixture(scope="module")
def planted() -> Trial:
    return trial(generator("planted"), 30_000, spread=0.1)


@pytest.fixture(scope="module")
def found(planted: Trial) -> Learnt:
    return learn(planted.data)


# -- figures -----------------------------------------------------------------------------------------------------------


def oracle(y: Floats, arm: Floats, propensity: Floats, answer: Floats) -> float:
    """The Qini coefficient as its definition reads: groups of equal answers one by one, a trapezium each."""
    weight = [1 / p if a else 1 / (1 - p) for a, p in zip(arm, propensity, strict=True)]
    treated_all = sum(w for w, a in zip(weight, arm, strict=True) if a)
    curve = [(0.0, 0.0)]
    for level in sorted(set(answer.tolist()), reverse=True):
        inside = [i for i in range(len(y)) if answer[i] >= level]
        treated = sum(weight[i] for i in inside if arm[i])
        control = sum(weight[i] for i in inside if not arm[i])
        hits = sum(weight[i] * y[i] for i in inside if arm[i])
        missed = sum(weight[i] * y[i] for i in inside if not arm[i])
        gained = (hits - (missed * treated / control if control else 0.0)) / treated_all
        curve.append((len(inside) / len(y), gained))
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(curve))
    return area - curve[-1][1] / 2


@given(st.integers(0, 10_000), st.integers(6, 60), st.sampled_from([2, 5, 1000]), st.booleans())
def test_qini_equals_its_definition(seed: int, n: int, levels: int, uneven: bool) -> None:
    """With ties, with propensities that differ from row to row, and for real-valued outcomes."""
    rng = generator("qini", seed)
    propensity = rng.uniform(0.2, 0.8, n) if uneven else np.full(n, 0.5)
    arm = (rng.random(n) < propensity).astype(float)
    arm[:2] = 0, 1
    y, answer = rng.integers(0, 3, n).astype(float), rng.integers(0, levels, n) / levels
    assert Ranked(y, arm, propensity, answer).under().qini == pytest.approx(oracle(y, arm, propensity, answer))


@given(st.integers(0, 10_000))
def test_a_weight_is_a_repetition(seed: int) -> None:
    rng = generator("weights", seed)
    n, w = 60, rng.integers(1, 5, 60)
    arm, y, answer = np.tile([0.0, 1.0], 30), (rng.random(n) < 0.4).astype(float), rng.random(n).round(1)
    columns = (y, arm, rng.uniform(0.3, 0.7, n), answer)
    weighted = Ranked(*columns).under(w.astype(float))
    repeated = Ranked(*(np.repeat(each, w) for each in columns)).under()
    assert (weighted.qini, weighted.auuc) == pytest.approx((repeated.qini, repeated.auuc))
    for ours, theirs in zip(weighted.parts(3), repeated.parts(3), strict=True):
        assert ours == pytest.approx(theirs, nan_ok=True)
    assert weighted.average_effect == pytest.approx(average_effect(*columns[:3], weights=w.astype(float)))


def test_a_constant_answer_gains_nothing_and_the_truth_gains_most(planted: Trial) -> None:
    test = planted.data.test
    arm, propensity = pseudo_outcomes.arms(test)
    assert Ranked(test.y, arm, propensity, np.full(len(test), 0.3)).under().qini == pytest.approx(0, abs=1e-12)
    best, worst = (Ranked(test.y, arm, propensity, sign * planted.truth).under().qini for sign in (1, -1))
    assert best == pytest.approx(-worst, rel=0.01) and best > 0.01
    ranked = Ranked(test.y, arm, propensity, planted.truth).under()
    assert ranked.auuc == pytest.approx(ranked.qini + average_effect(test.y, arm, propensity) / 2)


def test_qini_by_hand() -> None:
    """Four rows: the treated yes and the control no rank first. Curve (1/2, 1/2), (1, 0); area 1/4 less 0."""
    y, arm, answer = np.array([1.0, 0, 0, 1]), np.array([1.0, 0, 1, 0]), np.array([0.2, 0.2, 0.1, 0.1])
    ranked = Ranked(y, arm, np.full(4, 0.5), answer).under()
    assert ranked.curve()[1].tolist() == [0.0, 0.5, 0.0]
    assert ranked.qini == pytest.approx(0.25)
    assert ranked.parts(2).effect.tolist() == [-1.0, 1.0]
    assert ranked.parts(2).predicted == pytest.approx([0.1, 0.2])


def test_random_rankings_in_groups_vary_as_those_of_single_rows(planted: Trial) -> None:
    """Standard deviations of 200 each: their ratio lies within four standard errors of 1."""
    test = planted.data.test
    columns = (test.y, *pseudo_outcomes.arms(test))
    rng = generator("single")
    person = np.arange(len(test)).astype(np.str_)
    single = [Ranked(*columns, rng.random(len(test))).under().qini for _ in range(200)]
    grouped = null(Ranked(*columns, planted.truth), person, rng)
    assert grouped.sd / np.std(single) == pytest.approx(1, abs=4 / np.sqrt(200))


def test_random_rankings_lie_around_zero_and_hold_the_random_line(planted: Trial) -> None:
    test = planted.data.test
    arm, propensity = pseudo_outcomes.arms(test)
    chance = null(Ranked(test.y, arm, propensity, planted.truth), test.person, generator("null"))
    assert abs(chance.mean) < 4 * chance.sd / np.sqrt(200)
    line = np.linspace(0, 1, 21) * average_effect(test.y, arm, propensity)
    assert np.all(chance.low <= line + 1e-9) and np.all(line <= chance.high + 1e-9)


@pytest.mark.parametrize("uneven", [False, True])
def test_the_interval_of_the_average_effect_covers_it(uneven: bool) -> None:
    """Of 120 tests of 200 people with three rows each, 95 % intervals must hold the true average in 88 to 99 %.

    Under a coverage of .95 fewer come about once in a thousand. With uneven propensities the naive difference of means
    is off by .03 and more: the weights must undo that.
    """
    held, naive = 0, []
    for number in range(120):
        made = trial(generator("coverage", number, uneven), 3_000, spread=0.05, uneven=uneven).data.test
        arm, propensity = pseudo_outcomes.arms(made)
        answers = np.zeros(len(made))
        effect = evaluate(made.y, arm, propensity, answers, answers, made.person, generator("d", number)).metric(
            "average_effect"
        )
        held += effect.low <= 0.05 <= effect.high
        naive.append(made.y[arm == 1].mean() - made.y[arm == 0].mean())
    assert 0.88 <= held / 120 <= 0.99
    assert abs(np.mean(naive) - 0.05) > 0.03 if uneven else abs(np.mean(naive) - 0.05) < 0.01


# -- learning ----------------------------------------------------------------------------------------------------------


def test_without_a_difference_between_people_no_gain_is_claimed() -> None:
    """Everybody's effect is the same: of 40 tests at most two may claim a gain (each does with chance .025)."""
    claimed = sum(
        learn(trial(generator("nothing", number), 6_000, spread=0.0).data, number).evaluation.gain.low > 0
        for number in range(40)
    )
    assert claimed <= 2


def test_a_planted_effect_is_found(planted: Trial, found: Learnt) -> None:
    assert found.evaluation.gain.low > 0
    assert found.evaluation.metric("qini_in_null_sds").value > 5
    assert stats.spearmanr(found.answers, planted.truth).statistic > 0.8
    assert found.answers.mean() == pytest.approx(0.05, abs=0.02)
    error, chance = (found.evaluation.metric(name).value for name in ("effect_error", "effect_error_by_chance"))
    assert error < 2 * chance


def test_a_planted_effect_is_found_where_the_treatment_went_to_the_better_people() -> None:
    made = trial(generator("uneven"), 30_000, spread=0.1, uneven=True)
    learnt = learn(made.data)
    assert learnt.evaluation.gain.low > 0
    assert stats.spearmanr(learnt.answers, made.truth).statistic > 0.8
    assert learnt.answers.mean() == pytest.approx(0.05, abs=0.02)


def test_pseudo_outcomes_have_the_effect_as_their_mean(planted: Trial) -> None:
    """Of those with a high b .15, of the others -.05, each within four standard errors."""
    learning = pseudo_outcomes.learning_set(planted.data)
    for split in (learning.train, learning.validation):
        assert split.weight is not None and split.weight.mean() == pytest.approx(1, abs=0.01)
        for sign, effect in ((1, 0.15), (-1, -0.05)):
            mine = split.x[:, planted.data.columns.index("b")] * sign > 0
            error = split.y[mine].std() / np.sqrt(mine.sum())
            assert abs(np.average(split.y[mine], weights=split.weight[mine]) - effect) < 4 * error
    assert learning.test is planted.data.test


def test_what_was_expected_of_a_person_comes_from_models_that_do_not_know_them() -> None:
    """Three rows a person with one outcome: a model that knew the person would take it for expected."""
    made = trial(generator("who"), 6_000, spread=0.0).data
    number = np.array([int(each.removeprefix("p")) for each in made.train.person.tolist()])
    x = made.train.x.copy()
    x[:, 0] = generator("tell").permutation(2_000)[number]  # a number of each person's own
    y = generator("fate").integers(0, 2, 2_000)[number].astype(float)
    known = dataclasses.replace(made, train=dataclasses.replace(made.train, x=x, y=y))
    arm, propensity = pseudo_outcomes.arms(known.train)
    expected = y - pseudo_outcomes.learning_set(known).train.y * (arm - propensity)
    assert abs(np.corrcoef(expected, y)[0, 1]) < 0.1


def test_the_same_data_give_the_same_model(planted: Trial, found: Learnt) -> None:
    again = learn(planted.data)
    assert again.model == found.model and again.evaluation.metrics == found.evaluation.metrics


# -- what is answered --------------------------------------------------------------------------------------------------


def unseen(rng: np.random.Generator, n: int, slope: float, noise: float = 0.7) -> Unseen:
    """Pseudo-outcomes of average .05 that rise with the raw score by `slope`."""
    raw = rng.normal(0.05, 0.03, n)
    y = 0.05 + slope * (raw - 0.05) + rng.normal(0, noise, n)
    return Unseen(raw, y, np.ones(n), np.array([f"p{i}" for i in range(n)]), np.zeros(n, dtype=np.bool_))


@given(st.integers(0, 10_000), st.integers(20, 3_000), st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from([1, 3, 500]))
def test_knots_rise_strictly_whatever_is_seen(seed: int, n: int, slope: float, levels: int) -> None:
    rows = unseen(generator("knots", seed), n, slope)
    rows = rows._replace(raw=(rows.raw * levels).round() / levels)
    made = kind.calibrate(rows)
    bounds = kind.interval(made, rows)
    assert len(made.raw) == len(made.value) >= 2
    assert np.all(np.diff(made.raw) > 0) and np.all(np.diff(made.value) > 0)
    assert bounds is not None and np.all(np.diff(bounds.value) > 0)
    assert all(low <= value <= high for low, value, high in zip(bounds.low, bounds.value, bounds.high, strict=True))


def test_effects_nobody_could_tell_apart_are_the_average_and_clear_ones_are_kept() -> None:
    flat = calibrate.apply(kind.calibrate(unseen(generator("flat"), 20_000, -0.5)), np.linspace(-0.05, 0.15, 50))
    assert flat == pytest.approx(0.05, abs=0.02) and np.ptp(flat) < 1e-3
    raw = np.linspace(-0.02, 0.12, 50)
    steep = calibrate.apply(kind.calibrate(unseen(generator("steep"), 200_000, 1.0)), raw)
    assert steep == pytest.approx(raw, abs=0.02)


def test_bounds_hold_the_mean_effect_of_those_with_an_answer() -> None:
    """Over 40 draws the tenths' true mean effects lie inside in 95 % at least.

    More, for they are those of a tenth on its own, and an answer has its neighbours' rows behind it, too.
    """
    inside = []
    for number in range(40):
        rows = unseen(generator("bounds", number), 6_000, 1.0)
        made = kind.calibrate(rows)
        bounds = kind.interval(made, rows)
        assert bounds is not None
        raw = np.interp(bounds.value, made.value, made.raw)  # the truth of unseen() is the raw score itself
        inside += [low <= at <= high for low, at, high in zip(bounds.low, raw, bounds.high, strict=True)]
    assert np.mean(inside) >= 0.95


# -- what is refused ---------------------------------------------------------------------------------------------------


def spoilt(data: TrainingSet, split: str, **columns: Any) -> TrainingSet:
    changed: dict[str, Any] = {split: dataclasses.replace(data.splits[split], **columns)}
    return dataclasses.replace(data, **changed)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_one_arm_alone_is_not_enough(planted: Trial, split: str) -> None:
    for value in (0.0, 1.0):
        one = np.full(len(planted.data.splits[split]), value)
        with pytest.raises(NotEnoughData, match=f"the {split} split holds 0"):
            kind.check(spoilt(planted.data, split, arm=one))


def test_too_few_outcomes_in_an_arm_are_named(planted: Trial) -> None:
    arm = pseudo_outcomes.arms(planted.data.test)[0]
    y = np.where(arm == 1, planted.data.test.y, 0.0)
    with pytest.raises(NotEnoughData, match=r"the test split holds \d+ control rows, 0 of them positive"):
        kind.check(spoilt(planted.data, "test", y=y))


def test_rows_without_arm_or_with_a_certain_one_are_refused(planted: Trial) -> None:
    with pytest.raises(NotEnoughData, match="which arm was drawn"):
        kind.check(spoilt(planted.data, "train", propensity=None))
    for value in (0.0, 1.0, 1.5):
        propensity = pseudo_outcomes.arms(planted.data.validation)[1].copy()
        propensity[3] = value
        with pytest.raises(InvalidInput, match=r"propensity: must lie inside \(0, 1\), and 1 rows of the validation"):
            kind.check(spoilt(planted.data, "validation", propensity=propensity))
    with pytest.raises(InvalidInput, match="0 and 1"):
        kind.check(spoilt(planted.data, "train", arm=np.full(len(planted.data.train), 2.0)))


def test_arms_that_were_not_drawn_as_recorded_are_refused() -> None:
    """Treated by who they are, or with another probability than the one recorded."""
    made = trial(generator("chosen"), 9_000, spread=0.0, uneven=True).data
    kind.check(made)
    believed = made
    for name, split in made.splits.items():
        believed = spoilt(believed, name, propensity=np.full(len(split), 0.55))
    with pytest.raises(InvalidInput, match="was not drawn with the recorded probabilities"):
        kind.check(believed)


def test_randomised_arms_are_hardly_ever_refused() -> None:
    """How far features tell a randomised arm is standard normal: 60 draws keep within four, and their mean near 0."""
    sds = [pseudo_outcomes.predictable(trial(generator("drawn", i), 2_000, spread=0.0).data).sds for i in range(60)]
    assert np.abs(sds).max() < 4 and abs(np.mean(sds)) < 4 / np.sqrt(60)


# -- tables ------------------------------------------------------------------------------------------------------------


def table() -> pl.DataFrame:
    return pl.DataFrame(
        {"who": range(9), "got": ["a", "none", "b", None, "a", "none", "b", "a", "none"], "p": [0.4] * 9}
    )


def test_two_arms_of_a_table() -> None:
    rows, limits = two_arms(table(), "got", control="none", treated="a")
    assert rows.columns == ["who", "p", "arm", "propensity"]
    assert rows["who"].to_list() == [0, 1, 4, 5, 7, 8] and rows["arm"].to_list() == [1, 0, 1, 0, 1, 0]
    assert rows["propensity"].unique().to_list() == [0.5] and "0.500" in limits[0]
    known = two_arms(table(), "got", control="none", treated="b", propensity="p")
    assert known.limits == () and known.rows["propensity"].unique().to_list() == [0.4]
    assert known.rows.columns == ["who", "arm", "propensity"]


def test_arms_that_are_not_there_are_named() -> None:
    with pytest.raises(InvalidInput, match="several treatments"):
        two_arms(table(), "got", control="none")
    with pytest.raises(InvalidInput, match="arm: is no column"):
        two_arms(table(), "arm", control="none")
    with pytest.raises(NotEnoughData, match="nobody given 'c'"):
        two_arms(table(), "got", control="none", treated="c")
    assert two_arms(table().filter(pl.col("got") != "b"), "got", control="none").rows["arm"].sum() == 3
