"""Gates refuse what they must, let pass what they may, and say the figure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from features.kernel.card import Calibration, Card, CardFeature, Metric, Refused, save_card
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from training import cards
from training.booster import Model, Trainer
from training.calibration import calibrate
from training.evaluation import binary, tables
from training.evaluation.judged import Judged
from training.evaluation.result import Evaluation
from training.gate import Evidence, Finding, Gate, does_not_apply, warned
from training.gates import all_gates, judge
from training.gates.leak import strongest
from training.kinds import kind_of
from training.problems import all_problems
from training.registry import bundle, membership
from training.synthetic import Synthetic, draw
from training.trainingset import Split, TrainingSet

Floats = NDArray[np.float64]

GATES = all_gates()
IDENTITY = Calibration(method="none", raw=(0.0, 1.0), value=(0.0, 1.0), largest_error=0.0)


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return draw(generator("gates"), 1500)


@pytest.fixture(scope="module")
def model(made: Synthetic) -> Model:
    trainer = Trainer(made.data, kind_of(made.data.problem).objective)
    return trainer.fit({"learning_rate": 0.1, "num_leaves": 8, "min_data_in_leaf": 40})


@pytest.fixture(scope="module")
def calibration(made: Synthetic, model: Model) -> Calibration:
    raw = model.raw(made.data.validation.x)
    return msgspec.structs.replace(calibrate.fit(raw, made.data.validation.y), largest_error=0.01)


def judged(data: TrainingSet, answers: Floats, baseline: Floats, draws: int = 60) -> Evaluation:
    return binary.evaluate(data.test, answers, baseline, generator("gate draws"), draws=draws)


def complete(data: TrainingSet, answers: Floats, baseline: Floats) -> Evaluation:
    found = judged(data, answers, baseline)
    beside = Judged(data, kind_of(data.problem), found.metric("auc"), answers, baseline, data.validation.y)
    return tables.complete(found, beside, generator("tables"))


def evidence(made: Synthetic, answers: Floats, baseline: Floats) -> Evidence:
    return Evidence(made.data, Model("", {}, 0, 0.0), IDENTITY, judged(made.data, answers, baseline))


def finding(name: str, given: Evidence) -> Finding:
    return GATES[name].judge(given)


def moved(split: Split, days: int) -> Split:
    return dataclasses.replace(split, as_of=split.as_of + np.timedelta64(days, "D"))


@pytest.fixture(scope="module")
def good(made: Synthetic, model: Model, calibration: Calibration) -> Evidence:
    """A fitted model, its sensitive attribute the city, and a baseline that knows nothing."""
    test, cities = made.data.test, made.data.features[2].vocabulary
    groups = {"x:city": np.array(cities)[test.x[:, 2].astype(int)]}
    data = dataclasses.replace(made.data, test=dataclasses.replace(test, groups=groups))
    answers = calibrate.apply(calibration, model.raw(test.x))
    return Evidence(data, model, calibration, complete(data, answers, np.full(len(test), made.truth.mean())))


# -- the contract ------------------------------------------------------------------------------------------------------


def test_each_has_a_code_of_its_own_a_title_and_a_severity() -> None:
    codes = sorted(gate.code for gate in GATES.values())
    assert codes == [f"KT{number}" for number in range(101, 101 + len(codes))] and len(codes) == 9
    assert all(gate.title and gate.severity in ("refuse", "warn") for gate in GATES.values())
    assert len({gate.title for gate in GATES.values()}) == len(GATES)


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_each_is_pure_and_tells_its_figure(gate: Gate, good: Evidence) -> None:
    first, second = gate.judge(good), gate.judge(good)
    assert first == second and first.outcome != "failed"
    assert any(character.isdigit() for character in first.figure)


def test_a_good_model_passes_them_all(good: Evidence) -> None:
    said = {each.code: each.outcome for each in judge(good)}
    assert list(said) == sorted(said)
    assert {code for code, outcome in said.items() if outcome == "does not apply"} == {"KT108", "KT109"}
    assert "failed" not in said.values()


def test_only_a_failed_gate_that_refuses_refuses() -> None:
    outcomes = {
        (severity, outcome): Finding("KT0", "x", severity, outcome, "1").refuses  # type: ignore[arg-type]
        for severity in ("refuse", "warn")
        for outcome in ("passed", "failed", "does not apply")
    }
    assert [case for case, refuses in outcomes.items() if refuses] == [("refuse", "failed")]
    gate = Gate("KT0", "x", "refuse", lambda given: does_not_apply("no rows at all"))
    assert not gate.judge(None).refuses  # type: ignore[arg-type]
    told = Gate("KT0", "x", "refuse", lambda given: warned("1 column")).judge(None)  # type: ignore[arg-type]
    assert told.outcome == "failed" and told.severity == "warn" and not told.refuses


# -- beats its baseline ------------------------------------------------------------------------------------------------


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
    found = binary.evaluate(small, made.truth[few], weaker, rng)
    assert found.gain.low < 0 < found.gain.value
    given = dataclasses.replace(evidence(made, made.truth, made.truth), data=data, evaluation=found)
    assert finding("beats_baseline", given).refuses


# -- is calibrated -----------------------------------------------------------------------------------------------------


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


def test_weights_make_fewer_rows_of_many(made: Synthetic) -> None:
    """Where a few rows carry most of the weight, more of the error is noise, and the gate says of how many rows."""
    heavy = np.where(np.arange(len(made.truth)) % 10 == 0, 50.0, 1.0)
    data = dataclasses.replace(made.data, test=dataclasses.replace(made.data.test, weight=heavy))
    given = dataclasses.replace(
        evidence(made, made.truth, made.truth), data=data, evaluation=judged(data, made.truth, made.truth)
    )
    worth = heavy.sum() ** 2 / (heavy**2).sum()
    told = finding("calibrated", given)
    assert f"noise of {worth:.0f} rows" in told.figure and worth < len(heavy) / 5 and not told.refuses


def of_kind(made: Synthetic, kind: Any, *metrics: Metric) -> Evidence:
    """The evidence of another kind, as far as its calibration goes."""
    given = evidence(made, made.truth, made.truth)
    data = dataclasses.replace(made.data, problem=dataclasses.replace(made.data.problem, kind=kind))
    return dataclasses.replace(given, data=data, evaluation=dataclasses.replace(given.evaluation, metrics=metrics))


@pytest.mark.parametrize(
    ("value", "low", "high", "refuses"),
    [(1.0, 0.9, 1.1, False), (1.3, 1.1, 1.5, False), (1.4, 1.26, 1.6, True), (0.6, 0.5, 0.79, True)],
)
def test_amounts_must_add_up_unless_noise_explains_it(
    made: Synthetic, value: float, low: float, high: float, refuses: bool
) -> None:
    given = of_kind(made, "regression", Metric(name="total_ratio", value=value, low=low, high=high))
    told = finding("calibrated", given)
    assert told.refuses == refuses and f"{value:.2f}" in told.figure


@pytest.mark.parametrize(("error", "refuses"), [(0.01, False), (0.019, False), (0.03, True)])
def test_effects_may_be_off_by_as_much_as_chance_explains(made: Synthetic, error: float, refuses: bool) -> None:
    given = of_kind(
        made,
        "uplift",
        Metric(name="effect_error", value=error, low=0.0, high=1.0),
        Metric(name="effect_error_by_chance", value=0.01, low=0.01, high=0.01),
    )
    assert finding("calibrated", given).refuses == refuses


# -- time order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "days"), [("validation", -1), ("test", -1), ("train", 1), ("validation", 1), ("test", 1), ("test", -300)]
)
def test_splits_out_of_order_or_not_matured_are_refused(made: Synthetic, split: str, days: int) -> None:
    """The synthetic set leaves not a day to spare: moved by one, a split leaks, or its labels have not matured."""
    assert not finding("time_order", evidence(made, made.truth, made.truth)).refuses
    shifted = dataclasses.replace(made.data, **{split: moved(made.data.splits[split], days)})
    given = dataclasses.replace(evidence(made, made.truth, made.truth), data=shifted)
    assert finding("time_order", given).refuses


def test_a_random_split_has_no_order_to_judge(good: Evidence) -> None:
    told = finding("time_order", dataclasses.replace(good, data=dataclasses.replace(good.data, split="random")))
    assert told.outcome == "does not apply" and "random" in told.figure


# -- leak --------------------------------------------------------------------------------------------------------------


def refused(column: str, **how: bool) -> Refused:
    return Refused(column=column, code="too_good_alone", reason="It knows.", **how)


def with_columns(given: Evidence, *columns: Refused) -> Evidence:
    return dataclasses.replace(given, data=dataclasses.replace(given.data, refused=columns))


def test_a_refused_column_among_the_inputs_is_refused(good: Evidence) -> None:
    told = finding("leak", with_columns(good, refused("x:a"), refused("gone")))
    assert told.refuses and "x:a" in told.figure and "gone" not in told.figure


def test_a_column_allowed_on_the_record_is_named_and_let_through(good: Evidence) -> None:
    told = finding("leak", with_columns(good, refused("x:a", kept=True, allowed=True)))
    assert told.outcome == "failed" and told.severity == "warn" and "x:a" in told.figure
    assert finding("leak", with_columns(good, refused("x:a", kept=True))).outcome == "passed"  # a warning of the guard


@pytest.mark.parametrize("sign", [1, -1])
def test_a_column_that_knows_the_answer_is_warned_of(good: Evidence, sign: int) -> None:
    x = good.data.test.x.copy()
    x[:, 4] = sign * good.data.test.y + generator("nearly").normal(0, 0.1, len(x))
    data = dataclasses.replace(good.data, test=dataclasses.replace(good.data.test, x=x))
    told = finding("leak", dataclasses.replace(good, data=data))
    assert told.outcome == "failed" and not told.refuses and "x:noise_1" in told.figure


def test_a_column_filled_for_positives_alone_or_a_category_that_tells_counts_as_strong(good: Evidence) -> None:
    test, train = good.data.test, good.data.train
    filled = test.x.copy()
    filled[:, 5] = np.where(test.y > 0, generator("filled").normal(size=len(test)), np.nan)
    name, strength = strongest(dataclasses.replace(good.data, test=dataclasses.replace(test, x=filled)))
    assert name == "x:noise_2" and strength == 1.0
    told = [dataclasses.replace(each, x=each.x.copy()) for each in (train, test)]
    for each in told:  # codes 1 and 2 mean yes, 0 and 3 no: no order of codes tells it
        each.x[:, 2] = np.where(each.y > 0, 1 + np.arange(len(each)) % 2, 3 * (np.arange(len(each)) % 2))
    name, strength = strongest(dataclasses.replace(good.data, train=told[0], test=told[1]))
    assert name == "x:city" and strength == pytest.approx(1.0)


# -- holds over time ---------------------------------------------------------------------------------------------------


def test_a_model_that_fails_in_one_stretch_is_refused(made: Synthetic) -> None:
    """Good on the whole, but at the last cutoff surely worse than the baseline."""
    test = made.data.test
    late = test.as_of == test.as_of.max()
    answers = made.truth.copy()
    answers[late] = generator("late").permutation(answers[late])
    weak = np.full(len(test), made.truth.mean())
    weak[late] += 0.1 * (made.truth[late] - made.truth.mean()) + generator("weak").normal(0, 0.06, int(late.sum()))
    given = dataclasses.replace(evidence(made, answers, weak), evaluation=complete(made.data, answers, weak))
    told = finding("stable_over_time", given)
    assert given.evaluation.gain.low > 0 and told.refuses and str(test.as_of.max())[:10] in told.figure


def test_a_stretch_far_below_the_others_is_warned_of(made: Synthetic) -> None:
    test = made.data.test
    late, know_nothing = test.as_of == test.as_of.max(), np.full(len(test), made.truth.mean())
    answers = made.truth.copy()
    noise = generator("weaker").normal(0, 6, int(late.sum()))
    odds = np.log(answers[late] / (1 - answers[late])) + noise
    answers[late] = 1 / (1 + np.exp(-odds))
    given = evidence(made, answers, know_nothing)
    told = finding(
        "stable_over_time", dataclasses.replace(given, evaluation=complete(made.data, answers, know_nothing))
    )
    assert told.outcome == "failed" and told.severity == "warn"


def test_one_stretch_or_none_says_nothing_of_time(good: Evidence) -> None:
    rows = good.evaluation.tables["over_time"]
    for kept in ((), rows[:1]):
        found = dataclasses.replace(good.evaluation, tables={"over_time": kept})
        told = finding("stable_over_time", dataclasses.replace(good, evaluation=found))
        assert told.outcome == "does not apply"


# -- harms no subgroup -------------------------------------------------------------------------------------------------


def by_city(good: Evidence, answers: Floats) -> Finding:
    found = complete(good.data, answers, np.full(len(answers), answers.mean()))
    return finding("no_subgroup_harmed", dataclasses.replace(good, evaluation=found))


def test_a_group_that_is_ranked_by_chance_is_refused(good: Evidence, made: Synthetic) -> None:
    inside = good.data.test.groups["x:city"] == "Porto"
    answers = made.truth.copy()
    answers[inside] = generator("porto").permutation(answers[inside])
    told = by_city(good, answers)
    assert told.refuses and "Porto" in told.figure and "Lyon" not in told.figure


@pytest.mark.parametrize("error", [-0.15, 0.15])
def test_a_group_whose_answers_are_off_is_refused(good: Evidence, made: Synthetic, error: float) -> None:
    inside = good.data.test.groups["x:city"] == "Bergen"
    told = by_city(good, np.clip(made.truth + error * inside, 0.001, 0.999))
    assert told.refuses and "Bergen" in told.figure and "Turin" not in told.figure


def test_the_truth_harms_nobody_and_without_groups_there_is_nobody(good: Evidence, made: Synthetic) -> None:
    assert by_city(good, made.truth).outcome == "passed"
    found = dataclasses.replace(good.evaluation, tables={})
    assert finding("no_subgroup_harmed", dataclasses.replace(good, evaluation=found)).outcome == "does not apply"


# -- fast enough -------------------------------------------------------------------------------------------------------


def test_a_monstrous_model_is_warned_of(good: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound itself is moved below what any model takes: a model that reached it would take minutes to fit."""
    assert finding("fast_enough", good).outcome == "passed"
    monkeypatch.setattr("training.gates.fast_enough.LIMIT_MS", 0.0)
    told = finding("fast_enough", good)
    assert told.outcome == "failed" and told.severity == "warn"


