"""From a vector to a calibrated, explained probability; bundles that reload, and survive a broken successor."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.kernel.card import CandidateColumn, Candidates, CardFeature, column_name
from features.kernel.clock import now
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.seeds import generator
from features.kernel.settings import quiet_libraries
from serving.bundles import Bundle, Models, load_bundle
from serving.explain import Explanation, explain
from serving.known import Known, look_up
from serving.score import calibrate, candidate_label, matrix, score
from serving.testing import MemoryStore, publish, simple_card

quiet_libraries()
import lightgbm as lgb  # noqa: E402

REFS = ("orders:count_30d", "web:views_7d", "profile:country")
COUNTRIES = ("DE", "FR", "UK")
FEATURES = (
    CardFeature(ref=REFS[0], dtype="float32", phrase="ordered {value} times in 30 days"),
    CardFeature(ref=REFS[1], dtype="float32", phrase="viewed {value} pages in 7 days"),
    CardFeature(ref=REFS[2], dtype="category", phrase="lives in {value}", vocabulary=COUNTRIES),
)
DEFAULTS: dict[str, float | str | None] = {REFS[0]: 1.0, REFS[1]: 4.0, REFS[2]: "FR"}
DAY = 86_400.0


def fit(names: list[str], category: list[int], sign: float = 1.0) -> bytes:
    """A small model whose first two inputs raise the probability."""
    rng = generator("scoring test", *names)
    x = rng.normal(2, 2, (1_500, len(names)))
    for j in category:
        x[:, j] = rng.integers(0, len(COUNTRIES), len(x))
    y = sign * (x[:, 0] + x[:, 1] - 4) + rng.normal(size=len(x)) > 0
    data = lgb.Dataset(x, y.astype(float), feature_name=names, categorical_feature=category)
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 7}
    return lgb.train(parameters, data, 25).model_to_string().encode()


@pytest.fixture(scope="module")
def text() -> bytes:
    return fit([column_name(ref) for ref in REFS], [2])


@pytest.fixture(scope="module")
def bundle(text: bytes, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    card = simple_card("churn", REFS, text, features=FEATURES, default_features=DEFAULTS)
    return load_bundle(publish(tmp_path_factory.mktemp("models"), card, text))


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A problem with candidates: its last columns are the hour itself and the customer's rate at that hour."""
    names = [column_name(REFS[0]), "rate", "hour"]
    text = fit(names, [])
    columns = (
        CandidateColumn(name="rate", refs=tuple(f"send_hours:h{i}" for i in range(168)), phrase="opens {value} then"),
        CandidateColumn(name="hour", values=tuple(float(i) for i in range(168)), phrase="hour {value}"),
    )
    card = simple_card(
        "send_time",
        REFS[:1],
        text,
        kind="candidates",
        features=FEATURES[:1],
        candidates=Candidates(name="hour_of_week", count=168, columns=columns),
    )
    return load_bundle(publish(tmp_path_factory.mktemp("models"), card, text))


VALUES = st.fixed_dictionaries(
    {
        REFS[0]: st.none() | st.floats(-5, 20, width=32),
        REFS[1]: st.none() | st.floats(-5, 200, width=32),
        REFS[2]: st.none() | st.sampled_from((*COUNTRIES, "unseen")),
    }
)


# -- scores ------------------------------------------------------------------------------------------------------------


def test_rows_are_in_the_cards_order(bundle: Bundle) -> None:
    found = matrix(bundle, [{REFS[2]: "UK", REFS[1]: 7.0, REFS[0]: 2.0}, {REFS[2]: "unseen", REFS[0]: None}])
    np.testing.assert_array_equal(found, [[2.0, 7.0, 2.0], [math.nan, math.nan, math.nan]])


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_a_score_does_not_depend_on_its_neighbours(bundle: Bundle, rows: list[dict[str, float | str | None]]) -> None:
    known = [Known("fresh", each) for each in rows]
    together = score(bundle, known)
    assert together == [score(bundle, [each])[0] for each in known]
    low, high = bundle.card.calibration.value[0], bundle.card.calibration.value[-1]
    assert all(low <= each.value <= high for each in together)


def test_calibration_interpolates_the_cards_knots(bundle: Bundle) -> None:
    assert bundle.booster
    rows = [{REFS[0]: float(i), REFS[1]: float(i), REFS[2]: "DE"} for i in range(6)]
    knots = bundle.card.calibration
    expected = np.interp(bundle.booster.raw(matrix(bundle, rows)), knots.raw, knots.value)
    assert [each.value for each in score(bundle, [Known("fresh", row) for row in rows])] == expected.tolist()
    assert len(set(expected.tolist())) > 2


