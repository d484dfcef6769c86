"""What stands beside the figures: deciles, reliability, profit, stretches of time, segments and slots."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from features.kernel.card import CandidateColumn, Candidates, Metric
from features.kernel.seeds import generator
from training.evaluation import binary, over_time, profit, segments, slots, tables
from training.evaluation.judged import Judged
from training.evaluation.outcome import outcome
from training.kinds import kind_of
from training.synthetic import Synthetic, draw
from training.trainingset import Split, TrainingSet

Floats = NDArray[np.float64]

AUC = Metric(name="auc", value=0.7, low=0.6, high=0.8)
START = np.datetime64("2026-01-01", "us")


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return draw(generator("tables"), 1200)


def judged(data: TrainingSet, answers: Floats, baseline: Floats | None = None, **changes: Any) -> Judged:
    given = Judged(
        data, kind_of(data.problem), AUC, answers, answers if baseline is None else baseline, data.validation.y
    )
    return dataclasses.replace(given, **changes)


def people(rng: np.random.Generator, n: int, rows: int) -> tuple[Split, Floats]:
    """n people with `rows` rows each, who share a trait the answers do not know; on average the answers are right."""
    p = rng.beta(2, 5, n * rows)
    trait = np.repeat(rng.uniform(-1, 1, n), rows) * np.minimum(p, 1 - p)
    y = (rng.random(n * rows) < p + trait).astype(float)
    person = np.repeat([f"p{i}" for i in range(n)], rows)
    return Split(np.empty((n * rows, 0), np.float32), y, person, np.full(n * rows, START)), p


# -- deciles and reliability -------------------------------------------------------------------------------------------


def test_gain_ends_at_one_and_lift_is_its_slope(made: Synthetic) -> None:
    rows = binary.evaluate(made.data.test, made.truth, made.truth, generator("draws")).tables["deciles"]
    gain = np.array([0.0, *(each["gain"] for each in rows)])
    assert gain[-1] == pytest.approx(1) and np.all(np.diff(gain) >= 0)
    assert np.diff(gain) * 10 == pytest.approx([each["lift"] for each in rows])
    best = np.argsort(-made.truth)[: len(made.truth) // 10]
    assert rows[0]["lift"] == pytest.approx(made.data.test.y[best].mean() / made.data.test.y.mean())
    assert all(each["lift_low"] <= each["lift"] <= each["lift_high"] for each in rows)
    assert [each["gain"] for each in rows] == pytest.approx([each["baseline_gain"] for each in rows])


def test_intervals_of_the_reliability_curve_cover_the_truth() -> None:
    """Of 60 test sets whose answers are right, 95 % intervals of the ten bins must hold them in 90 to 98 %."""
    rng, held = generator("reliable"), 0
    for _ in range(60):
        split, p = people(rng, 200, 4)
        rows = binary.evaluate(split, p, p, rng, draws=80).tables["reliability"]
        held += sum(each["low"] <= each["predicted"] <= each["high"] for each in rows)
    assert 0.90 <= held / 600 <= 0.98


def test_segments_part_the_rows_and_their_means_are_those_of_the_rows(made: Synthetic) -> None:
    """By the columns that matter: the noise is not among them; quarters and categories hold every row once."""
    found = segments.segments(made.data, made.truth)
    by = {each.by for each in found}
    assert by == {"x:a", "x:b", "x:city"}
    for name in by:
        rows = np.concatenate([each.rows for each in found if each.by == name])
        assert sorted(rows.tolist()) == list(range(len(made.truth)))
    assert {each.name for each in found if each.by == "x:city"} == set(made.data.features[2].vocabulary)
    assert "missing" in {each.name for each in found if each.by == "x:b"}
    told = segments.table(made.data.test, made.truth, found, generator("draws"))
    for each, row in zip(found, told, strict=True):
        assert row["observed"] == pytest.approx(made.data.test.y[each.rows].mean())
        assert row["gap"] == pytest.approx(made.truth[each.rows].mean() - made.data.test.y[each.rows].mean())
        assert row["low"] <= row["observed"] <= row["high"] and row["gap_low"] <= row["gap"] <= row["gap_high"]


def test_a_segment_in_which_a_model_is_off_is_shown(made: Synthetic) -> None:
    city = made.data.test.x[:, 2] == 1
    answers = np.where(city, np.clip(made.truth + 0.2, 0, 0.99), made.truth)
    found = segments.segments(made.data, answers)
    rows = [each for each in segments.table(made.data.test, answers, found, generator("s")) if each["by"] == "x:city"]
    name = made.data.features[2].vocabulary[1]
    assert {each["segment"] for each in rows if each["gap_low"] > 0.05} == {name}


# -- over time ---------------------------------------------------------------------------------------------------------


def test_each_cutoff_is_a_stretch_and_its_figures_are_its_rows(made: Synthetic) -> None:
    test, noise = made.data.test, np.clip(made.truth + generator("n").normal(0, 0.2, len(made.truth)), 0.01, 0.99)
    rows = over_time.table(judged(made.data, made.truth, noise), generator("draws"))
    assert [each["as_of"] for each in rows] == [str(each)[:19] for each in np.unique(test.as_of)]
    for instant, row in zip(np.unique(test.as_of), rows, strict=True):
        at = test.as_of == instant
        assert row["value"] == pytest.approx(roc_auc_score(test.y[at], made.truth[at]))
        assert row["gain"] == pytest.approx(row["value"] - roc_auc_score(test.y[at], noise[at]))
        assert row["observed"] == pytest.approx(test.y[at].mean()) and row["rows"] == at.sum()
        assert 0 < row["gain_low"] < row["gain"] < row["gain_high"]


def test_many_instants_make_a_few_stretches_of_like_size(made: Synthetic) -> None:
    test = made.data.test
    spread = dataclasses.replace(test, as_of=np.sort(START + generator("t").integers(0, 90, len(test)).astype("m8[D]")))
    found = over_time.stretches(spread)
    assert len(found) == over_time.MOST and sorted(np.concatenate(found).tolist()) == list(range(len(test)))
    sizes = [len(each) for each in found]
    assert max(sizes) < 1.2 * min(sizes)
    ends = [(spread.as_of[each].min(), spread.as_of[each].max()) for each in found]
    assert all(former[1] < latter[0] for former, latter in pairwise(ends))


def test_rows_without_time_have_no_stretches(made: Synthetic) -> None:
    one = dataclasses.replace(made.data.test, as_of=np.full(len(made.truth), START))
    for changes in ({"split": "random"}, {"test": one}):
        data = dataclasses.replace(made.data, **changes)  # type: ignore[arg-type]
        assert over_time.table(judged(data, made.truth), generator("draws")) == ()


# -- profit ------------------------------------------------------------------------------------------------------------


def test_the_threshold_is_the_best_of_all_on_the_rows_it_is_chosen_on() -> None:
    split, p = people(generator("threshold"), 150, 3)
    costs = (2.0, 5.0)
    chosen = profit.threshold(split, p, costs)

    def earned(level: float) -> float:
        taken = p >= level
        return float(costs[1] * split.y[taken].sum() - costs[0] * (1 - split.y[taken]).sum())

    assert earned(chosen) == pytest.approx(max(earned(each) for each in [*p.tolist(), 0.0, profit.NOBODY]))


def test_for_calibrated_answers_it_lies_near_the_break_even_and_the_truth_earns_most() -> None:
    split, p = people(generator("calibrated"), 20_000, 1)
    assert profit.threshold(split, p, (1.0, 3.0)) == pytest.approx(0.25, abs=0.05)
    assert profit.break_even((1.0, 3.0)) == 0.25


def test_the_threshold_has_an_interval_that_more_rows_make_narrower(made: Synthetic) -> None:
    widths = []
    for people_count in (100, 1600):
        split, p = people(generator("narrow"), people_count, 2)
        data = dataclasses.replace(made.data, validation=split)
        (_, best), _ = profit.judge(judged(data, made.truth, validation=p), (1.0, 3.0), generator("draws"))
        assert best.low <= best.value <= best.high and best.low <= 0.25 <= best.high
        widths.append(best.high - best.low)
    assert widths[1] < widths[0]


def test_profit_is_judged_on_the_test_split_at_the_threshold_of_the_validation_split(made: Synthetic) -> None:
    """Chosen where answers are twice as high, the threshold is too high for the test split, and the profit tells."""
    costs, validation = (1.0, 4.0), np.clip(2 * made.data.validation.y * 0.4 + 0.1, 0, 0.99)
    given = judged(made.data, made.truth, validation=validation)
    (metric, best), rows = profit.judge(given, costs, generator("draws"))
    chosen = [each for each in rows if each["chosen"]]
    assert len(chosen) == 1 and chosen[0]["threshold"] == profit.threshold(made.data.validation, validation, costs)
    at, y = made.truth >= chosen[0]["threshold"], made.data.test.y
    assert (best.name, best.value) == ("best_threshold", chosen[0]["threshold"])
    assert metric.value == pytest.approx(1000 * (4 * y[at].sum() - (1 - y[at]).sum()) / len(y))
    assert chosen[0]["contacted"] == pytest.approx(at.mean()) and metric.low < metric.value < metric.high
    assert metric.value < max(each["profit"] for each in rows)
    everyone, nobody = rows[0], rows[-1]
    assert everyone["contacted"] == 1 and everyone["profit"] == pytest.approx(1000 * (5 * y.mean() - 1))
    assert nobody["contacted"] == nobody["profit"] == 0


def test_where_acting_never_pays_nobody_is_acted_on() -> None:
    split, p = people(generator("never"), 300, 1)
    nobody = dataclasses.replace(split, y=np.zeros(len(p)))
    assert profit.threshold(nobody, p, (1.0, 1000.0)) == profit.NOBODY
    assert profit.threshold(split, p, (0.001, 1000.0)) <= p[split.y > 0].min()


def test_intervals_of_profit_cover_the_truth() -> None:
    """At a fixed threshold; of 100 test sets in 89 to 99."""
    rng, costs, held = generator("earned"), (1.0, 2.0), 0
    split, p = people(rng, 40_000, 4)
    at = p >= 0.3
    truth = 1000 * float((2 * split.y - (1 - split.y))[at].sum() / len(p))
    whole = draw(generator("any"), 40).data
    for _ in range(100):
        split, p = people(rng, 150, 4)
        data = dataclasses.replace(whole, test=split, validation=dataclasses.replace(split, y=(p >= 0.3).astype(float)))
        fixed = np.where(p >= 0.3, 0.3, 0.1)
        given = Judged(data, kind_of(data.problem), AUC, fixed, fixed, fixed)
        (metric, _), _ = profit.judge(given, costs, rng)
        held += metric.low <= truth <= metric.high
    assert 89 <= held <= 99


# -- slots -------------------------------------------------------------------------------------------------------------


def sent(rng: np.random.Generator, people: int, sends: int, *, own: bool) -> tuple[TrainingSet, Floats, Floats]:
    """Sends at random slots of four, the true probabilities, and each person's favourite slot if they have one."""
    whole = draw(generator("slots"), 60).data
    columns = (CandidateColumn(name="slot", values=(0.0, 1.0, 2.0, 3.0)),)
    candidates = Candidates(name="slot", count=4, columns=columns)

    def split() -> tuple[Split, Floats]:
        person = np.repeat(np.arange(people), sends)
        slot = rng.integers(0, 4, people * sends)
        favourite = np.arange(people) % 4 if own else np.full(people, 2)
        glad = np.repeat(rng.beta(2, 6, people), sends)
        p = np.clip(glad * np.where(slot == favourite[person], 3.0, 0.5), 0, 1)
        x = slot[:, None].astype(np.float32)
        y = (rng.random(len(p)) < p).astype(float)
        return Split(x, y, np.array([f"p{i}" for i in person]), np.full(len(p), START)), p

    (train, _), (test, p) = split(), split()
    data = dataclasses.replace(whole, features=(), candidates=candidates, train=train, test=test)
    return data, p, test.x[:, 0].astype(float)


