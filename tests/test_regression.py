"""Amounts: figures against plain counting, knots and bounds against simulated truth, labels, and the market's truth."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from features.frames import EVENT_SCHEMA
from features.kernel.card import column_name
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from features.market import Market, simulate
from serving.bundles import load_bundle
from serving.known import Known
from serving.score import score
from training import pipeline
from training.amounts import bounds, knots
from training.amounts.curves import Curve, Days, Money
from training.calibration.calibrate import apply
from training.evaluation.amounts import Ranked, gain_curve
from training.evaluation.concordance import Concordance
from training.evaluation.regression import evaluate
from training.fitted import Fitted
from training.kind import Unseen
from training.kinds import kind_of
from training.pictures import all_pictures
from training.plan import Plan
from training.problem import Problem
from training.problems import all_problems
from training.rows import cutoffs, dataset
from training.synthetic import draw
from training.testing import Computed
from training.trainingset import Split, TrainingSet

quiet_libraries()
CLV, NEXT = all_problems()["clv"], all_problems()["next_order"]
CUTOFF = datetime.fromisoformat("2026-05-02T00:00:00Z")
DAY = timedelta(days=1)


def amounts(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Zero-inflated, heavy-tailed amounts and their logarithmic means: what raw scores should be."""
    rng = generator("amounts", name)
    raw = rng.normal(3, 1.2, n)
    chance = 1 / (1 + np.exp(-(raw - 3)))
    spent = rng.random(n) < chance
    return np.where(spent, np.exp(raw) / chance * rng.gamma(1.5, 1 / 1.5, n), 0.0), raw