# -- finds its features online -----------------------------------------------------------------------------------------


def test_features_that_no_view_has_are_refused(good: Evidence) -> None:
    problem = all_problems()["send_time"]
    known = tuple(CardFeature(ref=ref, dtype="float32") for ref in ("orders:days_since_last", "web:views_30d"))
    data = dataclasses.replace(good.data, source="store", features=known, candidates=problem.candidates)
    told = finding("online_available", dataclasses.replace(good, data=data))
    assert told.outcome == "passed" and str(len(known) + 168) in told.figure
    for gone in ("orders:never_was", "warehouse:margin", "send_hours:open_rate"):
        features = (*known, CardFeature(ref=gone, dtype="float32"))
        told = finding("online_available", dataclasses.replace(good, data=dataclasses.replace(data, features=features)))
        assert told.refuses and gone in told.figure


# -- is better than the champion ---------------------------------------------------------------------------------------


def crown(given: Evidence, settings: Settings, folder: Path, **changes: object) -> Card:
    """Make the model of this evidence the champion of its problem."""
    from features.kernel.clock import now

    card = cards.write(given.data, given.model, given.calibration, given.evaluation, (), now())
    card = msgspec.structs.replace(card, **{"version": "1", **changes})
    folder.mkdir(exist_ok=True)
    (folder / "model.txt").write_text(given.model.text, encoding="utf-8", newline="")
    save_card(card, folder / "card.json")
    cards.reference(given.data).write_parquet(folder / "reference.parquet")
    bundle.publish(folder, settings.models, card, given.data.members)
    bundle.point(settings.models, card.problem, card.version)
    return card


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def weaker(good: Evidence) -> Evidence:
    """A model of the same data that was hardly fitted."""
    trainer = Trainer(good.data, kind_of(good.data.problem).objective)
    model = trainer.fit({"learning_rate": 0.1, "num_leaves": 2}, rounds=3)
    calibration = msgspec.structs.replace(good.calibration, raw=(-3.0, 3.0), value=(0.1, 0.9))
    return dataclasses.replace(good, model=model, calibration=calibration)