def hits_of(data: TrainingSet, answers: Floats) -> dict[str, float]:
    (metric,), found = slots.judge(judged(data, answers), generator("draws"))
    hits = {each["ranking"]: each["hit_rate"] for each in found["hits"]}
    assert metric.value == hits["model"] and metric.baseline == hits["most popular"]
    assert all(each["low"] <= each["hit_rate"] <= each["high"] for each in found["hits"])
    return hits


def test_who_knows_each_persons_slot_beats_the_most_popular_and_chance() -> None:
    data, p, _ = sent(generator("own"), 800, 5, own=True)
    hits = hits_of(data, p)
    assert hits["model"] > hits["chance"] + 0.15 and abs(hits["most popular"] - hits["chance"]) < 0.04


def test_where_all_have_one_favourite_the_most_popular_knows_as_much() -> None:
    data, p, _ = sent(generator("same"), 800, 5, own=False)
    hits = hits_of(data, p)
    assert hits["most popular"] == pytest.approx(hits["model"], abs=0.02) and hits["model"] > hits["chance"] + 0.15


def test_who_knows_only_the_person_is_no_better_than_chance() -> None:
    """However well the answers tell glad people from others."""
    data, _, _ = sent(generator("person"), 800, 5, own=True)
    glad = np.unique(data.test.person, return_inverse=True)[1].astype(float)
    hits = hits_of(data, glad)
    assert hits["model"] == pytest.approx(hits["chance"])