def unseen(raw: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> Unseen:
    n = len(raw)
    given = np.ones(n) if weight is None else weight
    return Unseen(raw, y, given, np.arange(n).astype(str), np.arange(n) >= 0.7 * n)


def split_of(y: np.ndarray, person: np.ndarray | None = None, weight: np.ndarray | None = None) -> Split:
    n = len(y)
    who = np.arange(n).astype(str) if person is None else person
    return Split(np.zeros((n, 1), np.float32), y, who, np.zeros(n, "datetime64[us]"), weight)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_concordance_is_that_of_counted_pairs() -> None:
    rng = generator("pairs")
    y, answer = np.round(rng.exponential(3, 200)), np.round(rng.normal(0, 3, 200))
    weight = rng.integers(0, 4, 200).astype(float)
    right = pairs = 0.0
    for i in range(200):
        ahead = y[i] < y
        pairs += weight[i] * weight[ahead].sum()
        better = (answer[i] < answer) + 0.5 * (answer[i] == answer)
        right += weight[i] * (weight * better)[ahead].sum()
    assert Concordance(y, answer).under(weight) == pytest.approx(right / pairs, rel=1e-12)


def test_of_a_yes_or_no_gini_and_concordance_are_those_of_auc() -> None:
    rng = generator("yes or no")
    answer, weight = np.round(rng.normal(size=400), 1), rng.integers(0, 3, 400).astype(float)
    y = (rng.random(400) < 1 / (1 + np.exp(-answer))).astype(float)
    figures, auc = Ranked(y, answer).figures(weight), roc_auc_score(y, answer, sample_weight=weight)
    assert figures["gini"] == pytest.approx(2 * auc - 1) and figures["concordance"] == pytest.approx(auc)


def test_gini_is_the_area_of_the_gain_curve_over_the_best_possible() -> None:
    y, raw = amounts("area", 500)
    area = [float(np.trapezoid(found, taken)) - 0.5 for taken, found in (gain_curve(y, each) for each in (raw, y))]
    assert Ranked(y, raw).figures()["gini"] == pytest.approx(area[0] / area[1])
    assert Ranked(y, y).figures()["gini"] == pytest.approx(1) and Ranked(y, -y).figures()["gini"] < 0
    assert Ranked(y, np.full(500, 7.0)).figures()["gini"] == pytest.approx(0, abs=1e-12)


def test_only_the_order_counts_for_ranking_and_only_the_level_for_totals() -> None:
    y, raw = amounts("level", 2000)
    mean = np.exp(raw)
    one, other = Ranked(y, mean).figures(), Ranked(y, 3 * mean).figures()
    assert one["gini"] == other["gini"] and one["share_top_decile"] == other["share_top_decile"]
    assert other["total_ratio"] == pytest.approx(3 * one["total_ratio"])


def test_a_row_of_weight_two_is_two_rows() -> None:
    y, raw = amounts("weights", 300)
    weight = generator("two").integers(1, 3, 300)
    twice = np.repeat(np.arange(300), weight)
    weighted, repeated = Ranked(y, raw, weight.astype(float)), Ranked(y[twice], raw[twice])
    assert weighted.figures() == pytest.approx(repeated.figures())
    assert weighted.bins().observed == pytest.approx(repeated.bins().observed)


def test_a_better_model_gains_and_the_same_gains_nothing() -> None:
    y, raw = amounts("gain", 3000)
    worse = raw + generator("noise").normal(0, 1.5, len(raw))
    found = evaluate(split_of(y), np.exp(raw), np.exp(worse), generator("draws"), draws=100)
    assert 0 < found.gain.low < found.gain.value < found.gain.high and found.gain.name == "gini"
    assert [each["decile"] for each in found.tables["deciles"]] == list(range(1, 11))
    assert all(each["observed_low"] <= each["observed"] <= each["observed_high"] for each in found.tables["deciles"])
    errors = evaluate(split_of(y), np.exp(raw), np.exp(worse), generator("draws"), judged="rmse", draws=20)
    assert errors.gain.value > 0, "of an error less is better"
    same = evaluate(split_of(y), np.exp(raw), np.exp(raw), generator("draws"), draws=20)
    assert same.gain.low == same.gain.value == same.gain.high == 0


# -- knots -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [300, 6000])
@pytest.mark.parametrize("shape", ["right", "bent", "level", "constant", "backwards"])
def test_knots_rise_are_positive_and_the_total_is_right(shape: str, rows: int) -> None:
    y, raw = amounts(shape, rows)
    given = {
        "right": raw,
        "bent": np.where(raw < 3, raw, 3 + 4 * (raw - 3)),
        "level": raw + 5,
        "constant": np.full(rows, 2.0),
        "backwards": -raw,
    }[shape]
    weight = generator("weight", shape).uniform(0.5, 2.0, rows)
    found = knots.fit(unseen(given, y, weight), Money())
    assert (np.diff(found.raw) > 0).all() and (np.diff(found.value) > 0).all() and found.value[0] > 0
    assert weight @ apply(found, given) == pytest.approx(weight @ y)


def test_a_bent_score_is_straightened_and_a_right_one_left_alone() -> None:
    y, raw = amounts("straight", 60_000)
    bent = np.where(raw < 3, raw, 3 + 4 * (raw - 3))
    plain, isotonic = (knots.fit(unseen(each, y), Money()) for each in (raw, bent))
    assert (plain.method, isotonic.method) == ("log_linear", "isotonic")
    truth = np.exp(raw)
    for given, found in ((raw, plain), (bent, isotonic)):
        tenths = np.array_split(np.argsort(truth), 10)
        said, true = ([each[part].mean() for part in tenths] for each in (apply(found, given), truth))
        assert said == pytest.approx(true, rel=0.2)


def test_days_end_with_the_horizon() -> None:
    rng = generator("days")
    raw = rng.normal(0, 3, 4000)
    y = 90 * rng.beta(np.exp(raw / 2), np.exp(-raw / 2))
    found = knots.fit(unseen(raw, y), Days(90.0))
    assert 0 < found.value[0] < found.value[-1] <= 90
    assert apply(found, raw).sum() == pytest.approx(y.sum(), rel=1e-3)
    all_late = knots.fit(unseen(raw, np.where(rng.random(4000) < 0.999, 90.0, 1.0)), Days(90.0))
    assert (np.diff(all_late.raw) > 0).all() and (np.diff(all_late.value) > 0).all() and all_late.value[-1] <= 90


@pytest.mark.parametrize("curve", [Money(), Days(40.0)])
def test_a_curve_and_its_inverse(curve: Curve) -> None:
    scores = np.linspace(-4, 4, 9)
    assert curve.score(curve.amount(scores)) == pytest.approx(scores)


# -- bounds ------------------------------------------------------------------------------------------------------------


def covered(curve: Curve, rows: int, seed: int) -> np.ndarray:
    """Whether bounds learnt from some rows hold 4,000 others, lowest answers first."""
    rng = generator("covered", curve.name, seed)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(curve, Money):  # everybody spends: no outcome repeats, so the share must be met exactly
            raw = rng.normal(3, 1, n)
            return raw, np.exp(raw) * rng.gamma(1.2, 1 / 1.2, n)
        raw = rng.normal(0, 1, n)
        wait = rng.exponential(60 * np.exp(raw), n)
        return raw, np.minimum(wait, 40.0)

    raw, y = sample(rows)
    known = unseen(raw, y)
    calibration = knots.fit(known, curve)
    fresh, outcome = sample(4000)
    answer = apply(calibration, fresh)
    return bounds.held(bounds.fit(calibration, known), answer, outcome)[np.argsort(answer)]


def test_bounds_hold_what_they_say() -> None:
    """Over 60 draws, from few rows and many: .8 on average, overall and in each fifth but for its share of luck."""
    held = np.stack([covered(Money(), rows, seed) for seed in range(30) for rows in (400, 3000)])
    overall = held.mean(axis=1)
    assert abs(overall.mean() - bounds.LEVEL) < 0.012
    assert overall.std() < 0.03
    fifths = [part.mean() for part in np.array_split(held.mean(axis=0), 5)]
    assert all(abs(each - bounds.LEVEL) < 0.03 for each in fifths), fifths


def test_where_outcomes_repeat_bounds_hold_at_least_what_they_say() -> None:
    """Waits that end with the horizon: who is at it is held altogether; no fifth falls short, the first is exact."""
    held = np.stack([covered(Days(40.0), 3000, seed) for seed in range(20)])
    fifths = [part.mean() for part in np.array_split(held.mean(axis=0), 5)]
    assert all(each > bounds.LEVEL - 0.02 for each in fifths), fifths
    assert fifths[0] < 0.86


def test_bounds_hold_the_answer_rise_with_it_and_stay_where_outcomes_can_be() -> None:
    y, raw = amounts("shape", 5000)
    calibration = knots.fit(unseen(raw, y), Money())
    found = bounds.fit(calibration, unseen(raw, y))
    value, low, high = (np.array(each) for each in (found.value, found.low, found.high))
    assert (found.level, found.kind) == (0.8, "prediction")
    assert (np.diff(value) > 0).all() and (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()
    assert (low <= value).all() and (value <= high).all() and low.min() == 0 and high.max() <= max(y.max(), value[-1])
    assert value[0] == calibration.value[0] and value[-1] == calibration.value[-1]


# -- what the kind asks for --------------------------------------------------------------------------------------------


def money_set(scale: float = 1.0, people: int = 800) -> TrainingSet:
    """The synthetic set with amounts in place of yes and no: nothing, or a gamma around what x and the city say."""
    data = draw(generator("money"), people).data
    problem = dataclasses.replace(data.problem, kind="regression", unit="EUR", baseline=("x:a",), monotone={})

    def paid(split: Split, name: str) -> Split:
        level = np.exp(2 + 0.6 * np.nan_to_num(split.x[:, 0]))
        value = split.y * level * generator("money", name).gamma(2.0, 0.5, len(split))
        return dataclasses.replace(split, y=scale * np.round(value, 2))

    splits = {name: paid(split, name) for name, split in data.splits.items()}
    return dataclasses.replace(data, problem=problem, **splits)


def test_cents_are_learnt_as_euros_are() -> None:
    euros, cents = (pipeline.fit(money_set(scale, 500), plan=Plan(trials=0)) for scale in (1.0, 100.0))
    assert cents.answers == pytest.approx(100 * euros.answers, rel=0.02)
    gini = [each.card.metric("gini").value for each in (euros, cents)]
    assert gini[0] == pytest.approx(gini[1], abs=0.005)
    assert euros.card.link == "log" and euros.card.unit == "EUR"
    assert euros.card.baseline == "Tweedie regression on x:a" and euros.evaluation.gain.value > 0


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda y: np.where(np.arange(len(y)) == 3, -1.0, y), InvalidInput, "0 or more"),
        (lambda y: np.where(np.arange(len(y)) == 3, np.nan, y), InvalidInput, "1 rows of the train split"),
        (lambda y: np.where(np.arange(len(y)) < 20, 5.0, 0.0), NotEnoughData, "20 rows above 0 among"),
        (lambda y: np.full(len(y), 5.0), NotEnoughData, "same outcome, 5"),
    ],
)
def test_what_cannot_be_learnt_is_refused(change: object, error: type[Exception], says: str) -> None:
    data = money_set()
    assert callable(change)
    changed = dataclasses.replace(data, train=dataclasses.replace(data.train, y=change(data.train.y)))
    with pytest.raises(error, match=says):
        pipeline.fit(changed, plan=Plan(trials=0))


