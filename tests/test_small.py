"""Few rows: which learner, that it is the better one there, that it is served like any other, and when it abstains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from features.kernel.errors import NotEnoughData
from features.kernel.seeds import generator
from serving.model import Booster
from training import baseline, pipeline, small
from training.booster import Trainer, load
from training.calibration import calibrate
from training.kinds import binary
from training.plan import Plan
from training.rows import folds
from training.synthetic import draw
from training.trainingset import Split, TrainingSet

Floats = NDArray[np.float64]


def rows(split: Split, kept: NDArray[np.bool_]) -> Split:
    parts = {name: getattr(split, name)[kept] for name in ("x", "y", "person", "as_of")}
    return dataclasses.replace(split, **parts)


def thinned(data: TrainingSet, positives: int, *names: object, later: bool = True) -> TrainingSet:
    """People are left out until about so many positive rows remain to learn from; the test split stays."""
    people = np.unique(data.train.person)
    share = positives / data.train.y.sum()
    kept = generator("thinned", positives, *names).permutation(people)[: max(9, round(share * len(people)))]
    parts = {"train": rows(data.train, np.isin(data.train.person, kept))}
    if later:
        parts["validation"] = rows(data.validation, np.isin(data.validation.person, kept))
    return dataclasses.replace(data, **parts)


@pytest.fixture(scope="module")
def many() -> TrainingSet:
    return draw(generator("small"), 1200).data


@pytest.fixture(scope="module")
def few(many: TrainingSet) -> TrainingSet:
    return thinned(many, 80)


@pytest.fixture(scope="module")
def found(few: TrainingSet) -> pipeline.Fitted:
    return pipeline.fit(few, plan=Plan(trials=0))


# -- which learner -----------------------------------------------------------------------------------------------------


def later_loss(data: TrainingSet, learner: str) -> float:
    """Log-loss on the test split of the calibrated model of a learner."""
    if learner == "logistic":
        regression = small.Logistic(data)
        model = regression.fit()
        unseen = regression.out_of_fold(model)
    else:
        trainer = Trainer(data, binary.kind.objective)
        model = trainer.fit(trainer.defaults)
        unseen = trainer.out_of_fold(model)
    raw, y = np.r_[unseen, model.raw(data.validation.x)], np.r_[data.train.y, data.validation.y]
    p = calibrate.apply(calibrate.with_calibrator(calibrate.all_calibrators()["platt"], raw, y), model.raw(data.test.x))
    return float(-np.mean(np.where(data.test.y > 0, np.log(p), np.log1p(-p))))


@pytest.mark.parametrize(("positives", "better"), [(30, "logistic"), (300, "trees"), (1000, "trees")])
def test_the_ladder_takes_the_learner_that_loses_less_on_later_rows(
    positives: int, better: str, many: TrainingSet
) -> None:
    gains = []
    for number in range(6):
        data = thinned(many, positives, number)
        assert small.learner(data) == better
        gains.append(later_loss(data, "logistic") - later_loss(data, "trees"))
    assert np.mean(gains) < 0 if better == "logistic" else np.mean(gains) > 0.005


def test_on_noise_it_is_no_worse_than_the_base_rate() -> None:
    noise = draw(generator("noise"), 1200, signal=0.0).data
    for number in range(4):
        data = thinned(noise, 40, number)
        y, rate = data.test.y, data.train.y.mean()
        prior = -np.mean(np.where(y > 0, np.log(rate), np.log1p(-rate)))
        assert later_loss(data, "logistic") < prior + 0.01


def test_the_card_says_which_learner_against_what_and_why(found: pipeline.Fitted, many: TrainingSet) -> None:
    card = found.card
    assert card.learner == "logistic" and card.baseline == "the base rate of the training rows"
    assert card.limits[-1].startswith("Only ") and "trees need 120" in card.limits[-1]
    assert card.metric("auc").baseline == 0.5, "everyone alike"
    assert card.parameters["strength"] in (0.001, 0.01, 0.1, 1.0)
    trees = pipeline.fit(many, plan=Plan(trials=0)).card
    assert trees.learner == "trees" and "logistic regression on x:a, x:city" in trees.baseline and not trees.limits


def test_few_rows_have_wide_intervals(found: pipeline.Fitted, many: TrainingSet) -> None:
    def width(card: pipeline.Fitted) -> float:
        interval = card.card.interval
        assert interval
        return float(np.interp(0.3, interval.value, np.subtract(interval.high, interval.low)))

    assert width(found) > 2 * width(pipeline.fit(many, plan=Plan(trials=0)))


def test_it_is_the_same_every_time(few: TrainingSet, found: pipeline.Fitted) -> None:
    again = pipeline.fit(few, plan=Plan(trials=4, fixed=found.card.parameters, rounds=found.card.rounds))
    assert again.model == found.model and again.card.calibration == found.card.calibration


# -- written as trees --------------------------------------------------------------------------------------------------


def test_the_trees_repeat_the_regression(few: TrainingSet, found: pipeline.Fitted) -> None:
    """On later rows too, and where a value is missing or lies far outside."""
    taken = [0, 2]
    regression = make_pipeline(
        baseline.columns(few, taken), LogisticRegression(C=float(found.card.parameters["strength"]), max_iter=1000)
    ).fit(few.train.x[:, taken], few.train.y)
    x = few.test.x.copy()
    x[::7, 0] = np.nan
    x[::11, 2] = np.nan
    off = np.abs(found.model.raw(x) - regression.decision_function(x[:, taken]))
    assert off.mean() < 0.02 and np.quantile(off, 0.99) < 0.15
    assert found.card.parameters["largest_deviation"] < 0.3


def test_no_tree_looks_at_two_columns_or_at_one_outside_the_baseline(found: pipeline.Fitted) -> None:
    trees = load(found.model.text).trees_to_dataframe().dropna(subset=["split_feature"])
    assert set(trees["split_feature"]) == {"x__a", "x__city"}
    assert trees.groupby("tree_index")["split_feature"].nunique().max() == 1


def test_what_serves_any_model_serves_it(few: TrainingSet, found: pipeline.Fitted) -> None:
    served = Booster(found.model.text.encode())
    x = np.ascontiguousarray(few.test.x[:50], dtype=np.float64)
    assert np.array_equal(served.raw(x), found.model.raw(few.test.x[:50]))
    parts = served.contributions(x)
    assert parts.sum(axis=1) == pytest.approx(served.raw(x), abs=1e-9)
    assert np.abs(parts[:, [1, 3, 4, 5, 6]]).max() == 0, "columns outside the baseline are no reason"
    assert load(found.model.text).predict(x) == pytest.approx(1 / (1 + np.exp(-served.raw(x))))


# -- abstaining --------------------------------------------------------------------------------------------------------


def relabelled(data: TrainingSet, split: str, y: Floats) -> TrainingSet:
    return dataclasses.replace(data, **{split: dataclasses.replace(data.splits[split], y=y)})


@pytest.mark.parametrize(("split", "least"), [("train", 20), ("validation", 10), ("test", 10)])
@pytest.mark.parametrize("one_class", [True, False])
def test_too_few_of_a_class_is_said_by_split_counts_and_need(
    split: str, least: int, one_class: bool, many: TrainingSet
) -> None:
    y = np.zeros(len(many.splits[split]))
    y[: 0 if one_class else least - 1] = 1
    with pytest.raises(NotEnoughData) as refused:
        pipeline.fit(relabelled(many, split, y), plan=Plan(trials=0))
    said = str(refused.value)
    assert f"synthetic: the {split} split holds {int(y.sum())} positive and {int((1 - y).sum())} negative rows" in said
    assert f"needs {least} of each; import more" in said


def test_many_rows_of_few_people_are_few() -> None:
    data = draw(generator("few people"), 300).data
    three = np.isin(data.train.person, ["p00001", "p00002", "p00003"])
    y, person = np.where(three, 1.0, 0.0), data.train.person
    grown = dataclasses.replace(
        data.train, **{name: np.repeat(getattr(data.train, name), 3, axis=0) for name in ("x", "as_of")},
        y=np.repeat(y, 3), person=np.repeat(person, 3),
    )  # fmt: skip
    with pytest.raises(NotEnoughData, match="rows of one outcome in the train split are of 3 people, and 8 are needed"):
        pipeline.fit(dataclasses.replace(data, train=grown), plan=Plan(trials=0))


def test_as_few_as_can_be_learnt_are_learnt(many: TrainingSet) -> None:
    """Twenty positive rows, ten later ones: every step of the pipeline holds."""
    rng = generator("least")
    labels = {}
    for name, count in (("train", 20), ("validation", 10), ("test", 10)):
        y = np.zeros(len(many.splits[name]))
        y[rng.permutation(len(y))[:count]] = 1
        labels[name] = dataclasses.replace(many.splits[name], y=y)
    card = pipeline.fit(dataclasses.replace(many, **labels), plan=Plan(trials=2)).card
    assert card.learner == "logistic" and card.interval
    assert "KT101" in {each.code for each in card.gates if each.outcome == "failed"}, "noise is not promoted"


@pytest.mark.parametrize("positives", [1, 2, 3, 5])
def test_folds_with_fewer_positive_people_than_folds(positives: int) -> None:
    """Every fold has one, and so has what is left without it, or there is one fold."""
    person = np.array([f"p{i % 30}" for i in range(120)])
    y = np.isin(person, [f"p{i}" for i in range(positives)]).astype(float)
    fold = folds.by_person(person, y, 4)
    assert fold.max() + 1 == min(4, positives)
    assert {each: set(fold[person == each].tolist()) for each in set(person)} and all(
        len(set(fold[person == each].tolist())) == 1 for each in set(person)
    )
    for held_out in range(int(fold.max()) + 1):
        assert y[fold == held_out].any()
        assert positives == 1 or y[fold != held_out].any()
