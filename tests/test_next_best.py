"""Deciding: groups that stick, exclusions with reasons, and a row from which the draw can be repeated."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats

from decisioning.assign import assign
from decisioning.choose import choose
from decisioning.next_best import Known, Request, decide
from decisioning.point import DecisionPoint, all_points, load_point
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.records import Decision, PolicyState
from features.kernel.seeds import generator

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
POINT = all_points()["win_back"]
CONSENT = {"profile:email_consent": 1.0}


def ask(customer: str, known: Known | None = None, *, request: str = "", salt: str = "s", seed: int = 0) -> Decision:
    known = known or Known("fresh", CONSENT)
    return decide(POINT, Request(request or f"r-{customer}", customer), known, generator(seed), now=NOW, salt=salt)


@pytest.fixture(scope="module")
def many() -> list[Decision]:
    rng = generator("many")
    known = Known("fresh", CONSENT)
    return [
        decide(POINT, Request(f"r{i}", f"c{i}"), known, rng, now=NOW + timedelta(seconds=i), salt="s")
        for i in range(12_000)
    ]


def in_group(name: str) -> str:
    return next(f"c{i}" for i in range(100) if assign(POINT, f"c{i}", "s").name == name)


def test_a_row_repeats_its_own_draw(many: list[Decision]) -> None:
    for each in many[:500]:
        pmf = np.array([each.pmf[action] for action in each.eligible])
        assert choose(each.eligible, pmf, each.u) == each.action
        assert pmf.sum() == pytest.approx(1) and set(each.eligible) | set(each.excluded) == set(POINT.actions)
        assert msgspec.json.decode(msgspec.json.encode(each), type=Decision) == each


def test_groups_have_their_shares_and_the_draw_is_independent_of_them(many: list[Decision]) -> None:
    counts = Counter(each.group for each in many)
    expected = [group.share * len(many) for group in POINT.groups]
    assert stats.chisquare([counts[group.name] for group in POINT.groups], expected).pvalue > 0.001
    split = Counter(each.action for each in many if each.group == "split")
    assert stats.chisquare([split[action] for action in POINT.actions]).pvalue > 0.001, "the split is even"


def test_a_customer_keeps_group_and_split_and_another_salt_reshuffles() -> None:
    held = in_group("split")
    first = ask(held)
    assert {ask(held, request=f"again-{i}", seed=i).action for i in range(20)} == {first.action}
    moved = sum(assign(POINT, f"c{i}", "s").name != assign(POINT, f"c{i}", "t").name for i in range(1000))
    assert 500 < moved < 740, "1 - Σ share² = .62 of customers change group"


def test_the_bandit_draws_anew_each_time() -> None:
    customer, known, rng = in_group("bandit"), Known("fresh", CONSENT), generator(3)
    rows = [decide(POINT, Request(f"r{i}", customer), known, rng, now=NOW, salt="s") for i in range(60)]
    assert {row.action for row in rows} == set(POINT.actions) and len({row.u for row in rows}) == 60


def test_the_same_request_has_the_same_id_and_another_request_another() -> None:
    assert ask("c1", request="a").decision_id == ask("c1", request="a", seed=9).decision_id
    assert ask("c1", request="a").decision_id != ask("c1", request="b").decision_id


def test_the_holdout_is_left_alone_and_says_so() -> None:
    row = ask(in_group("holdout"))
    assert row.action == "none" and row.pmf == {"none": 1.0} and row.group_share == 0.2
    assert row.excluded == {"reminder": "holdout", "discount": "holdout"}


@pytest.mark.parametrize("consent", [0.0, None, float("nan")], ids=["refused", "unknown", "nan"])
def test_without_consent_nothing_is_sent(consent: float | None) -> None:
    row = ask(in_group("bandit"), Known("fresh", {"profile:email_consent": consent}))
    assert row.action == "none" and set(row.excluded.values()) == {"no email consent"}
    assert ask(in_group("bandit"), Known("prior")).excluded == row.excluded, "no store is like no value"


def past(action: str, days: float) -> Decision:
    return msgspec.structs.replace(ask(in_group("bandit")), action=action, decided_at=NOW - timedelta(days=days))


@pytest.mark.parametrize(
    ("recent", "capped"),
    [
        ([], False),
        ([past("reminder", 6.9)], True),
        ([past("discount", 0.0)], True),
        ([past("reminder", 7.0)], False),
        ([past("none", 1.0), past("none", 2.0)], False),
    ],
    ids=["never", "within", "just now", "a week ago", "left alone"],
)
def test_at_most_one_treatment_a_week(recent: list[Decision], capped: bool) -> None:
    row = ask(in_group("bandit"), Known("fresh", CONSENT, recent=recent))
    assert (set(row.excluded.values()) == {"treated within 7 days"}) is capped
    assert (row.eligible == ("none",)) is capped


def test_a_published_state_is_used_and_named() -> None:
    state = PolicyState(
        decision_point="win_back",
        policy="thompson",
        version=7,
        state={"arms": {"discount": [300.0, 100.0], "none": [100.0, 300.0], "reminder": [100.0, 300.0]}},
        decision_mark=9,
        outcome_mark=9,
        published_at=NOW,
    )
    row = ask(in_group("bandit"), Known("fresh", CONSENT, states={"thompson": state}))
    assert row.state_version == 7 and row.pmf["discount"] > 0.9 and min(row.pmf.values()) >= 0.02
    assert ask(in_group("split"), Known("fresh", CONSENT, states={"thompson": state})).state_version == 0


def test_the_context_is_journaled_as_numbers() -> None:
    known = Known("fresh", CONSENT | {"orders:count_365d": 3.0}, scores={"churn": 0.4}, model_versions={"churn": "2"})
    row = ask("c1", known)
    assert row.context is not None and row.context["orders:count_365d"] == 3.0 and row.context["score:churn"] == 0.4
    assert row.context["web:views_7d"] is None and row.model_versions == {"churn": "2"}
    with pytest.raises(InvalidInput, match=r"win_back: context web:views_7d: is not a number \(got 'many'\)"):
        ask("c1", Known("fresh", CONSENT | {"web:views_7d": "many"}))


# -- the YAML of a decision point --------------------------------------------------------------------------------------

TEXT = (Path(__file__).parents[1] / "decisioning/journeys/win_back.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("share: 0.5", "share: 0.6", "shares of the groups must sum to 1"),
        ("share: 0.5", "share: half", r"Expected `float`, got `str`.*groups\[2\]\.share"),
        ("share: 0.5", "shore: 0.5", "unknown field `shore`"),
        ("policy: thompson", "policy: tompson", "policy: is not known .*choose one of: epsilon, split, thompson"),
        ("{floor: 0.02}", "{flour: 0.02}", "is no parameter of policy thompson, which has floor"),
        ("{floor: 0.02}", "{floor: 2}", r"floor: must lie in \(0, 1\)"),
        ("{floor: 0.02}", "{floor: low}", "win_back.yaml: is no decision point"),
        ("actions: [none]", "actions: [reminder]", "must keep the fallback action"),
        ("actions: [none]", "actions: [none, call]", "is no action, choose from none, reminder, discount"),
        ("    at_least: 1\n", "", "needs a range"),
        ("when_missing: exclude", "when_missing: guess", "Invalid enum value 'guess'"),
        ("within_days: 7\n\ncontext", "within_days: 0\n\ncontext", "must be positive"),
        ("against: [split]", "against: [spilt]", "is no group, choose from holdout, split, bandit"),
        ("against: [split]", "against: [bandit]", "compares a group with itself"),
        ("name: win_back", "name: winback", "must be the file's own name"),
        ("reward:", "reward: [", "win_back.yaml: is no decision point"),
        ("    policy: split\n    actions: [none]", "    policy: thompson\n    actions: [none]", "one group only"),
        ("fallback: none", "fallback: reminder", "must not exclude the fallback action"),
    ],
)
def test_a_mistake_in_the_yaml_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert TEXT.count(old) >= 1
    path = tmp_path / "win_back.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InvalidInput, match=message) as caught:
        load_point(path)
    assert "win_back.yaml" in str(caught.value)


def test_points_are_found_in_any_folder(tmp_path: Path) -> None:
    (tmp_path / "second.yaml").write_text(TEXT.replace("name: win_back", "name: second", 1))
    (tmp_path / "win_back.yaml").write_text(TEXT)
    points: dict[str, DecisionPoint] = all_points(tmp_path)
    assert list(points) == ["second", "win_back"] and points["win_back"] == POINT
    assert POINT.group("bandit").share == 0.5
    with pytest.raises(NotFound, match="choose one of: holdout, split, bandit"):
        POINT.group("none")
    different = sum(assign(POINT, f"c{i}", "s").name != assign(points["second"], f"c{i}", "s").name for i in range(500))
    assert different > 200, "groups of two points are independent"