def test_only_a_better_model_dethrones_the_champion(good: Evidence, settings: Settings, tmp_path: Path) -> None:
    given = dataclasses.replace(good, settings=settings)
    assert finding("better_than_champion", given).outcome == "does not apply"  # there is none
    crown(weaker(good), settings, tmp_path / "weak")
    told = finding("better_than_champion", given)
    assert told.outcome == "passed" and "auc +0.1" in told.figure
    crown(good, settings, tmp_path / "good", version="2")
    assert finding("better_than_champion", given).outcome == "passed"  # the same model
    assert finding("better_than_champion", dataclasses.replace(weaker(good), settings=settings)).refuses


def test_the_champion_answers_by_the_names_and_words_it_learnt(
    good: Evidence, settings: Settings, tmp_path: Path
) -> None:
    """Columns in another order and cities under other codes: the champion's answers, and so the gain, stay."""
    crown(weaker(good), settings, tmp_path / "weak")
    given = dataclasses.replace(good, settings=settings)
    before = finding("better_than_champion", given)
    data, order = good.data, [2, 0, 1, 6, 5, 4, 3]
    cities = data.features[2].vocabulary
    recoded = dataclasses.replace  # of a frozen set
    split = data.test
    x = split.x.copy()
    x[:, 2] = len(cities) - 1 - x[:, 2]
    turned = msgspec.structs.replace(data.features[2], vocabulary=cities[::-1])
    features = (*data.features[:2], turned, *data.features[3:])
    there = recoded(
        data, features=tuple(features[i] for i in order), test=recoded(split, x=np.ascontiguousarray(x[:, order]))
    )
    answers = given.answers(split.x)

    class Same(Evidence):
        def answers(self, x: NDArray[np.float32]) -> Floats:
            return answers

    after = finding(
        "better_than_champion", Same(there, given.model, given.calibration, given.evaluation, given.settings)
    )
    assert after.figure == before.figure and after.outcome == "passed"


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon_days": 7},
        {"kind": "regression"},
        {"features": (CardFeature(ref="x:gone", dtype="float32"),)},
        {"features": (CardFeature(ref="x:city", dtype="float32"),)},
    ],
)
def test_a_champion_that_cannot_be_asked_stands_in_nobodys_way(
    good: Evidence, settings: Settings, tmp_path: Path, changes: dict[str, object]
) -> None:
    crown(weaker(good), settings, tmp_path / "other", **changes)
    assert finding("better_than_champion", dataclasses.replace(good, settings=settings)).outcome == "does not apply"