def test_a_slot_is_read_from_the_columns_or_not_told(made: Synthetic) -> None:
    data, p, slot = sent(generator("read"), 50, 4, own=True)
    taken = slots.candidates_of(data, data.test)
    assert taken is not None and np.array_equal(taken, slot)
    assert slots.candidates_of(made.data, made.data.test) is None
    assert data.candidates is not None
    tied = CandidateColumn(name="slot", values=(0.0, 1.0, 1.0, 3.0))
    unclear = dataclasses.replace(data, candidates=Candidates(name="slot", count=4, columns=(tied,)))
    assert slots.judge(judged(unclear, p), generator("draws")) == ((), {})


def test_shares_by_slot_are_weighted_means(made: Synthetic) -> None:
    data, p, slot = sent(generator("shares"), 100, 4, own=True)
    weight = generator("w").uniform(0.5, 2, len(p))
    data = dataclasses.replace(data, test=dataclasses.replace(data.test, weight=weight))
    _, found = slots.judge(judged(data, p), generator("draws"))
    for row in found["slots"]:
        at = slot == row["slot"]
        assert row["observed"] == pytest.approx(np.average(data.test.y[at], weights=weight[at]))
        assert row["predicted"] == pytest.approx(np.average(p[at], weights=weight[at])) and row["rows"] == at.sum()


