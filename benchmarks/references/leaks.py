"""The leak guard on every public set: what must be refused is, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from benchmarks.reference import Claim, Progress, Reference
from features.market import simulate
from features.recipe import load_recipe, read
from training.leak import ROW_ORDER
from training.leaks import guard
from training.problems import all_problems
from training.rows.dataset import references
from training.testing import Computed

__all__ = ["reference"]


class _Table(NamedTuple):
    """A table, its label, and the columns that could not have been known."""

    name: str
    rows: pl.DataFrame
    target: pl.Series
    leaks: frozenset[str]


def _run(data: Path, progress: Progress) -> list[Claim]:
    claims = []
    for done, table in enumerate(_tables(data)):
        found = guard(table.rows, table.target)
        refused = {each.column for each in found if not each.kept}
        false, missed = sorted(refused - table.leaks), sorted(table.leaks - refused)
        warned = "; warned of the order of rows" if any(each.column == ROW_ORDER for each in found) else ""
        said = f"refused {', '.join(sorted(refused)) or 'nothing'} of {table.rows.width} columns{warned}"
        if missed:
            said += f"; missed {', '.join(missed)}"
        claims.append(
            Claim(
                what=f"{table.name}: false refusals",
                value=float(len(false)),
                target="none, and no leak missed",
                holds=not false and not missed,
                note=said,
            )
        )
        progress(table.name, (done + 1) / 11)
    return claims


def _tables(data: Path) -> Iterator[_Table]:
    bank = pl.read_csv(data / "bank_marketing" / "bank-full.csv", separator=";")
    yield _Table("Bank Marketing", bank.drop("y"), _yes(bank["y"], "yes"), frozenset({"duration"}))
    mail = pl.read_csv(data / "hillstrom" / "hillstrom.csv", infer_schema_length=None)
    for target in ("visit", "conversion"):
        late = frozenset({"visit", "conversion", "spend"} - {target})
        yield _Table(f"Hillstrom, {target}", mail.drop(target), mail[target], late)
    for policy, item in (("random", "all"), ("random", "men"), ("bts", "all"), ("bts", "men")):
        log = pl.read_csv(data / "obd" / policy / item / f"{item}.csv", infer_schema_length=None)
        ids = frozenset({"", "timestamp"})  # a row number, and a time as text that no row shares
        yield _Table(f"Open Bandit, {policy}/{item}", log.drop("click"), log["click"], ids)
    shop = read(load_recipe("online_retail"), data / "online_retail" / "onlineretail.parquet").events
    yield _snapshot("Online Retail", shop, "propensity", datetime(2011, 9, 10, tzinfo=UTC), 90)
    discs = read(load_recipe("cdnow"), data / "cdnow" / "CDNOW_master.txt").events
    yield _snapshot("CDNOW", discs, "propensity", datetime(1997, 10, 1, tzinfo=UTC), 180)
    market = simulate(seed=7, people=2_000).events
    for problem in ("propensity", "lead_scoring"):
        yield _snapshot(f"simulated market, {problem}", market, problem, datetime(2026, 6, 1, tzinfo=UTC), 90)


def _snapshot(name: str, events: pl.DataFrame, problem: str, cutoff: datetime, days: int) -> _Table:
    """Features as they were known at one cutoff: judged by their strength, though the guard would not ask them."""
    asked = all_problems()[problem]
    people = asked.population(events, cutoff)
    labels = asked.label(events, people, cutoff, timedelta(days=days))
    spine = labels.select("customer_id", pl.lit(cutoff).cast(pl.Datetime("us", "UTC")).alias("as_of"))
    rows = Computed(events).historical(spine, references(asked)).drop("customer_id", "as_of")
    return _Table(name, rows, labels["label"], frozenset())


def _yes(values: pl.Series, word: str) -> pl.Series:
    return (values == word).cast(pl.Float64)


reference = Reference(
    name="leaks",
    about="the leak guard on every public set: what it refuses, what it should not have",
    needs="bank_marketing",
    run=_run,
)