def test_every_candidate_is_scored(hours: Bundle) -> None:
    assert hours.booster
    rates = generator("rates").normal(2, 2, 168)
    values = {REFS[0]: 3.0} | {f"send_hours:h{i}": float(rates[i]) for i in range(168)}
    found = score(hours, [Known("fresh", values), Known("prior", {}), Known("fresh", {})])
    rows = np.column_stack([np.full(168, 3.0), rates, np.arange(168.0)])
    knots = hours.card.calibration
    expected = np.interp(hours.booster.raw(rows), knots.raw, knots.value)
    assert found[0].candidates is not None and np.array_equal(found[0].candidates, expected)
    assert found[0].best == int(expected.argmax()) and found[0].value == expected.max()
    assert found[1].rung == "prior" and found[1].best is None and found[1].value == hours.card.prior
    assert found[2].best is not None


def test_hours_of_the_week_have_names(bundle: Bundle, hours: Bundle) -> None:
    assert [candidate_label(hours.card, each) for each in (0, 34, 167)] == ["Mon 00:00", "Tue 10:00", "Sun 23:00"]
    assert candidate_label(bundle.card, 34) == "34"


# -- rungs -------------------------------------------------------------------------------------------------------------


def test_each_answer_names_its_rung(bundle: Bundle) -> None:
    store = MemoryStore()
    store.put("fresh", {REFS[0]: 2.0, REFS[1]: 3.0, REFS[2]: "DE"})
    store.put("stale", {REFS[0]: 2.0, REFS[1]: 3.0, REFS[2]: "DE"}, now() - timedelta(days=3))
    names = ["fresh", "stale", "nobody"]
    known = look_up(store, names, bundle.refs, bundle.card.default_features, 2 * DAY)
    assert [each.rung for each in known] == ["fresh", "stale", "default"]
    assert known[1].age_seconds == pytest.approx(3 * DAY, abs=5)
    assert known[2].values == DEFAULTS
    fresh, stale, default = score(bundle, known)
    assert fresh.value == stale.value and [fresh.rung, stale.rung, default.rung] == [
        "fresh",
        "stale",
        "default",
    ]
    assert default.value == score(bundle, [Known("fresh", DEFAULTS)])[0].value


@pytest.mark.parametrize("away", [True, False])
def test_without_a_store_the_base_rate_is_answered(bundle: Bundle, away: bool) -> None:
    store = MemoryStore()
    store.away = away
    known = look_up(store if away else None, ["c1", "c2"], bundle.refs, DEFAULTS, DAY)
    assert [(each.rung, each.value) for each in score(bundle, known)] == [("prior", bundle.card.prior)] * 2


def test_without_a_model_the_base_rate_is_answered(bundle: Bundle) -> None:
    [found] = score(dataclasses.replace(bundle, booster=None), [Known("fresh", DEFAULTS)])
    assert (found.rung, found.value) == ("prior", bundle.card.prior)


# -- explanations ------------------------------------------------------------------------------------------------------


def why(bundle: Bundle, known: Known) -> Explanation | None:
    [found] = explain(bundle, [known])[1]
    return found


@given(VALUES)
def test_explanations_add_up(bundle: Bundle, values: dict[str, float | str | None]) -> None:
    found = why(bundle, Known("fresh", values))
    assert found is not None
    contributions, points = sum(each.contribution for each in found.reasons), sum(each.points for each in found.reasons)
    assert found.base + contributions == pytest.approx(found.raw, abs=1e-9)
    assert found.value == score(bundle, [Known("fresh", values)])[0].value
    assert found.reference == calibrate(bundle, np.array([found.base]))[0]
    assert all(each.points * each.contribution >= 0 for each in found.reasons), "a reason says its opposite"
    assert points == pytest.approx(found.value - found.reference, abs=1e-9)
    assert {each.ref for each in found.reasons} == set(REFS)
    sizes = [abs(each.contribution) for each in found.reasons]
    assert sizes == sorted(sizes, reverse=True)


def test_points_are_zero_where_the_contributions_sum_to_zero(tmp_path: Path) -> None:
    x = np.zeros((40, 1))
    flat = lgb.train(
        {"objective": "binary", "verbosity": -1}, lgb.Dataset(x, np.arange(40) % 2, feature_name=["a__b"]), 1
    )
    text = flat.model_to_string().encode()
    bundle = load_bundle(publish(tmp_path, simple_card("flat", ["a:b"], text), text))
    found = why(bundle, Known("fresh", {"a:b": 1.0}))
    assert found and [each.points for each in found.reasons] == [0.0]
    assert found.value == pytest.approx(found.reference)


