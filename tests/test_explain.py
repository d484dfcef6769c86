"""What drives a model: families of features, importance in the answer's unit, bulk SHAP that agrees with LightGBM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cli.explain_rows import explain_rows
from features.compute import all_views
from features.kernel.card import Calibration, CandidateColumn, Candidates, Card, CardFeature, column_name
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator
from features.kernel.settings import quiet_libraries
from features.refs import all_refs
from serving.bundles import load_bundle
from serving.known import Known
from serving.score import candidate_label, score
from serving.testing import publish, simple_card
from training.explanation.bulk import AGREES, ROWS_AT_ONCE, BulkShap, blocks
from training.explanation.families import families
from training.explanation.importance import Tally, raw_unit, worth

if TYPE_CHECKING:
    from cli.demo.small import SmallLoop

quiet_libraries()
import lightgbm as lgb  # noqa: E402

WIDTH = 8
Matrix = NDArray[np.float32]


# -- families ----------------------------------------------------------------------------------------------------------


def test_the_families_of_the_views() -> None:
    refs = [ref for view in all_views().values() for ref in all_refs(view, lists=False)]
    found = families(refs)
    assert list(found) == refs
    members: dict[str, list[str]] = {}
    for ref, family in found.items():
        members.setdefault(family, []).append(ref)
    assert members["orders:count"] == [f"orders:count_{each}" for each in ("7d", "30d", "90d", "365d", "total")]
    assert members["profile:email_consent"] == ["profile:email_consent", "profile:days_since_email_consent"]
    assert all(len(each) > 1 for family, each in members.items() if family)
    assert found["orders:days_since_last"] == found["orders:trend_90d"] == found["engagement:email_opens_90d"] == ""


@given(st.lists(st.sampled_from(["a:n_7d", "a:n_30d", "a:n_total", "b:n_7d", "b:m_7d", "c:x", "c:days_since_x"])))
def test_a_family_has_two_members_of_one_view(refs: list[str]) -> None:
    found = families(refs)
    for family in filter(None, found.values()):
        members = [ref for ref, each in found.items() if each == family]
        assert len(members) > 1 and len({each.partition(":")[0] for each in members}) == 1


# -- importance --------------------------------------------------------------------------------------------------------


def card(**other: object) -> Card:
    refs = [f"v:n_{days}d" for days in (7, 30)] + ["v:other"]
    features = tuple(CardFeature(ref=ref, dtype="float32", group="v:n" if "n_" in ref else "") for ref in refs)
    return simple_card("p", refs, b"", features=features, **other)


KNOTS = Calibration(method="x", raw=(-3.0, 0.0, 1.0, 3.0), value=(0.02, 0.3, 0.6, 0.9), largest_error=0.0)


def test_worth_sums_to_the_answer_less_the_reference() -> None:
    values = generator("worth").normal(size=(200, 3))
    values[0] = [1.0, -1.0, 0.0]  # they cancel out
    scaled = worth(card(calibration=KNOTS), values, -0.5)
    answers = np.interp(values.sum(axis=1) - 0.5, KNOTS.raw, KNOTS.value)
    np.testing.assert_allclose(scaled.sum(axis=1), answers - np.interp(-0.5, KNOTS.raw, KNOTS.value), atol=1e-9)
    assert (scaled * values >= 0).all(), "a reason says its opposite"
    assert not scaled[0].any()


def test_a_family_counts_as_one() -> None:
    told = card(calibration=KNOTS)
    values = np.array([[0.5, -0.5, 0.1], [0.2, 0.1, -0.2]])
    whole, parts = Tally(told), Tally(told)
    whole.add(values, worth(told, values, 0.0))
    for row in values:
        parts.add(row[None], worth(told, row[None], 0.0))
    found = whole.importance()
    groups = {each.name: each for each in found.groups}
    assert groups["v:n"].shap == pytest.approx((0.0 + 0.3) / 2) and groups["v:n"].members == ("v:n_7d", "v:n_30d")
    assert {each.name: each.shap for each in found.inputs}["v:n_7d"] == pytest.approx(0.35)
    assert [each.name for each in found.groups] == ["v:n", "v:other"] and found.rows == 2
    assert found == parts.importance()


@pytest.mark.parametrize(
    ("link", "unit", "expected"),
    [("logit", "probability", "log-odds"), ("log", "EUR", "logarithm of EUR"), ("identity", "days", "days")],
)
def test_raw_scores_have_a_unit(link: str, unit: str, expected: str) -> None:
    assert raw_unit(card(link=link, unit=unit)) == expected


def test_what_depends_on_the_candidate_is_one_family() -> None:
    columns = tuple(CandidateColumn(name=name, values=(0.0, 1.0)) for name in ("a", "b"))
    told = card(kind="candidates", candidates=Candidates(name="channel", count=2, columns=columns))
    tally = Tally(told)
    values = np.array([[0.0, 0.0, 0.1, 0.5, 0.4]])
    tally.add(values, values)
    assert tally.importance().groups[0].name == "channel" and tally.importance().groups[0].shap == pytest.approx(0.9)


# -- bulk --------------------------------------------------------------------------------------------------------------


def rows(n: int, *names: object, missing: float = 0.15) -> Matrix:
    rng = generator("bulk test", n, *names)
    x = rng.normal(size=(n, WIDTH))
    x[:, 4:] = rng.poisson(2, size=(n, WIDTH - 4))
    x[rng.random(x.shape) < missing] = np.nan
    return x.astype(np.float32)


def fit(
    *, missing: float = 0.15, objective: str = "binary", category: bool = False, seed: int = 0, **more: object
) -> lgb.Booster:
    x = rows(3_000, "train", seed, missing=missing).astype(np.float64)
    if category:
        x[:, 7] = np.nan_to_num(x[:, 7]) % 5
    y = np.nan_to_num(x[:, 0]) + np.isnan(x[:, 1]) * 2 + np.nan_to_num(x[:, 4]) * np.nan_to_num(x[:, 2])
    y = y + 2 * np.isin(x[:, 7], [1, 3]) + generator("noise", seed).normal(size=len(x))
    label = y > np.median(y) if objective == "binary" else 300 + 100 * y
    data = lgb.Dataset(x, label.astype(float), categorical_feature=[7] if category else [])
    parameters = {"objective": objective, "verbosity": -1, "num_threads": 1, "num_leaves": 12, "max_cat_to_onehot": 1}
    return lgb.train(parameters | more, data, 60)


@pytest.mark.parametrize("objective", ["binary", "regression"])
@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("leaves", [4, 31])
def test_woodelf_agrees_with_lightgbm(objective: str, missing: float, leaves: int) -> None:
    """With missing values, also where training saw none; `default_left` both ways."""
    booster = fit(objective=objective, missing=missing, num_leaves=leaves)
    x = rows(2_000, "agree", missing=0.3)
    exact = booster.predict(x, pred_contrib=True)
    bulk = BulkShap(booster.model_to_string(), x)
    assert bulk.path == "woodelf" and bulk.why == "" and bulk.mended == 0
    assert bulk.expected == exact[0, -1]
    scale = max(1.0, np.abs(exact).max())
    assert np.abs(bulk.values(x) - exact[:, :-1]).max() < AGREES * scale


def test_values_at_a_threshold_take_lightgbms_branch() -> None:
    """Compared in float32, some of these would go the other way."""
    booster = fit()
    # Beyond 1e9: missing on one side, all else on the other. Below 1e-30: what LightGBM takes for zero.
    nodes = booster.trees_to_dataframe().query("1e-30 < abs(threshold) < 1e9")
    at = nodes["threshold"].to_numpy(dtype=np.float64)
    columns = nodes["split_feature"].str.removeprefix("Column_").to_numpy(dtype=int)
    near = [at.astype(np.float32), *(np.nextafter(at.astype(np.float32), np.float32(way)) for way in (-9e9, 9e9))]
    x = np.repeat(rows(len(at), "near"), 3, axis=0)
    for i, values in enumerate(near):
        x[np.arange(len(at)) * 3 + i, columns] = values
    on_the_other_side = np.asarray(near[0], dtype=np.float64) > at
    assert on_the_other_side.any(), "rounding puts a value beyond its threshold"
    bulk = BulkShap(booster.model_to_string(), x)
    exact = booster.predict(x, pred_contrib=True)
    assert bulk.path == "woodelf" and np.abs(bulk.values(x) - exact[:, :-1]).max() < AGREES and bulk.mended == 0


def test_splits_by_category_are_lightgbms_own() -> None:
    booster = fit(category=True)
    x = rows(300, "category")
    bulk = BulkShap(booster.model_to_string(), x)
    assert bulk.path == "pred_contrib" and "category" in bulk.why
    np.testing.assert_allclose(bulk.values(x), booster.predict(x, pred_contrib=True)[:, :-1], rtol=1e-6, atol=1e-7)


def test_where_woodelf_disagrees_lightgbm_answers() -> None:
    """A model that takes zero for missing is one that WOODELF reads otherwise."""
    booster = fit(zero_as_missing=True)
    x = rows(300, "zeros")
    bulk = BulkShap(booster.model_to_string(), x)
    assert bulk.path == "pred_contrib" and "does not agree" in bulk.why
    np.testing.assert_allclose(bulk.values(x), booster.predict(x, pred_contrib=True)[:, :-1], rtol=1e-6, atol=1e-7)


def test_a_block_whose_sums_are_off_is_mended() -> None:
    """The sample shows no zeros, so that only the sums of a later block can tell."""
    booster = fit(zero_as_missing=True)
    x = rows(300, "zeros")
    bulk = BulkShap(booster.model_to_string(), x)
    bulk.path = "woodelf"
    assert np.allclose(bulk.values(x), booster.predict(x, pred_contrib=True)[:, :-1], atol=1e-6)
    assert bulk.mended == 300


def test_a_model_that_knows_nothing_has_values_of_zero() -> None:
    data = lgb.Dataset(np.zeros((100, 2)), np.arange(100.0) % 2)
    flat = lgb.train({"objective": "binary", "verbosity": -1}, data, 3)
    x = np.ones((5, 2), np.float32)
    assert not BulkShap(flat.model_to_string(), x).values(x).any()


def test_blocks_are_the_whole() -> None:
    booster, seen = fit(), list[tuple[int, int]]()
    x = rows(ROWS_AT_ONCE + 10, "blocks")
    bulk = BulkShap(booster.model_to_string(), x)
    parts = list(blocks(x, bulk, lambda done, total: seen.append((done, total))))
    assert [len(each) for each in parts] == [ROWS_AT_ONCE, 10] and seen == [(ROWS_AT_ONCE, len(x)), (len(x), len(x))]
    np.testing.assert_allclose(np.concatenate(parts)[-10:], bulk.values(x[-10:]), atol=1e-6)


# -- kairos explain ----------------------------------------------------------------------------------------------------


def explain(loop: SmallLoop, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kairos", "explain", *arguments]
    return subprocess.run(command, env=os.environ | loop.environment, capture_output=True, text=True, timeout=300)


def test_everyone_is_explained_into_a_file(loop: SmallLoop, tmp_path: Path) -> None:
    out = tmp_path / "shap.parquet"
    done = explain(loop, "propensity", "--rows", "50", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    told, frame = json.loads(done.stdout), pl.read_parquet(out)
    assert told["rows_of"] == "customers" and told["importance"]["rows"] == frame.height == 50
    assert frame["customer_id"].n_unique() == 50 and frame["value"].n_unique() > 10
    agree(told["importance"], frame)


def agree(importance: dict[str, Any], frame: pl.DataFrame) -> None:
    """The file's rows add up, and are what importance was taken from."""
    assert frame["value"].is_between(0, 1).all()
    inputs = [each["name"] for each in importance["inputs"]]
    raw = frame["base"] + frame.select(inputs).sum_horizontal()
    np.testing.assert_allclose(raw.to_numpy(), frame["raw"].to_numpy(), atol=1e-4)
    strongest = importance["inputs"][0]
    assert np.abs(frame[strongest["name"]].to_numpy()).mean() == pytest.approx(strongest["shap"], rel=1e-5)


