"""Every kind of answer over HTTP: probabilities, amounts, effects and candidates; bounds, units, reasons by family."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from sqlalchemy import create_engine
from sqlalchemy import text as sql

from decisioning.point import DecisionPoint, Group, RewardRule
from features.kernel.card import (
    Calibration,
    CandidateColumn,
    Candidates,
    Card,
    CardFeature,
    Interval,
    column_name,
    load_card,
)
from features.kernel.clock import now
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.ledger import Ledger
from features.kernel.records import Score
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from serving.app import create_app
from serving.bundles import Models, load_bundle
from serving.explain import explain
from serving.known import Known
from serving.score import compute, score
from serving.services import compose
from serving.testing import MemoryStore, listening, publish, simple_card

quiet_libraries()
import lightgbm as lgb  # noqa: E402

REFS = ("orders:count_7d", "orders:count_30d", "orders:days_since_last")
FEATURES = (
    CardFeature(ref=REFS[0], dtype="float32", phrase="ordered {value} times in 7 days", group="orders:count"),
    CardFeature(ref=REFS[1], dtype="float32", phrase="ordered {value} times in 30 days", group="orders:count"),
    CardFeature(ref=REFS[2], dtype="float32", phrase="last ordered {value} days ago", absent="never ordered"),
)
SEEN = {REFS[0]: 4.0, REFS[1]: 9.0, REFS[2]: 2.5}
CHANNELS = ("email", "sms", "push")


def fit(names: list[str], objective: str, scale: float = 1.0) -> bytes:
    rng = generator("kinds served", *names, objective)
    x = rng.normal(2, 3, (1_200, len(names))).astype(np.float32)
    pull = x.sum(axis=1) + rng.normal(size=len(x))
    y = pull > np.median(pull) if objective == "binary" else scale * pull
    data = lgb.Dataset(x, y.astype(float), feature_name=names)
    parameters = {"objective": objective, "verbosity": -1, "num_threads": 1, "num_leaves": 7}
    return str(lgb.train(parameters, data, 25).model_to_string()).encode()


def line(raw: tuple[float, float], value: tuple[float, float]) -> Calibration:
    return Calibration(method="test", raw=raw, value=value, largest_error=0.0)


def cards() -> Iterator[tuple[Card, bytes]]:
    """One model of each kind."""
    names = [column_name(ref) for ref in REFS]
    typical = {REFS[0]: 1.0, REFS[1]: 2.0, REFS[2]: None}
    shared: dict[str, Any] = {"features": FEATURES, "default_features": typical}
    text = fit(names, "binary")
    bounds = Interval(level=0.95, kind="confidence", value=(0.0, 1.0), low=(0.0, 0.9), high=(0.1, 1.0))
    yield simple_card("churn", REFS, text, interval=bounds, **shared), text
    text = fit(names, "regression", 0.3)
    amounts = Calibration(method="test", raw=(-9.0, 0.0, 2.0, 9.0), value=(0.0, 40.0, 300.0, 5000.0), largest_error=0.0)
    single = Interval(level=0.8, kind="prediction", value=(0.0, 5000.0), low=(0.0, 1000.0), high=(50.0, 20000.0))
    amount = {"kind": "regression", "link": "log", "unit": "EUR", "prior": 61.5}
    yield simple_card("clv", REFS, text, calibration=amounts, interval=single, **amount, **shared), text
    text = fit(names, "regression", 0.01)
    effect = {"kind": "uplift", "link": "identity", "unit": "change of probability", "prior": -0.004}
    yield simple_card("uplift", REFS, text, calibration=line((-0.5, 0.5), (-0.3, 0.3)), **effect, **shared), text
    text = fit([names[0], "open_rate", "is_push"], "binary")
    rates = tuple(f"engagement:{each}_rate" for each in CHANNELS)
    columns = (
        CandidateColumn(name="open_rate", refs=rates, unit="share", phrase="answers {value} there"),
        CandidateColumn(name="is_push", values=(0.0, 0.0, 1.0)),
    )
    channels = Candidates(name="channel", count=3, columns=columns, labels=CHANNELS)
    choice = {"kind": "candidates", "candidates": channels, "features": FEATURES[:1]}
    yield simple_card("channel", REFS[:1], text, **choice), text
    text = fit(["age"], "binary")
    yield simple_card("table", ["age"], text, source="request"), text


POINT = DecisionPoint(
    name="offer",
    question="Does an offer help?",
    actions=("none", "offer"),
    fallback="none",
    groups=(Group(name="all", share=1.0, policy="thompson", parameters={"floor": 0.02}),),
    reward=RewardRule(kind="order", within_days=7),
    scores=("clv", "uplift", "channel"),
)


class Served:
    """A service with a model of each kind."""

    def __init__(self, client: httpx.Client, store: MemoryStore, ledger: Ledger, models: Path) -> None:
        self.client, self.store, self.ledger, self.models = client, store, ledger, models

    def post(self, path: str, body: object, expect: int = 200) -> Any:
        answer = self.client.post(f"/v1/{path}", json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def ask(self, path: str, customer: str = "c1", **item: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The head of an answer, and its one result."""
        found = self.post(f"scores/{path}", {"items": [{"customer_id": customer} | item]})
        [result] = found.pop("results")
        return found, result


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings, store, made = Settings(home=tmp_path_factory.mktemp("home")), MemoryStore(), list[Any]()
    for card, text in cards():
        publish(settings.models, card, text)
    store.put("c1", SEEN | {"engagement:email_rate": 0.1, "engagement:sms_rate": 8.0, "engagement:push_rate": None})

    def make(chosen: Settings) -> Any:
        made.append(compose(chosen, store=lambda: store, points={"offer": POINT}, rng=generator("kinds")))
        return made[0]

    with listening(create_app(settings, make)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield Served(client, store, made[0].ledger, settings.models)


# -- answers -----------------------------------------------------------------------------------------------------------

KINDS = {
    "churn": ("binary", "probability"),
    "clv": ("regression", "EUR"),
    "uplift": ("uplift", "change of probability"),
    "channel": ("candidates", "probability"),
}


@pytest.mark.parametrize("problem", KINDS)
def test_the_head_says_what_an_answer_is(served: Served, problem: str) -> None:
    head, result = served.ask(problem)
    assert (head["kind"], head["unit"]) == KINDS[problem] and head["problem"] == problem
    is_probability = problem in ("churn", "channel")
    assert result["probability"] == (result["value"] if is_probability else None)
    assert result["rung"] == "fresh" and result["score_id"] and result["customer_id"] == "c1"


def test_an_answer_is_the_calibrated_one_and_has_its_bounds(served: Served) -> None:
    for problem in ("churn", "clv"):
        head, result = served.ask(problem)
        bundle = load_bundle(served.models / problem / "1")
        interval = bundle.card.interval
        assert interval and head["interval"] == {"level": interval.level, "kind": interval.kind}
        assert result["value"] == score(bundle, [Known("fresh", SEEN)])[0].value
        assert result["low"] == np.interp(result["value"], interval.value, interval.low)
        assert result["high"] == np.interp(result["value"], interval.value, interval.high)
        assert result["low"] < result["value"] < result["high"]


def test_an_effect_may_be_below_zero(served: Served) -> None:
    served.store.put("cold", {REFS[0]: -9.0, REFS[1]: -9.0, REFS[2]: -9.0})
    head, cold = served.ask("uplift", "cold")
    assert -1 <= cold["value"] < 0 < served.ask("uplift")[1]["value"] <= 1
    assert head["interval"] is None and cold["low"] is None and cold["high"] is None


def test_candidates_have_their_labels(served: Served) -> None:
    _, result = served.ask("channel")
    assert result["best"] == result["top"][0] and result["best"]["label"] == "sms"
    assert sorted(each["label"] for each in result["top"]) == sorted(CHANNELS)


@pytest.mark.parametrize("problem", KINDS)
def test_nobody_has_bounds_who_is_not_known(served: Served, problem: str) -> None:
    _, stranger = served.ask(problem, "nobody")
    assert stranger["rung"] == "default" and stranger["low"] is stranger["high"] is None
    served.store.away = True
    try:
        _, without = served.ask(problem)
        _, why = served.ask(f"{problem}/explanation")
    finally:
        served.store.away = False
    prior = load_bundle(served.models / problem / "1").card.prior
    assert (without["rung"], without["value"], without["low"]) == ("prior", prior, None)
    assert (why["value"], why["reference"], why["reasons"], why["groups"]) == (prior, prior, [], [])


def test_every_answer_is_logged_by_its_value(served: Served) -> None:
    for problem in KINDS:
        _, result = served.ask(problem)
        for _ in range(200):
            rows = {each.score_id: each.value for each in served.ledger.scores(problem)}
            if result["score_id"] in rows:
                break
            served.ask(problem)  # the log is written behind answers
        assert rows[result["score_id"]] == result["value"]


def test_a_ledger_of_before_still_opens(tmp_path: Path) -> None:
    """Its column is called `probability`; no table is changed."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger(url)
    kept = Score(score_id="s", customer_id="c", problem="clv", model_version="1", rung="fresh", value=812.5,
                 features={}, scored_at=now())  # fmt: skip
    ledger.append_scores([kept])
    [found] = ledger.scores("clv")
    ledger.close()
    with create_engine(url).connect() as connection:
        assert connection.execute(sql("SELECT probability FROM scores")).scalar() == 812.5
    assert found.value == 812.5


def test_decisions_are_given_whatever_was_answered(served: Served) -> None:
    found = served.post("next-best-action", {"customer_id": "c1", "decision_point": "offer", "request_id": "r"})
    row = served.ledger.decision(request_id="r")
    assert row is not None and row.context == {
        f"score:{problem}": served.ask(problem)[1]["value"] for problem in POINT.scores
    }
    assert found["rung"] == "fresh" and set(found["model_versions"]) == set(POINT.scores)


# -- reasons -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", KINDS)
def test_reasons_sum_to_the_answer_in_its_unit(served: Served, problem: str) -> None:
    served.store.put("unknown past", {REFS[0]: 0.0, REFS[1]: 1.0, REFS[2]: None})
    for customer in ("c1", "unknown past", "nobody"):
        _, why = served.ask(f"{problem}/explanation", customer)
        _, scored = served.ask(problem, customer)
        assert (why["value"], why["low"], why["high"]) == (scored["value"], scored["low"], scored["high"])
        for parts in (why["reasons"], why["groups"]):
            contributions, points = (sum(each[name] for each in parts) for name in ("contribution", "points"))
            assert why["base"] + contributions == pytest.approx(why["raw"], abs=1e-9)
            assert why["reference"] + points == pytest.approx(why["value"], rel=1e-9, abs=1e-9)
            assert all(each["points"] * each["contribution"] >= 0 for each in parts), "a reason says its opposite"
            sizes = [abs(each["contribution"]) for each in parts]
            assert sizes == sorted(sizes, reverse=True)


def test_a_family_is_one_reason_with_its_members_inside(served: Served) -> None:
    _, why = served.ask("churn/explanation")
    groups = {each["group"]: each for each in why["groups"]}
    assert groups.keys() == {"orders:count", REFS[2]}
    family = groups["orders:count"]
    assert [each["ref"] for each in family["reasons"]] == [
        each["ref"] for each in why["reasons"] if each["ref"] != REFS[2]
    ]
    assert family["points"] == pytest.approx(sum(each["points"] for each in family["reasons"]))
    strongest = family["reasons"][0]["text"].rpartition(" (")[0]
    assert family["text"] == f"{strongest}, with 1 related (+{100 * family['points']:.0f} points)"
    [alone] = groups[REFS[2]]["reasons"]
    assert groups[REFS[2]]["text"] == alone["text"] == f"last ordered 2.5 days ago ({alone['text'].rpartition(' (')[2]}"


def test_a_family_speaks_through_a_member_that_pulls_its_way(tmp_path: Path) -> None:
    """Two windows nearly cancel: the words are not those of the one that pulls the other way."""
    card, text = next(cards())
    bundle = load_bundle(publish(tmp_path, card, text))
    for early, late in ((-6.0, 9.0), (9.0, -6.0), (8.0, -7.0)):
        [why] = explain(bundle, [Known("fresh", {REFS[0]: early, REFS[1]: late, REFS[2]: 0.0})])[1]
        assert why is not None
        family = next(each for each in why.groups if each.group == "orders:count")
        leading = next(each for each in family.reasons if family.text.startswith(each.words))
        assert leading.contribution * family.contribution > 0
        assert any(each.contribution * family.contribution < 0 for each in family.reasons)


def test_the_candidate_is_one_reason(served: Served) -> None:
    _, why = served.ask("channel/explanation")
    channel = next(each for each in why["groups"] if each["group"] == "channel")
    assert channel["text"].startswith("channel sms (") and len(channel["reasons"]) == 2
    assert {each["ref"] for each in channel["reasons"]} == {"engagement:sms_rate", "is_push"}
    assert why["candidate"]["label"] == "sms" and why["candidate"]["probability"] == why["value"]


def test_reasons_read_in_the_answers_unit(served: Served) -> None:
    endings = {"churn": " points)", "clv": " EUR)", "uplift": " points of effect)", "channel": " points)"}
    for problem, ending in endings.items():
        _, why = served.ask(f"{problem}/explanation")
        texts = [each["text"] for each in (*why["reasons"], *why["groups"])]
        strongest = max(why["reasons"], key=lambda each: abs(each["points"]))
        assert strongest["text"].endswith(ending), texts
        assert strongest["text"].rpartition("(")[2][0] == ("+" if strongest["points"] > 0 else "−")
    served.store.put("never", {REFS[0]: 0.0, REFS[1]: 0.0, REFS[2]: None})
    _, why = served.ask("clv/explanation", "never")
    [absent] = [each["text"] for each in why["reasons"] if each["ref"] == REFS[2]]
    assert absent.startswith("never ordered (")


# -- as training saw it ------------------------------------------------------------------------------------------------


def thresholds(text: bytes) -> list[float]:
    lines = [each for each in text.decode().splitlines() if each.startswith("threshold=")]
    return sorted({float(number) for each in lines for number in each.removeprefix("threshold=").split()})


def test_a_value_at_a_threshold_takes_trainings_branch(tmp_path: Path) -> None:
    """Training rounds to float32; so must whatever a request or a store says, to the last bit of the answer."""
    text = fit(["age"], "binary")
    bundle = load_bundle(publish(tmp_path, simple_card("table", ["age"], text, source="request"), text))
    at = np.array([each for each in thresholds(text) if 1e-30 < abs(each) < 1e9])
    given = np.concatenate([at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf), at * (1 + 1e-9)])
    trained = lgb.Booster(model_str=text.decode()).predict(given.astype(np.float32)[:, None], raw_score=True)
    unrounded = lgb.Booster(model_str=text.decode()).predict(given[:, None], raw_score=True)
    assert (trained != unrounded).any(), "rounding changes the branch of some"
    found = compute(bundle, [Known("fresh", {"age": float(each)}) for each in given])
    assert found is not None and found.raw.tolist() == trained.tolist()


def test_a_number_beyond_float32_is_infinite(served: Served) -> None:
    _, huge = served.ask("table", features={"age": 1e300})
    _, great = served.ask("table", features={"age": 3e38})
    assert huge["value"] == great["value"] and huge["rung"] == "fresh"


@pytest.mark.parametrize(
    ("features", "field", "remedy"),
    [
        ({"age": "44"}, "items.0.features.age", "write it as 44, without quotes"),
        ({"age": True}, "items.0.features.age.float", ""),
        ({"agee": 44}, "items.0.features.agee", "did you mean age?"),
    ],
)
def test_wrong_features_are_told_how_to_be_written(
    served: Served, features: dict[str, Any], field: str, remedy: str
) -> None:
    body = {"items": [{"customer_id": "c1", "features": features}]}
    found = served.post("scores/table", body, 422)
    assert found["field"] == field and remedy in (found["remedy"] or "")


# -- cards of before ---------------------------------------------------------------------------------------------------


def older(folder: Path) -> None:
    """A card as schema 1 had it."""
    card = json.loads((folder / "card.json").read_bytes())
    card["schema_version"] = 1
    card["calibration"] = {"method": "platt", "log_odds": [-1.0, 1.0], "probability": [0.2, 0.8], "largest_error": 0.0}
    (folder / "card.json").write_text(json.dumps(card))


def test_a_card_of_before_says_train_again(tmp_path: Path) -> None:
    card, text = next(cards())
    folder = publish(tmp_path, card, text)
    older(folder)
    with pytest.raises(InvalidInput, match=r"written by an earlier Kairos.*got 1.*train the problem again"):
        load_card(folder / "card.json")
    (folder / "card.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(card, schema_version=3)))
    with pytest.raises(InvalidInput, match="written by a later Kairos"):
        load_card(folder / "card.json")


def test_a_worker_outlives_cards_of_before(tmp_path: Path) -> None:
    card, text = next(cards())
    publish(tmp_path, msgspec.structs.replace(card, problem="propensity"), text)
    older(publish(tmp_path, card, text))
    models = Models(tmp_path)
    models.refresh()
    assert models.problems == ("propensity",) and "train the problem again" in models.faults["churn"]
    with pytest.raises(NotFound, match="train the problem again"):
        models.get("churn")
    publish(tmp_path, msgspec.structs.replace(card, version="2", trained_at=now() + timedelta(days=1)), text)
    models.refresh()
    assert models.get("churn").card.version == "2" and models.faults == {}
