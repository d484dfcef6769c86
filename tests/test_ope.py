"""Off-policy estimators: unbiased or nearly, with intervals that cover the truth as often as they say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from decisioning.estimate import Estimate
from decisioning.logs import value
from decisioning.next_best import Known, Request, decide
from decisioning.ope.dr import dr
from decisioning.ope.ips import ips
from decisioning.ope.snips import snips
from decisioning.point import all_points
from decisioning.policies.split import Split
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.ledger import Ledger
from features.kernel.records import Outcome
from features.kernel.seeds import generator

OBD = Path(__file__).parents[2] / "shared" / "data" / "obd"

# Two kinds of customers, three actions: what each earns, how the log was made, what is to be valued.
MEANS = np.array([[0.10, 0.20, 0.15], [0.05, 0.02, 0.25]])
LOGGED = np.array([[0.6, 0.3, 0.1], [0.3, 0.3, 0.4]])
VALUED = np.array([[0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
TRUTH = float((VALUED * MEANS).sum(axis=1).mean())


def one_log(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    kind = rng.integers(0, 2, n)
    action = (rng.random(n)[:, None] > np.cumsum(LOGGED[kind], axis=1)).sum(axis=1)
    reward = (rng.random(n) < MEANS[kind, action]).astype(float)
    guess = np.array([[0.12, 0.15, 0.15], [0.05, 0.05, 0.2]])  # a model that is wrong, as models are
    expected = (VALUED * guess).sum(axis=1)[kind]
    return reward, LOGGED[kind, action], VALUED[kind, action], guess[kind, action], expected


ESTIMATORS: dict[str, Callable[..., Estimate]] = {
    "ips": lambda r, p, e, q, v: ips(r, p, e),
    "snips": lambda r, p, e, q, v: snips(r, p, e),
    "dr": dr,
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_interval_covers_the_truth(name: str) -> None:
    rng, repeats = generator("ope", name), 2500
    found = [ESTIMATORS[name](*one_log(rng, 1500)) for _ in range(repeats)]
    covered = np.mean([each.low <= TRUTH <= each.high for each in found])
    assert 0.93 <= covered <= 0.97
    values = np.array([each.value for each in found])
    assert abs(values.mean() - TRUTH) < 4 * values.std() / np.sqrt(repeats) + 1e-4, "no bias to speak of"
    assert np.mean([each.standard_error for each in found]) == pytest.approx(values.std(), rel=0.06)


def test_each_refinement_earns_its_place() -> None:
    rng = generator("refine")
    logs = [one_log(rng, 400) for _ in range(600)]
    spread = {name: np.std([estimator(*log).value for log in logs]) for name, estimator in ESTIMATORS.items()}
    assert spread["dr"] < spread["ips"] and spread["snips"] < spread["ips"]


def test_valuing_the_logging_policy_gives_back_the_mean() -> None:
    reward, propensity, *_ = one_log(generator("self"), 500)
    for estimator in (ips, snips):
        found = estimator(reward, propensity, propensity)
        assert found.value == pytest.approx(reward.mean()) and found.effective_n == pytest.approx(500)


def test_snips_stays_within_the_rewards_and_shifts_with_them() -> None:
    reward, propensity, target, *_ = one_log(generator("range"), 30)
    found = snips(reward, propensity, target)
    assert reward.min() <= found.value <= reward.max()
    assert snips(reward + 5, propensity, target).value == pytest.approx(found.value + 5)


@pytest.mark.parametrize(
    ("reward", "propensity", "target", "message"),
    [
        ([1.0], [0.0], [0.5], "propensity: must lie in"),
        ([1.0], [0.5], [1.5], "target: must lie in"),
        ([1.0], [float("nan")], [0.5], "propensity: must lie in"),
        ([], [], [], "must have one length"),
        ([1.0, 0.0], [0.5], [0.5], "must have one length"),
    ],
)
def test_what_cannot_be_weighted_is_refused(
    reward: list[float], propensity: list[float], target: list[float], message: str
) -> None:
    for estimator in (ips, snips):
        with pytest.raises(InvalidInput, match=message):
            estimator(np.array(reward), np.array(propensity), np.array(target))
    with pytest.raises(InvalidInput, match="none of the logged actions"):
        snips(np.ones(2), np.ones(2), np.zeros(2))


def test_the_journal_values_a_policy_that_never_ran(tmp_path: Path) -> None:
    """From the bandit's and the split's rows alone: what would "nearly always discount" have earned?"""
    ledger, point = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), all_points()["win_back"]
    start, rng, known = (
        datetime(2026, 5, 1, tzinfo=UTC),
        generator("value"),
        Known("fresh", {"profile:email_consent": 1.0}),
    )
    policy, later = Split(weights={"discount": 98.0}), start + timedelta(days=8)
    with pytest.raises(NotEnoughData, match="win_back"):
        value(ledger, point, policy, {}, later)
    rows = [decide(point, Request(f"r{i}", f"c{i}"), known, rng, now=start, salt="s") for i in range(6000)]
    means = {"none": 0.05, "reminder": 0.1, "discount": 0.2}
    ledger.append_decisions(rows)
    ledger.append_outcomes(
        [
            Outcome(
                outcome_id=each.decision_id, decision_id=each.decision_id, kind="order", value=1.0, occurred_at=start
            )
            for each in rows
            if rng.random() < means[each.action]
        ]
    )
    truth = 0.98 * 0.2 + 0.01 * 0.1 + 0.01 * 0.05
    for estimator in (ips, snips):
        found = value(ledger, point, policy, {}, later, by=estimator)
        assert found.low <= truth <= found.high and found.standard_error < 0.015
    ledger.close()


@pytest.mark.real_data
@pytest.mark.skipif(not OBD.is_dir(), reason="the real data (../shared/data) are not here")
@pytest.mark.parametrize(("campaign", "reference", "effective"), [("all", 0.0050, 340), ("men", 0.0057, 656)])
def test_open_bandit_data(campaign: str, reference: float, effective: int) -> None:
    """The value of the Thompson policy from the uniform log, and how little its own log says of the uniform policy."""
    uniform = pl.read_csv(OBD / "random" / campaign / f"{campaign}.csv")
    thompson = pl.read_csv(OBD / "bts" / campaign / f"{campaign}.csv")
    place = ["position", "item_id"]
    share = (
        thompson.group_by(place)
        .agg(pl.len().alias("shown"))
        .with_columns(target=pl.col("shown") / pl.col("shown").sum().over("position"))
    )
    joined = uniform.join(share, on=place, how="left").with_columns(pl.col("target").fill_null(0.0))
    columns = [joined[name].to_numpy().astype(float) for name in ("click", "propensity_score", "target")]
    found = ips(*columns)
    assert found.value == pytest.approx(reference, abs=0.00005) and found.standard_error == pytest.approx(
        0.0013, abs=0.0001
    )
    assert found.low < thompson["click"].mean() < found.high
    back = [thompson[name].to_numpy().astype(float) for name in ("click", "propensity_score")]
    items = uniform["item_id"].n_unique()
    assert ips(*back, np.full(thompson.height, 1 / items)).effective_n == pytest.approx(effective, abs=1)