# -- all of them -------------------------------------------------------------------------------------------------------


def test_the_mean_of_an_effects_outcome_is_the_effect(made: Synthetic) -> None:
    rng, n = generator("effect"), 40_000
    arm = (rng.random(n) < 0.3).astype(float)
    y = (rng.random(n) < 0.6 + 0.1 * arm).astype(float)
    split = Split(
        np.empty((n, 0), np.float32), y, np.arange(n).astype(str), np.full(n, START), None, arm, np.full(n, 0.3)
    )
    assert outcome(split).mean() == pytest.approx(0.1, abs=0.02)
    assert outcome(made.data.test) is made.data.test.y


def test_tables_are_plain_and_those_that_do_not_apply_are_left_out(made: Synthetic) -> None:
    found = binary.evaluate(made.data.test, made.truth, made.truth, generator("draws"), draws=40)
    whole = tables.complete(found, judged(made.data, made.truth), generator("tables"))
    assert whole.tables.keys() == {"deciles", "reliability", "over_time", "by_segment"}
    decoded = msgspec.json.decode(msgspec.json.encode(whole.tables))
    assert decoded.keys() == whole.tables.keys()
    for name, rows in whole.tables.items():
        assert all(row.keys() == rows[0].keys() for row in rows), name
    priced = dataclasses.replace(made.data, problem=dataclasses.replace(made.data.problem, costs=(1.0, 2.0)))
    told = tables.complete(found, judged(priced, made.truth), generator("tables"))
    assert "profit" in told.tables and [each.name for each in told.metrics[-2:]] == ["profit", "best_threshold"]
    again = tables.complete(found, judged(priced, made.truth), generator("tables"))
    assert again.tables == told.tables and again.metrics == told.metrics
