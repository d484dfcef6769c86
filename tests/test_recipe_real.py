"""The recipes that come with Kairos, on the real files and their known figures."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from features.recipe import Imported, load_recipe, read

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) are not here")


@pytest.fixture(scope="module")
def online_retail() -> Imported:
    return read(load_recipe("online_retail"), DATA / "online_retail" / "onlineretail.parquet")


@pytest.mark.real_data
@needs_data
def test_online_retail_has_its_known_counts(online_retail: Imported) -> None:
    found = online_retail
    assert found.rows_read == 541_909
    assert found.counts["duplicate"] == 5_268
    assert found.counts["no_customer_id"] / found.rows_read == pytest.approx(0.249, abs=5e-4)
    assert found.used["cancellation as refund"] / found.rows_read == pytest.approx(0.017, abs=1e-3)
    raw = pl.read_parquet(DATA / "online_retail" / "onlineretail.parquet")
    people = set(raw["CustomerID"].drop_nulls().cast(pl.Int64).cast(pl.String))
    assert len(people) == 4_372
    free_only = raw.group_by("CustomerID").agg((pl.col("UnitPrice") == 0).all().alias("free")).filter("free")
    missing = {str(int(each)) for each in free_only["CustomerID"].drop_nulls()}
    assert people - set(found.events["customer_id"]) == missing, "only who never paid for a line has no event"


@pytest.mark.real_data
@needs_data
def test_online_retail_agrees_with_a_plain_count(online_retail: Imported) -> None:
    orders = online_retail.events.filter(pl.col("type") == "order")
    cutoff = datetime(2011, 9, 10, tzinfo=UTC)
    before = set(orders.filter(pl.col("occurred_at") < cutoff)["customer_id"])
    window = pl.col("occurred_at").is_between(cutoff, cutoff + timedelta(days=90), closed="left")
    share = len(before & set(orders.filter(window)["customer_id"])) / len(before)
    assert share == pytest.approx(0.569, abs=1e-3)
    raw = pl.read_parquet(DATA / "online_retail" / "onlineretail.parquet").unique()
    kept = raw.filter(pl.col("CustomerID").is_not_null() & (pl.col("UnitPrice") > 0) & (pl.col("Quantity") > 0))
    assert orders.height == kept.select("InvoiceNo").n_unique()
    assert orders["amount"].sum() == pytest.approx((kept["Quantity"] * kept["UnitPrice"]).sum(), rel=1e-6)


@pytest.mark.real_data
@needs_data
def test_online_retail_is_read_within_seconds() -> None:
    started = time.perf_counter()
    read(load_recipe("online_retail"), DATA / "online_retail" / "onlineretail.parquet")
    assert time.perf_counter() - started < 10, "541,909 lines; 0.7 s when alone on 2 cores"


@pytest.mark.real_data
@needs_data
def test_bank_marketing_has_its_known_counts() -> None:
    found = read(load_recipe("bank_marketing"), DATA / "bank_marketing" / "bank-full.csv")
    assert found.rows_read == found.rows_used == 45_211
    assert found.table["label"].mean() == pytest.approx(0.117, abs=1e-3)
    local = found.table["as_of"].dt.convert_time_zone("Europe/Lisbon")
    assert found.table["as_of"].is_sorted(), "the file is in order of time"
    assert (local.min().strftime("%Y-%m"), local.max().strftime("%Y-%m")) == ("2008-05", "2010-11")  # type: ignore[union-attr]
    assert local.dt.strftime("%b").str.to_lowercase().equals(found.table["month"].alias("as_of"))
    assert "duration" not in found.feature_columns
    first, last = found.table["label"][:31_648].mean(), found.table["label"][31_648:].mean()
    assert (first, last) == (pytest.approx(0.058, abs=1e-3), pytest.approx(0.254, abs=1e-3))


@pytest.mark.real_data
@needs_data
def test_hillstrom_has_its_known_figures() -> None:
    found = read(load_recipe("hillstrom"), DATA / "hillstrom" / "hillstrom.csv")
    assert found.rows_read == found.rows_used == 64_000
    assert found.table["label"].mean() == pytest.approx(0.147, abs=1e-3)
    assert found.snapshot is not None
    assert found.snapshot.arms == ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
    rates = dict(found.table.group_by("treatment").agg(pl.col("label").mean()).rows())
    assert rates["Womens E-Mail"] - rates["No E-Mail"] == pytest.approx(0.045, abs=1e-3)
    assert rates["Mens E-Mail"] - rates["No E-Mail"] == pytest.approx(0.077, abs=1e-3)
    assert not {"treatment", "segment", "visit", "conversion", "spend"} & set(found.feature_columns)


@pytest.mark.real_data
@needs_data
def test_cdnow_has_its_known_counts() -> None:
    found = read(load_recipe("cdnow"), DATA / "cdnow" / "CDNOW_master.txt")
    assert found.rows_read == found.rows_used == 69_659
    assert found.events["customer_id"].n_unique() == 23_570