def test_of_candidates_the_best_is_explained(tmp_path: Path) -> None:
    names = ["v:a", "rate", "late"]
    x = rows(2_000, "candidates", missing=0.0)[:, :3]
    y = x @ np.array([0.5, 1.0, -0.5]) > 0
    data = lgb.Dataset(x, y.astype(float), feature_name=[column_name(each) for each in names])
    text = str(
        lgb.train({"objective": "binary", "verbosity": -1, "num_leaves": 7}, data, 30).model_to_string()
    ).encode()
    columns = (
        CandidateColumn(name="rate", refs=("v:r0", "v:r1", "v:r2")),
        CandidateColumn(name="late", values=(0.0, 0.0, 5.0)),
    )
    told = simple_card(
        "channel",
        ["v:a"],
        text,
        kind="candidates",
        candidates=Candidates(name="channel", count=3, columns=columns, labels=("email", "sms", "push")),
    )
    folder = publish(tmp_path, told, text)
    drawn = generator("channels").normal(size=(70, 4)).astype(np.float32)
    asked = pl.DataFrame(drawn, schema=["v:a", "v:r0", "v:r1", "v:r2"]).with_columns(
        pl.Series("customer_id", [f"c{i}" for i in range(70)])
    )
    seen: list[int] = []
    found = explain_rows(folder, asked.iter_slices(30), tmp_path / "shap.parquet", seen.append)
    frame = pl.read_parquet(tmp_path / "shap.parquet")
    known = [Known("fresh", row) for row in asked.drop("customer_id").iter_rows(named=True)]
    served = score(load_bundle(folder), known)
    assert frame["value"].to_list() == [each.value for each in served] and seen == [70]
    assert frame["best"].to_list() == [candidate_label(told, each.best or 0) for each in served]
    assert frame["best"].n_unique() > 1 and found.path == "woodelf"
    agree(msgspec.to_builtins(found.importance), frame)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    text = fit().model_to_string().encode()
    refs = [f"Column_{i}" for i in range(WIDTH)]
    folder = publish(tmp_path, simple_card("p", refs, text), text)

    def interrupted() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame(rows(ROWS_AT_ONCE, "whole"), schema=refs)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain_rows(folder, interrupted(), tmp_path / "shap.parquet", lambda done: None)
    assert [each.name for each in tmp_path.iterdir() if "shap" in each.name] == []
    with pytest.raises(InvalidInput, match="no row to explain"):
        explain_rows(folder, iter([]), None, lambda done: None)


def test_explain_refuses_what_cannot_be_written(loop: SmallLoop, tmp_path: Path) -> None:
    done = explain(loop, "propensity", "--out", str(tmp_path / "shap.csv"))
    assert done.returncode == 2 and "must be a .parquet file" in done.stderr
    done = explain(loop, "propensitty")
    assert done.returncode == 2 and "propensity" in done.stderr
