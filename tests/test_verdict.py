"""The verdict: intervals that hold their level, units that were randomised, words that claim no more than is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats

from decisioning.intervals import detectable, needed, newcombe, power, ratio, wilson
from decisioning.next_best import Known, Request, decide
from decisioning.point import all_points
from decisioning.verdict import verdict
from features.kernel.ledger import Ledger
from features.kernel.records import Decision, Outcome
from features.kernel.seeds import generator

POINT = all_points()["win_back"]
START = datetime(2026, 5, 1, tzinfo=UTC)
LATER = START + timedelta(days=30)
KNOWN = Known("fresh", {"profile:email_consent": 1.0})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.close()


def journal(ledger: Ledger, customers: range, *, at: datetime = START, times: int = 1) -> list[Decision]:
    rng = generator("verdict", customers.start)
    rows = [
        decide(POINT, Request(f"r{i}-{turn}-{at}", f"c{i}"), KNOWN, rng, now=at, salt="s")
        for turn in range(times)
        for i in customers
    ]
    ledger.append_decisions(rows)
    return rows


def order(each: Decision) -> Outcome:
    at = each.decided_at + timedelta(days=1)
    return Outcome(
        outcome_id=f"o-{each.decision_id}", decision_id=each.decision_id, kind="order", value=1.0, occurred_at=at
    )


# -- intervals ---------------------------------------------------------------------------------------------------------


def likely(n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """The counts that happen (but one in 10^9) and their probabilities."""
    counts = np.arange(int(stats.binom.ppf(5e-10, n, p)), int(stats.binom.ppf(1 - 5e-10, n, p)) + 1)
    return counts, stats.binom.pmf(counts, n, p)


def test_wilson_is_the_interval_a_reference_gives() -> None:
    for successes, n in [(0, 10), (3, 30), (81, 263), (263, 263), (1, 29)]:
        theirs = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
        assert wilson(successes, n)[1:] == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_covers_the_truth_as_often_as_it_says() -> None:
    covered = []
    for p in np.linspace(0.005, 0.4, 80):
        counts, chance = likely(400, p)
        covered.append(
            sum(c for k, c in zip(counts, chance, strict=True) if wilson(int(k), 400)[1] <= p <= wilson(int(k), 400)[2])
        )
    assert 0.945 <= np.mean(covered) <= 0.96 and min(covered) > 0.9


@pytest.mark.parametrize(("n1", "p1", "n2", "p2"), [(200, 0.05, 120, 0.08), (300, 0.02, 300, 0.02), (90, 0.3, 60, 0.1)])
def test_newcombe_covers_the_true_difference_as_often_as_it_says(n1: int, p1: float, n2: int, p2: float) -> None:
    covered = 0.0
    for s1, c1 in zip(*likely(n1, p1), strict=True):
        for s2, c2 in zip(*likely(n2, p2), strict=True):
            found = newcombe(int(s1), n1, int(s2), n2)
            covered += c1 * c2 * (found.low <= p1 - p2 <= found.high)
    assert 0.93 <= covered <= 0.97, "computed over every outcome, not sampled"


def test_the_ratio_covers_the_true_ratio_and_never_ends_below_zero() -> None:
    n1, p1, n2, p2, covered = 300, 0.12, 200, 0.08, 0.0
    for s1, c1 in zip(*likely(n1, p1), strict=True):
        for s2, c2 in zip(*likely(n2, p2), strict=True):
            found = ratio(int(s1), n1, int(s2), n2)
            assert found is None or 0 <= found.low <= found.value <= found.high
            covered += c1 * c2 * (found is None or found.low <= p1 / p2 <= found.high)
    assert 0.93 <= covered <= 0.975
    assert ratio(3, 10, 0, 10) is None and ratio(0, 10, 3, 10).low == 0  # type: ignore[union-attr]


def test_intervals_mirror_and_narrow() -> None:
    there, back = newcombe(30, 200, 50, 220), newcombe(50, 220, 30, 200)
    assert there == pytest.approx((-back.value, -back.high, -back.low))
    widths = [newcombe(k, 20 * k, k, 10 * k).high - newcombe(k, 20 * k, k, 10 * k).low for k in (2, 20, 200)]
    assert widths == sorted(widths, reverse=True)


def test_power_is_what_happens() -> None:
    """`needed` customers show the difference as often as promised, in simulated experiments."""
    p1, p2, share = 0.14, 0.09, 0.6
    n = needed(p1, p2, share, power=0.9)
    assert n is not None
    n1 = round(n * share)
    rng, n2 = generator("power"), n - n1
    assert power(p1, n1, p2, n2) == pytest.approx(0.9, abs=0.005)
    shown = [
        newcombe(int(a), n1, int(b), n2).low > 0
        for a, b in zip(rng.binomial(n1, p1, 3000), rng.binomial(n2, p2, 3000), strict=True)
    ]
    assert np.mean(shown) == pytest.approx(0.9, abs=0.025)
    assert needed(0.1, 0.1, 0.5) is None and power(0.1, 100, 0.1, 100) == pytest.approx(0.05)
    assert power(0.1 + detectable(0.1, n1, n2) / 2, n1, 0.1 - detectable(0.1, n1, n2) / 2, n2) == pytest.approx(
        0.9, abs=0.02
    )


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_an_effect_that_is_there_is_found_and_one_that_is_not_is_not_claimed(ledger: Ledger) -> None:
    rng = generator("effect")
    rows = journal(ledger, range(3000))
    won = [each for each in rows if rng.random() < {"none": 0.05, "reminder": 0.15, "discount": 0.15}[each.action]]
    ledger.append_outcomes([order(each) for each in won])
    found = verdict(ledger, POINT, LATER)
    assert found.decisions == 3000 and found.waiting == 0
    for rate in found.groups:
        assert rate.n == sum(each.group == rate.name for each in rows)
        assert rate.conversions == sum(each.group == rate.name for each in won)
    learning, writing = found.comparisons
    assert (
        not learning.proven
        and learning.difference is not None
        and learning.difference.low < 0 < learning.difference.high
    )
    assert "No proven difference" in learning.sentence and "would show it with power 0.9" in learning.sentence
    assert writing.proven and writing.difference is not None and writing.difference.low > 0
    assert writing.treated.name == "bandit + split" and writing.sentence.startswith(f"{writing.question} Yes: ")
    assert writing.relative_lift is not None and writing.relative_lift.low > 0 and writing.power > 0.9
    by_action = {rate.name: rate for rate in found.actions}
    assert by_action["split/reminder"].rate > by_action["split/none"].rate
    assert "holdout/none" not in by_action, "a holdout had no choice"


def test_harm_is_called_harm(ledger: Ledger) -> None:
    rows = journal(ledger, range(800))
    ledger.append_outcomes(
        [order(each) for i, each in enumerate(rows) if i % (3 if each.group == "holdout" else 20) == 0]
    )
    writing = verdict(ledger, POINT, LATER).comparisons[1]
    assert writing.proven and "No, it does harm" in writing.sentence


def test_false_alarms_are_as_rare_as_promised(tmp_path: Path) -> None:
    """Where no action has any effect, about 5 % of experiments claim a difference."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'null.sqlite'}")
    groups = [each.group for each in journal(ledger, range(1500))]
    ledger.close()
    sizes = {name: groups.count(name) for name in ("bandit", "split")}
    rng, claimed = generator("null"), 0
    for _ in range(2000):
        found = newcombe(
            int(rng.binomial(sizes["bandit"], 0.1)),
            sizes["bandit"],
            int(rng.binomial(sizes["split"], 0.1)),
            sizes["split"],
        )
        claimed += not found.low <= 0 <= found.high
    assert stats.binomtest(claimed, 2000, 0.05).pvalue > 0.005