def test_days_are_asked_otherwise_than_money() -> None:
    money, days = kind_of(CLV), kind_of(NEXT)
    assert (money.link, days.link) == ("log", "logit") and money.name == days.name == "regression"
    assert money.metric == "gini" and NEXT.metric == "concordance"
    assert kind_of(NEXT.over(30 * DAY)).objective == days.objective


# -- what the labels mean ----------------------------------------------------------------------------------------------


def event(customer: str, kind: str, at: datetime, **fields: object) -> dict[str, object]:
    identity = {"event_id": f"{customer}-{kind}-{at.isoformat()}", "customer_id": customer, "type": kind}
    return {**dict.fromkeys(EVENT_SCHEMA), **identity, "occurred_at": at, "received_at": at, **fields}


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=EVENT_SCHEMA, orient="row")


def labels(problem: Problem, events: pl.DataFrame) -> dict[str, float]:
    population = problem.population(events, CUTOFF)
    return dict(problem.label(events, population, CUTOFF, problem.horizon).iter_rows())


def test_revenue_is_net_of_refunds_in_the_window_and_never_below_nothing() -> None:
    last = CUTOFF + CLV.horizon
    events = frame(
        *(event(who, "order", CUTOFF - 9 * DAY, amount=50.0) for who in ("buys", "returns", "silent", "late")),
        event("buys", "order", CUTOFF, amount=0.1),
        event("buys", "order", CUTOFF + DAY, amount=0.2),
        event("buys", "refund", CUTOFF + 2 * DAY, amount=0.05),
        event("returns", "refund", CUTOFF + DAY, amount=50.0),
        event("late", "order", last, amount=7.0),
        event("new", "order", CUTOFF + DAY, amount=9.0),
    )
    assert labels(CLV, events) == {"buys": 0.25, "returns": 0.0, "silent": 0.0, "late": 0.0}


