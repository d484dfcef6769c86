"""A card opens with its weakness, the gravest first, in words of its kind."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from features.kernel.card import Calibration, GateFinding, Metric
from features.kernel.seeds import generator
from training import cards
from training.booster import Model
from training.evaluation import binary
from training.evaluation.outcome import outcome
from training.evaluation.result import Evaluation
from training.headline import headline
from training.kinds import kind_of
from training.synthetic import Synthetic, draw
from training.trainingset import TrainingSet


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return draw(generator("headline"), 900)


@pytest.fixture(scope="module")
def good(made: Synthetic) -> Evaluation:
    nothing = np.full(len(made.truth), made.truth.mean())
    return binary.evaluate(made.data.test, made.truth, nothing, generator("draws"), draws=60)


def of_kind(data: TrainingSet, kind: Any, unit: str = "EUR") -> TrainingSet:
    return dataclasses.replace(data, problem=dataclasses.replace(data.problem, kind=kind, unit=unit))


def failed(code: str, severity: Any = "refuse") -> GateFinding:
    return GateFinding(code, "holds over time", severity, "failed", "auc 0.6; 0.5")


def first(*said: Any, **beside: Any) -> str:
    sentence = headline(*said, **beside)
    assert sentence.endswith(".") and sentence.count("; ") == 1
    return sentence.split("; ")[0]


def test_a_good_model_says_how_often_its_surest_answers_are_wrong(made: Synthetic, good: Evaluation) -> None:
    sure = made.data.test.y[np.argsort(-made.truth)[: len(made.truth) // 10]].mean()
    assert f"{100 * (1 - sure):.0f} in 100 turn out otherwise" in first(made.data, good)
    said = headline(made.data, good)
    assert f"ranks {100 * good.metric('auc').value:.0f} of 100" in said and "the baseline 50" in said


def test_the_gravest_weakness_comes_first(made: Synthetic, good: Evaluation) -> None:
    """Each next one is heard only where those before it are not."""
    random = dataclasses.replace(made.data, split="random")
    no_better = dataclasses.replace(good, positives=40, gain=Metric(name="auc", value=0.01, low=-0.01, high=0.03))
    few = dataclasses.replace(good, positives=40)
    off = dataclasses.replace(good, bins=good.bins._replace(observed=good.bins.observed + 0.3))
    refused = (failed("KT101"), failed("KT107", "warn"), failed("KT105"))
    assert first(random, no_better, refused, "logistic").startswith("Not shown to beat its baseline (auc +0.010")
    assert "'holds over time' fails: auc 0.6, 0.5" in first(random, few, refused, "logistic")
    assert "so little" in first(random, few, (failed("KT107", "warn"),), "logistic")
    assert "at random" in first(random, few)
    assert "only 40 positives" in first(made.data, few)
    assert "off by up to" in first(made.data, off)


def test_an_effect_without_proof_says_so_and_one_with_proof_says_how_large(made: Synthetic) -> None:
    rng, n = generator("effects"), len(made.truth)
    arm, strong = (rng.random(n) < 0.5).astype(float), made.data.test.x[:, 0] > 0
    y = (rng.random(n) < 0.2 + 0.5 * arm * strong).astype(float)
    nothing, knowing = np.full(n, 0.2), np.where(strong, 0.5, 0.0)
    test = dataclasses.replace(made.data.test, y=y, arm=arm, propensity=np.full(n, 0.5))
    data = of_kind(dataclasses.replace(made.data, test=test), "uplift", "change of probability")
    evaluate = kind_of(data.problem).evaluate
    assert first(data, evaluate(data, nothing, nothing, generator("u"))).startswith(
        "No proven gain from targeting (Qini"
    )
    found = evaluate(data, knowing, nothing, generator("u"))
    said = headline(data, found)
    assert "never seen" in said.split("; ")[0] and "for the tenth with the highest answers" in said
    assert f"{100 * found.mean:+.2f} points for everybody" in said


def test_an_amount_says_how_far_off_a_single_answer_is(made: Synthetic) -> None:
    rng = generator("amounts")
    amount = np.where(rng.random(len(made.truth)) < made.truth, rng.gamma(2, 50, len(made.truth)), 0.0)
    test = dataclasses.replace(made.data.test, y=amount)
    data = of_kind(dataclasses.replace(made.data, test=test), "regression")
    answers, nothing = 100 * made.truth, np.full(len(amount), amount.mean())
    found = kind_of(data.problem).evaluate(data, answers, nothing, generator("r"))
    said = headline(data, found)
    assert f"off by {found.metric('mae').value:.3g} EUR" in said and "of the whole" in said
    assert "Not shown to beat its baseline" in first(
        data, kind_of(data.problem).evaluate(data, nothing, answers, generator("r"))
    )
    twice = kind_of(data.problem).evaluate(data, 2 * answers, nothing, generator("r"))
    total = twice.metric("total_ratio").value
    assert f"add up to {100 * total:.0f} %" in first(data, twice) and total > 1.7
    assert "of the whole" not in headline(of_kind(data, "regression", "days"), found)


def test_the_prior_counts_weights_and_of_an_effect_is_the_effect(made: Synthetic, good: Evaluation) -> None:
    model, identity = Model("", {}, 0, 0.0), Calibration(method="none", raw=(0.0,), value=(0.0,), largest_error=0.0)

    def prior(data: TrainingSet) -> float:
        return cards.write(data, model, identity, good, (), data.observed_until).prior

    train = made.data.train
    assert prior(made.data) == pytest.approx(train.y.mean())
    weighted = dataclasses.replace(train, weight=np.where(train.y > 0, 3.0, 1.0))
    yes = 3 * train.y.sum()
    assert prior(dataclasses.replace(made.data, train=weighted)) == pytest.approx(yes / (yes + (1 - train.y).sum()))
    arm = (generator("arm").random(len(train)) < 0.5).astype(float)
    tested = dataclasses.replace(train, y=arm, arm=arm, propensity=np.full(len(train), 0.5))
    assert prior(dataclasses.replace(made.data, train=tested)) == pytest.approx(1, abs=0.02)
    assert prior(dataclasses.replace(made.data, train=tested)) == pytest.approx(outcome(tested).mean())


def test_the_card_says_what_it_was_made_with(made: Synthetic, good: Evaluation) -> None:
    model = Model("", {"num_leaves": 4}, 7, 0.0, "logistic")
    identity = Calibration(method="none", raw=(0.0,), value=(0.0,), largest_error=0.0)
    data = dataclasses.replace(made.data, limits=("No hour was drawn.",))
    card = cards.write(data, model, identity, good, (failed("KT105"),), data.observed_until)
    assert (card.learner, card.rounds, card.limits) == ("logistic", 7, data.limits)
    assert card.gates == (failed("KT105"),) and "holds over time" in card.headline
    assert card.metrics == good.metrics and card.parameters == {"num_leaves": 4}


def test_the_reference_is_of_the_newest_rows_in_float32(made: Synthetic) -> None:
    profile = cards.reference(made.data)
    assert profile.columns == made.data.inputs and len(profile) <= cards.REFERENCE_ROWS
    assert str(profile.schema["x:a"]) == "Float32" and str(profile.schema["x:city"]) == "String"
    newest = made.data.train.as_of == made.data.train.as_of.max()
    assert set(profile["x:a"].to_list()) >= set(made.data.train.x[newest, 0].tolist())