def test_customers_are_the_unit_not_decisions(ledger: Ledger) -> None:
    rows = journal(ledger, range(200), times=5)
    eager = next(each.customer_id for each in rows if each.group == "bandit")
    ledger.append_outcomes([order(each) for each in rows if each.customer_id == eager])
    found = verdict(ledger, POINT, LATER)
    assert found.decisions == 1000 and sum(rate.n for rate in found.groups) == 200
    assert sum(rate.conversions for rate in found.groups) == 1, "five orders of one customer are one conversion"


def test_open_windows_wait_and_late_outcomes_count(ledger: Ledger) -> None:
    early, late = journal(ledger, range(50)), journal(ledger, range(50, 80), at=START + timedelta(days=5))
    ledger.append_outcomes([order(each) for each in late])
    found = verdict(ledger, POINT, START + timedelta(days=8))
    assert (found.decisions, found.waiting) == (50, 30) and sum(rate.conversions for rate in found.groups) == 0
    ledger.append_outcomes([order(each) for each in early])
    assert sum(rate.conversions for rate in verdict(ledger, POINT, START + timedelta(days=8)).groups) == 50
    assert verdict(ledger, POINT, LATER).waiting == 0


def test_before_anything_happened_nothing_is_said(ledger: Ledger) -> None:
    found = verdict(ledger, POINT, LATER)
    assert all("Nothing can be said yet" in each.sentence and each.difference is None for each in found.comparisons)
    assert [rate.rate for rate in found.groups] == [None] * 3
    journal(ledger, range(60))
    found = verdict(ledger, POINT, LATER)  # decisions, but not one conversion
    assert all(not each.proven and "No proven difference" in each.sentence for each in found.comparisons)
    assert all(each.relative_lift is None and each.needed is None for each in found.comparisons)
    assert math.isclose(wilson(0, found.groups[0].n).high, found.groups[0].high or 0)
    assert msgspec.json.decode(msgspec.json.encode(found))["comparisons"][0]["proven"] is False