def test_the_wait_is_in_days_and_ends_with_the_horizon() -> None:
    events = frame(
        *(event(who, "order", CUTOFF - 9 * DAY, amount=5.0) for who in ("soon", "at_once", "never", "late")),
        event("soon", "order", CUTOFF + 1.5 * DAY, amount=5.0),
        event("soon", "order", CUTOFF + 30 * DAY, amount=5.0),
        event("at_once", "order", CUTOFF, amount=5.0),
        event("late", "order", CUTOFF + NEXT.horizon, amount=5.0),
    )
    assert labels(NEXT, events) == {"soon": 1.5, "at_once": 0.0, "never": 90.0, "late": 90.0}


def test_the_unit_is_the_currency_and_several_are_told() -> None:
    market = simulate(seed=3, people=150, months=18)
    asked = CLV.over(90 * DAY)
    plan = cutoffs.for_problem(market.start, market.end, asked.horizon)
    data = dataset.build(asked, market.events, Computed(market.events), plan)
    assert data.problem.unit == "EUR" and not any("exchange rate" in each for each in data.limits)
    other = pl.when(pl.col("customer_id") < "c00050").then(pl.lit("USD")).otherwise(pl.col("currency"))
    mixed = market.events.with_columns(
        pl.when(pl.col("type") == "order").then(other).otherwise("currency").alias("currency")
    )
    mixed = mixed.with_columns(pl.when(pl.col("type") == "refund").then(None).otherwise("amount").alias("amount"))
    data = dataset.build(asked, mixed, Computed(mixed), plan)
    assert data.problem.unit == "money"
    assert "EUR, USD" in data.limits[0] and "carry no amount" in data.limits[1]


