"""The drift report names the columns that were shifted, and only those; the page needs no network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.drift.evidently_report import FEW, MANY, DriftReport, drift_report
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.seeds import generator

SHIFTED = {"orders:count_90d", "profile:country", "profile:email_consent", "web:gone"}


def table(rows: int, name: str, *, shifted: bool) -> pl.DataFrame:
    """Features of the usual shapes: counts, heavy tails, mostly missing, categories, yes/no, many plain ones."""
    rng = generator("drifting", name, rows)
    mark = float(shifted)
    recency = rng.exponential(20.0, rows)
    columns: dict[str, object] = {
        "orders:count_90d": rng.poisson(1.0 + 1.5 * mark, rows),
        "orders:revenue_90d": np.exp(rng.normal(3.0, 1.0, rows)),
        "orders:days_since_last": [None if u < 0.3 else d for u, d in zip(rng.random(rows), recency, strict=True)],
        "profile:country": rng.choice(["DE", "AT", "NL" if shifted else "CH"], rows, p=[0.5, 0.3, 0.2]),
        "profile:source": rng.choice(["ads", "web", "referral"], rows),
        "profile:email_consent": (rng.random(rows) < 0.8 - 0.4 * mark).astype(float),
        "web:gone": np.where(rng.random(rows) < 0.1 + 0.8 * mark, np.nan, rng.normal(size=rows)),
    }
    columns |= {f"web:plain_{i}": rng.normal(size=rows).astype(np.float32) for i in range(12)}
    return pl.DataFrame(columns, strict=False)


@pytest.fixture(scope="module", params=[(5_000, 2_000), (600, 400)], ids=["distances", "tests"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DriftReport:
    before, after = request.param
    folder = tmp_path_factory.mktemp("reports") / "not there yet"
    return drift_report(table(before, "a", shifted=False), table(after, "b", shifted=True), folder, "churn")


def test_names_exactly_the_columns_that_were_shifted(report: DriftReport) -> None:
    assert {each.column for each in report.drifted} == SHIFTED
    assert report.share == pytest.approx(len(SHIFTED) / len(report.columns))


def test_the_test_follows_the_number_of_values(report: DriftReport) -> None:
    tests = {each.column: each.test for each in report.columns}
    many = min(report.rows_reference, report.rows_current) >= MANY
    assert tests["orders:revenue_90d"] == ("wasserstein" if many else "ks")
    assert tests["profile:country"] == tests["profile:email_consent"] == ("jensenshannon" if many else "chisquare")


def test_our_verdict_is_evidentlys_on_every_column_it_tested(report: DriftReport) -> None:
    theirs = {
        each["metric_config"]["params"]["column"]: each["status"] == "FAIL"
        for each in json.loads(report.json.read_text())["evidently"]["tests"]
        if "column" in each["metric_config"]["params"]
    }
    ours = {each.column: each.drifted for each in report.columns}
    assert theirs and {c: ours[c] for c in theirs if c != "web:gone"} == {
        c: verdict for c, verdict in theirs.items() if c != "web:gone"
    }
    assert ours["web:gone"]  # its values are the same, but most of them are missing: Evidently does not look there


def test_the_page_loads_nothing_from_elsewhere(report: DriftReport) -> None:
    page = report.html.read_text()
    assert "churn" in report.html.name and "orders:count_90d" in page
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", page)


def test_the_same_market_drifts_nowhere(tmp_path: Path) -> None:
    same = drift_report(table(5_000, "a", shifted=False), table(2_000, "c", shifted=False), tmp_path, "same")
    assert same.drifted == ()


def test_a_column_nobody_has_any_more_is_named_though_no_test_applies(tmp_path: Path) -> None:
    before = pl.DataFrame({"a": np.arange(100.0), "b": np.arange(100.0), "c": [None] * 100}, strict=False)
    after = before.with_columns(b=pl.lit(None, pl.Float64))
    found = {each.column: each for each in drift_report(before, after, tmp_path, "gone").columns}
    assert found["b"].test == found["c"].test == "none"
    assert (found["a"].drifted, found["b"].drifted, found["c"].drifted) == (False, True, False)


def test_says_what_is_missing(tmp_path: Path) -> None:
    frame = table(200, "a", shifted=False)
    with pytest.raises(InvalidInput, match="web:gone"):
        drift_report(frame, frame.drop("web:gone"), tmp_path, "x")
    with pytest.raises(NotEnoughData, match="30 rows"):
        drift_report(frame, frame.head(FEW - 1), tmp_path, "x")