def test_a_damaged_champion_stands_in_nobodys_way(good: Evidence, settings: Settings, tmp_path: Path) -> None:
    card = crown(weaker(good), settings, tmp_path / "weak")
    (settings.models / card.problem / "1" / "card.json").write_text("{}")
    assert finding("better_than_champion", dataclasses.replace(good, settings=settings)).outcome == "does not apply"


def test_where_rows_were_split_at_random_the_champion_is_asked_of_strangers(
    good: Evidence, settings: Settings, tmp_path: Path
) -> None:
    """The people of the synthetic test split stand in its train split too, so nobody is left to compare on."""
    crown(weaker(good), settings, tmp_path / "weak")
    data = dataclasses.replace(good.data, split="random")
    given = dataclasses.replace(good, data=data, settings=settings)
    assert finding("better_than_champion", given).outcome == "does not apply"
    people = data.test.person.copy()
    people[:1000] = [f"new{i}" for i in range(1000)]
    test = dataclasses.replace(data.test, person=people)
    told = finding("better_than_champion", dataclasses.replace(given, data=dataclasses.replace(data, test=test)))
    assert told.outcome == "passed" and "1000 rows" in told.figure


def test_members_are_found_among_many(tmp_path: Path) -> None:
    (tmp_path / membership.FILE).write_bytes(membership.members(["ann", "bob"]))
    assert membership.among(tmp_path, ["cid", "ann", "bob"]).tolist() == [False, True, True]
    assert not membership.among(tmp_path / "nowhere", ["ann"]).any()