# -- on the market -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=7, people=900)


def learn(problem: Problem, market: Market) -> TrainingSet:
    plan = cutoffs.for_problem(market.start, market.end, problem.horizon)
    return dataset.build(problem, market.events, Computed(market.events), plan)


@pytest.fixture(scope="module")
def waits(market: Market) -> Fitted:
    return pipeline.fit(learn(NEXT, market), plan=Plan(trials=0))


def true_wait(market: Market, data: TrainingSet) -> np.ndarray:
    """Expected days [n] until the next order, at most the horizon: the integral of P(none by t) over t."""
    days = np.arange(0, data.problem.horizon.days + 1, 3.0)
    found = np.empty(len(data.test))
    for cutoff in data.cutoffs.test:
        mine = data.test.as_of == np.datetime64(cutoff.replace(tzinfo=None))
        ids = data.test.person[mine].tolist()
        none = [np.ones(len(ids))]
        none += [1 - market.truth.purchase_probability(ids, cutoff, each) for each in days[1:]]
        found[mine] = np.trapezoid(np.stack(none), days, axis=0)
    return found


def test_waits_come_near_the_truth_and_do_not_beat_it(waits: Fitted, market: Market) -> None:
    truth, y = true_wait(market, waits.data), waits.data.test.y
    assert abs(truth.mean() - y.mean()) < 2, "the label means what the market knows"
    best = Concordance(y, truth).under(np.ones(len(y)))
    found = waits.card.metric("concordance")
    assert 0.5 + 0.75 * (best - 0.5) < found.value < best + 0.01
    assert found.baseline is not None and found.value > found.baseline, "BG/NBD"
    assert np.corrcoef(waits.answers, truth)[0, 1] > 0.85
    assert np.abs(waits.answers - truth).mean() < 0.6 * np.abs(truth - truth.mean()).mean()
    assert waits.answers.max() <= 90 and waits.card.metric("coverage").value > 0.77


def test_revenue_is_learnt_over_a_shorter_horizon(market: Market) -> None:
    """30 months are too short for a year ahead; half a year it is, and the card says so."""
    with pytest.raises(NotEnoughData, match="too short"):
        cutoffs.for_problem(market.start, market.end, CLV.horizon)
    found = pipeline.fit(learn(CLV.falling_back(180 * DAY), market), plan=Plan(trials=0))
    assert any("365 days" in each and "180" in each for each in found.card.limits)
    gini, coverage, total = (found.card.metric(each) for each in ("gini", "coverage", "total_ratio"))
    assert gini.low > 0.6 and coverage.value > 0.75 and 0.7 < total.value < 1.4
    assert found.card.baseline.startswith("BG/NBD × Gamma-Gamma") and gini.baseline is not None and gini.baseline > 0.6
    drawn = {
        name: each.draw(found.shown(found.card)) for name, each in all_pictures().items() if "regression" in each.kinds
    }
    assert all(drawn[name] is not None for name in ("amounts_by_decile", "money_found", "bounds"))


def test_serving_answers_days_and_bounds_that_training_found(waits: Fitted, market: Market, tmp_path: Path) -> None:
    trained = pipeline.train(waits.data, Settings(home=tmp_path), plan=Plan(trials=0))
    served = load_bundle(trained.bundle)
    test = waits.data.test
    rows = np.arange(len(test) - 200, len(test))
    spine = pl.DataFrame({"customer_id": test.person[rows], "as_of": test.as_of[rows]})
    spine = spine.with_columns(pl.col("as_of").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    values = Computed(market.events).historical(spine, served.refs).select(map(column_name, served.refs)).rows()
    answers = score(served, [Known("fresh", dict(zip(served.refs, row, strict=True)), 0.0) for row in values])
    assert [each.value for each in answers] == waits.answers[rows].tolist()
    assert all(
        each.low is not None and each.high is not None and each.low <= each.value <= each.high for each in answers
    )