def test_reasons_read_as_sentences(bundle: Bundle) -> None:
    found = why(bundle, Known("fresh", {REFS[0]: 9.0, REFS[1]: 9.0, REFS[2]: None}))
    assert found is not None
    by_ref = {each.ref: each for each in found.reasons}
    points = by_ref[REFS[0]].points
    assert points > 0.02
    assert by_ref[REFS[0]].text == f"ordered 9 times in 30 days (+{100 * points:.0f} points)"
    assert by_ref[REFS[2]].text.startswith("profile country is not known (")


def test_the_best_candidate_is_explained(hours: Bundle) -> None:
    rates = generator("rates").normal(2, 2, 168)
    known = Known("fresh", {REFS[0]: 3.0} | {f"send_hours:h{i}": float(rates[i]) for i in range(168)})
    found, scored = why(hours, known), score(hours, [known])[0]
    assert found is not None and found.candidate == scored.best and found.value == scored.value
    rate = next(each for each in found.reasons if each.ref.startswith("send_hours:"))
    assert rate.ref == f"send_hours:h{scored.best}" and rate.value == rates[scored.best or 0]


def test_the_prior_has_no_reasons(bundle: Bundle) -> None:
    assert explain(bundle, [Known("prior", {})])[1] == [None]


# -- bundles -----------------------------------------------------------------------------------------------------------

Breaker = Callable[[Path], object]


def _truncate(folder: Path) -> None:
    path = folder / "model.txt"
    path.write_bytes(path.read_bytes()[:-100])


def _wrong_columns(folder: Path) -> None:
    text = fit(["x", "y", "z"], [2])
    (folder / "model.txt").write_bytes(text)
    card = msgspec.json.decode((folder / "card.json").read_bytes())
    card["model_sha256"] = hashlib.sha256(text).hexdigest()
    (folder / "card.json").write_bytes(msgspec.json.encode(card))


BREAKERS: dict[str, Breaker] = {
    "truncated model": _truncate,
    "no model": lambda folder: (folder / "model.txt").unlink(),
    "no card": lambda folder: (folder / "card.json").unlink(),
    "damaged card": lambda folder: (folder / "card.json").write_text("{"),
    "another card": lambda folder: (folder / "card.json").write_text('{"schema_version": 9}'),
    "other columns": _wrong_columns,
    "damaged pointer": lambda folder: (folder.parent / "champion.json").write_text("version 2"),
}


@pytest.mark.parametrize("how", BREAKERS)
def test_a_broken_successor_leaves_the_last_good_model(text: bytes, tmp_path: Path, how: str) -> None:
    publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES), text)
    models = Models(tmp_path)
    models.refresh()
    assert models.faults == {} and models.get("churn").card.version == "1"
    BREAKERS[how](publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES, version="2"), text))
    models.refresh()
    assert models.get("churn").card.version == "1" and "churn" in models.faults
    publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES, version="3"), text)
    models.refresh()
    assert models.get("churn").card.version == "3" and models.faults == {}


def test_after_a_restart_an_older_good_bundle_serves(text: bytes, tmp_path: Path) -> None:
    publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES), text)
    _truncate(publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES, version="2"), text))
    models = Models(tmp_path)
    models.refresh()
    assert models.get("churn").card.version == "1" and "SHA-256" in models.faults["churn"]


def test_a_version_that_was_never_champion_does_not_step_in(text: bytes, tmp_path: Path) -> None:
    """A model the gates refused lies in the same folder; a damaged champion must not bring it to light."""
    champion = publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES), text)
    pointer = (champion.parent / "champion.json").read_bytes()
    publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES, version="2"), text)
    (champion.parent / "champion.json").write_bytes(pointer)
    _truncate(champion)
    models = Models(tmp_path)
    models.refresh()
    assert models.get("churn").card.version == "1" and models.get("churn").booster is None


def test_with_a_good_card_alone_the_prior_serves(text: bytes, tmp_path: Path) -> None:
    _truncate(publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES), text))
    models = Models(tmp_path)
    models.refresh()
    [found] = score(models.get("churn"), [Known("fresh", DEFAULTS)])
    assert (found.rung, found.value) == ("prior", models.get("churn").card.prior)


def test_an_unknown_problem_is_answered_with_those_there_are(text: bytes, tmp_path: Path) -> None:
    publish(tmp_path, simple_card("churn", REFS, text, features=FEATURES), text)
    models = Models(tmp_path)
    models.refresh()
    with pytest.raises(NotFound, match="choose one of: churn"):
        models.get("churm")


def test_a_bundle_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"card\.json"):
        load_bundle(tmp_path)
