"""The same model once more from its record; and where it is another, the sentence that says what else differs."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from features import history
from features.frames import to_events
from features.kernel import clock, erasure
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.ledger import Ledger
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from features.market import Market, simulate
from training import pipeline
from training.plan import Plan
from training.problems import all_problems
from training.registry import rebuild
from training.registry.environment import environment
from training.registry.register import Trained
from training.registry.reproduce import reproduce
from training.rows import cutoffs, dataset
from training.synthetic import draw
from training.table.asked import Asked
from training.table.build import build
from training.testing import Computed

quiet_libraries()


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=7, people=450).with_test()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, market: Market) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("reproduce"))
    with Ledger.of(settings) as ledger:
        ledger.append_events(list(to_events(market.events)))
    return settings


@pytest.fixture(scope="module")
def trained(home: Settings, market: Market) -> Trained:
    """Churn over another horizon than its own, tuned by two trials."""
    problem = all_problems()["churn"].over(timedelta(days=60))
    with Ledger.of(home) as ledger:
        events = history.refreshed(home, ledger)
    plan = cutoffs.for_problem(market.start, market.end, problem.horizon)
    data = dataset.build(problem, events, Computed(events), plan, seq=history.last(home))
    return pipeline.train(data, home, plan=Plan(trials=2))


@pytest.fixture
def later(home: Settings, trained: Trained, tmp_path: Path) -> Settings:
    """A copy of the home, to change."""
    shutil.copytree(home.home, tmp_path / "home", ignore=shutil.ignore_patterns("pending"))
    return dataclasses.replace(home, home=tmp_path / "home")


def test_the_same_rows_and_the_same_model(trained: Trained, home: Settings) -> None:
    told: list[float] = []
    found = reproduce(trained.card.version, home, lambda what, share: told.append(share))
    assert found.same and found.reasons == ()
    assert found.data_hash == (trained.card.data_hash,) * 2 and found.model_sha256 == (trained.card.model_sha256,) * 2
    assert (found.problem, found.version) == ("churn_60d", trained.card.version)
    assert told == sorted(told) and told[-1] == 1.0
    assert [each.name for each in (home.models / "churn_60d").glob("[!.]*/")] == [trained.card.version], (
        "no new version"
    )


def test_events_that_came_later_change_nothing(trained: Trained, later: Settings, market: Market) -> None:
    with Ledger.of(later) as ledger:
        assert len(market.after) > 1000
        ledger.append_events(list(to_events(market.after)))
    assert reproduce(trained.run_id, later).same


def test_from_mlflow_alone(trained: Trained, later: Settings) -> None:
    """The bundles of this home are gone; MLflow, here or on another machine, has the record."""
    shutil.rmtree(later.models)
    assert reproduce(trained.run_id, later).same
    with pytest.raises(NotFound, match="holds no model that Kairos trained"):
        reproduce("0123456789abcdef0123456789abcdef", later)
    with pytest.raises(NotFound, match="20260601-1a2b3c4d"):
        reproduce("20260601-1a2b3c4d", later)


def test_who_was_forgotten_is_missing_and_that_is_said(trained: Trained, later: Settings, market: Market) -> None:
    with Ledger.of(later) as ledger:
        people = market.events["customer_id"].value_counts().sort("count")["customer_id"]
        for customer in people[-2:]:
            assert erasure.erase(ledger, customer)
    found = reproduce(trained.card.version, later)
    assert not found.same and found.data_hash[0] != found.data_hash[1]
    said = " | ".join(found.reasons)
    assert "the rows are others" in said and "2 people were forgotten since" in said and "events that were read" in said


def test_another_library_is_named_where_the_model_differs(trained: Trained, later: Settings) -> None:
    """The rows are the same, the recorded model is not what comes of them."""
    folder = later.models / "churn_60d" / trained.card.version
    before = environment()
    old = msgspec.structs.replace(before, libraries=before.libraries | {"lightgbm": "3.3.5"}, commit="a" * 40)
    (folder / "environment.json").write_bytes(msgspec.json.encode(old))
    card = msgspec.structs.replace(trained.card, model_sha256="0" * 64)
    (folder / "card.json").write_bytes(msgspec.json.encode(card))
    found = reproduce(trained.card.version, later)
    assert not found.same and found.data_hash[0] == found.data_hash[1]
    assert found.reasons[0] == "the rows are the same, the model fitted to them is another"
    assert any(each.startswith("lightgbm was 3.3.5 and is 4.") for each in found.reasons)


def table(path: Path, rows: int = 1500) -> Path:
    rng = generator("reproduce", "table")
    a, b = rng.normal(size=rows), rng.integers(0, 5, rows)
    yes = rng.random(rows) < 1 / (1 + np.exp(1.0 - a - b / 3))
    frame = pl.DataFrame({"visits": a.round(4), "pages": b, "bought": np.where(yes, "yes", "no")})
    frame.write_csv(path)
    return path


def test_a_table_is_read_again_and_another_file_is_refused(home: Settings, tmp_path: Path) -> None:
    path = table(tmp_path / "leads.csv")
    built = build(Asked(path=str(path), target="bought"))
    trained = pipeline.train(built.data, home, plan=Plan(trials=1))
    assert reproduce(trained.card.version, home).same
    path.write_text(path.read_text().replace("yes", "no", 1))
    with pytest.raises(InvalidInput, match="SHA-256 differs"):
        reproduce(trained.card.version, home)
    path.unlink()
    with pytest.raises(NotFound, match=r"leads\.csv"):
        reproduce(trained.card.version, home)


def test_what_says_nothing_of_its_rows_cannot_be_built_again(home: Settings) -> None:
    trained = pipeline.train(draw(generator("by hand"), 500).data, home, plan=Plan(trials=0))
    with pytest.raises(InvalidInput, match="does not say where its rows came from"):
        reproduce(trained.card.version, home)


@pytest.mark.parametrize("name", ["channel", "clv", "uplift"])
def test_other_kinds_are_built_again_too(name: str, market: Market, home: Settings) -> None:
    """Amounts, weights, arms, a shorter horizon for want of history: the origin is enough to say which it was."""
    clock.set_origin(market.end)
    try:
        problem, plan = cutoffs.longest(all_problems()[name], market.start, market.end)
        with Ledger.of(home) as ledger:
            events = history.refreshed(home, ledger)
        data = dataset.build(problem, events, Computed(events), plan, seq=history.last(home))
    finally:
        clock.set_origin(None)
    assert data.origin is not None
    again = rebuild.rows_again(msgspec.json.decode(msgspec.json.encode(data.origin), type=type(data.origin)), home)
    assert again.problem.name == problem.name and again.data_hash == data.data_hash and again.limits == data.limits
