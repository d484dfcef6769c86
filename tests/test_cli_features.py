"""`kairos features`: breaches stop a run, what was known is shown with its events, and every answer can be JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis
from click.testing import Result
from sqlalchemy import select
from typer.testing import CliRunner

import kairos
from cli.features_diff import Operand, operand
from features.compute import all_views
from features.frames import to_events
from features.kernel import clock, cursors, tables
from features.kernel.errors import InvalidInput, InvalidSetting, NotFound, QualityBreach, Unavailable
from features.kernel.events import Event
from features.kernel.ledger import Ledger
from features.market import simulate
from features.redis_server import RedisServer
from features.refs import all_refs

NOW = datetime(2026, 9, 1, tzinfo=UTC)
DAY = timedelta(days=1)
REFS = [f"{view.name}:{each.name}" for view in all_views().values() for each in view.features]


@pytest.fixture(autouse=True)
def _time_stands_at_now() -> Iterator[None]:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def people() -> list[Event]:
    """The lives of 25 people up to `NOW`."""
    events = simulate(seed=3, people=25).events
    return list(to_events(events.filter((pl.col("occurred_at") < NOW) & (pl.col("received_at") <= NOW))))


@pytest.fixture
def home(tmp_path: Path, people: list[Event]) -> Path:
    """A home whose ledger knows them."""
    record(tmp_path, *people)
    return tmp_path


def record(home: Path, *events: Event) -> None:
    with Ledger(f"sqlite:///{home / 'ledger.sqlite'}") as ledger:
        assert {each.status for each in ledger.append_events(events)} <= {"accepted"}


def order(event_id: str, customer: str = "c", days: float = 1.0, *, late: float = 0.0, **more: Any) -> Event:
    at = NOW - days * DAY
    return Event(
        event_id=event_id,
        customer_id=customer,
        type="order",
        amount=10.0,
        occurred_at=at,
        received_at=at + late * DAY,
        **more,
    )


def run(*words: str, home: Path, url: str = "") -> Result:
    """`kairos features …` in this process; a refusal is the result's exception."""
    env = {"KAIROS_HOME": str(home), "KAIROS_REDIS_URL": url, "COLUMNS": "160"}
    return CliRunner(env=env).invoke(kairos.app, ["features", *words])


def done(*words: str, home: Path, url: str = "") -> str:
    """What it prints on stdout."""
    result = run(*words, home=home, url=url)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def read(*words: str, home: Path, url: str = "") -> Any:
    return json.loads(done(*words, "--json", home=home, url=url))


def files(home: Path) -> dict[str, bytes]:
    return {str(each.relative_to(home)): each.read_bytes() for each in sorted((home / "offline").rglob("*.parquet"))}


def online(url: str) -> dict[bytes, bytes | None]:
    with redis.Redis.from_url(url) as client:
        return {key: client.get(key) for key in sorted(client.keys())}


# -- list and check ----------------------------------------------------------------------------------------------------


def test_list_names_every_feature(tmp_path: Path) -> None:
    found = read("list", home=tmp_path)
    assert [each["ref"] for each in found] == REFS
    assert all({"unit", "phrase", "dtype", "length", "entity", "expected"} <= each.keys() for each in found)
    assert {each["ref"].partition(":")[0] for each in read("list", "--view", "web", home=tmp_path)} == {"web"}
    text = done("list", "--view", "send_hours", home=tmp_path)
    assert "float32 × 168" in text and "0 to 1" in text
    refused = run("list", "--view", "wep", home=tmp_path)
    assert isinstance(refused.exception, NotFound) and "web" in str(refused.exception)


def test_check_passes_a_sound_run_and_reports_every_expectation(home: Path) -> None:
    done("build", home=home)
    found = read("check", home=home)
    assert found["breached"] == 0
    assert {each["view"] for each in found["expectations"]} == set(all_views())
    assert {f"{each['view']}:{each['feature']}" for each in found["expectations"] if each["feature"]} == {
        ref
        for ref in REFS
        if ref != "profile:account_id"  # an identifier, of which nothing is expected
    }
    assert "orders:count_30d" in done("check", "--view", "orders", home=home)


def test_check_fails_where_the_stored_rows_breach(home: Path) -> None:
    done("build", home=home)
    path = max((home / "offline" / "web").glob("2026*.parquet"))
    rows = pl.read_parquet(path)
    rows.with_columns(views_7d=pl.lit(-1.0, pl.Float32)).write_parquet(path)
    result = run("check", "--json", home=home)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    (breach,) = [each for each in found["expectations"] if each["rows"]]
    assert (breach["view"], breach["feature"], breach["rows"]) == ("web", "views_7d", rows.height)
    assert set(breach["examples"]) <= set(rows["customer_id"])
    assert run("check", "--view", "orders", home=home).exit_code == 0
    printed = run("check", "--view", "web", home=home)
    assert printed.exit_code == 1 and repr(breach["examples"][0]) in printed.stdout


def test_check_looks_at_the_run_it_is_asked_for(home: Path) -> None:
    for as_of in ("2026-06-01T00:00:00Z", "2026-08-01T00:00:00Z"):
        done("build", "--as-of", as_of, home=home)
    assert read("check", home=home)["as_of"] == "2026-08-01T00:00:00Z"
    assert read("check", "--as-of", "2026-07-31T00:00:00Z", home=home)["as_of"] == "2026-06-01T00:00:00Z"
    refused = run("check", "--as-of", "2026-05-01T00:00:00Z", home=home)
    assert isinstance(refused.exception, NotFound) and "kairos features build" in str(refused.exception)


# -- a breach stops the run --------------------------------------------------------------------------------------------


def test_a_breach_leaves_offline_store_and_redis_as_they_were(home: Path, server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    read("materialize", home=home, url=server.url)
    before = files(home), online(server.url)
    assert before[0] and before[1]
    record(home, order("odd", properties={"items": -3}))
    refused = run("materialize", home=home, url=server.url)
    assert isinstance(refused.exception, QualityBreach)
    assert "orders:items_per_order" in str(refused.exception) and "rows of 'c'\n" in refused.stdout
    assert (files(home), online(server.url)) == before
    printed = json.loads(run("build", "--json", home=home).stdout)
    assert [each["feature"] for each in printed["breaches"]] == ["items_per_order"] and printed["rows"] is None
    assert files(home) == before[0]


def test_a_forced_run_is_written_and_recorded_without_ids(home: Path) -> None:
    record(home, order("odd", customer="someone-odd", properties={"items": -3}))
    found = read("build", "--allow-breaches", home=home)
    assert found["rows"]["orders"] > 0 and [each["rows"] for each in found["breaches"]] == [1]
    assert run("check", home=home).exit_code == 1
    with Ledger(f"sqlite:///{home / 'ledger.sqlite'}") as ledger, ledger.engine.connect() as connection:
        ((who, what, detail),) = connection.execute(select(tables.audit.c["who", "what", "detail"])).all()
    assert (who, what) == ("kairos features build", "breaches allowed")
    assert "orders:items_per_order" in detail and "someone-odd" not in detail


def test_a_sound_run_is_not_recorded_as_forced(home: Path) -> None:
    assert read("build", "--allow-breaches", home=home)["breaches"] == []
    with Ledger(f"sqlite:///{home / 'ledger.sqlite'}") as ledger:
        assert ledger.count(tables.audit) == 0


def test_the_command_refuses_a_stale_log_with_exit_code_1_and_one_line(home: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")}
    env |= {"KAIROS_HOME": str(home), "KAIROS_NOW": "2027-09-01T00:00:00Z"}
    command = [sys.executable, "-m", "kairos", "features", "build"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    line = ended.stderr.strip().splitlines()[-1]
    assert "an event received within" in line and "the newest 365" in line and "--allow-breaches" in line
    assert not list((home / "offline").glob("*/2027*"))


def test_who_follows_the_ledger_need_not_compute_everyone_again(home: Path, server: RedisServer) -> None:
    read("materialize", "--as-of", "2026-08-01T00:00:00Z", home=home, url=server.url)
    with Ledger(f"sqlite:///{home / 'ledger.sqlite'}") as ledger:
        assert cursors.read(ledger) is None  # of the past: events since then are still to be dealt with
        read("materialize", home=home, url=server.url)
        cursor = cursors.read(ledger)
        assert cursor is not None and cursor.seq == ledger.mark(tables.events)
        assert NOW <= cursor.at < NOW + timedelta(minutes=1)


# -- show --------------------------------------------------------------------------------------------------------------


def test_show_says_from_which_events(tmp_path: Path) -> None:
    record(tmp_path, order("o1", days=20), order("o2", days=2), order("o3", "other"))
    found = read("show", "c", home=tmp_path)
    assert found["features"]["orders"]["count_30d"] == 2
    assert found["sources"]["orders:count_30d"] == ["o2", "o1"] and found["sources"]["orders:count_7d"] == ["o2"]
    assert found["events"]["known"] == 2 and found["events"]["by_type"]["order"]["events"] == 2
    assert list(found["sources"]) == REFS and found["served"] is None
    text = done("show", "c", home=tmp_path)
    assert "known events (2)" in text and "orders:count_30d" in text and "order 2026-08-30 00:00" in text


def test_show_never_shows_what_became_known_later(tmp_path: Path) -> None:
    record(tmp_path, order("early", days=9), order("late", days=8, late=6), order("new", days=1))
    then = f"{NOW - 5 * DAY:%Y-%m-%dT%H:%M:%SZ}"
    found = read("show", "c", "--as-of", then, home=tmp_path)
    assert found["features"]["orders"]["count_total"] == 1 and found["events"]["known"] == 1
    assert [each["event_id"] for each in found["events"]["not_yet_known"]] == ["late"]
    assert {each for ids in found["sources"].values() for each in ids} == {"early"}
    text = done("show", "c", "--as-of", then, home=tmp_path)
    assert "Not yet known (1)" in text and "│ late" in text and "│ new" not in text
    assert read("show", "c", home=tmp_path)["features"]["orders"]["count_total"] == 3


@pytest.mark.parametrize("customer", ["two words", "🎈", "[red]x[/red]", "ann@example.org", "a\nb", "-"])
def test_show_takes_any_id(tmp_path: Path, customer: str) -> None:
    record(tmp_path, order("e [bold]1", customer), order("2", customer, days=3, late=9))
    found = read("show", customer, home=tmp_path)
    assert found["customer_id"] == customer and found["sources"]["orders:count_7d"] == ["e [bold]1"]
    assert f"\n{customer} as of".replace("a\nb", r"a\nb") in f"\n{done('show', customer, home=tmp_path)}"


def test_show_of_nobody_and_of_an_empty_ledger(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    unknown = run("show", "nobody", home=home)
    assert isinstance(unknown.exception, NotFound) and "'nobody'" in str(unknown.exception)
    empty = run("show", "c", home=tmp_path_factory.mktemp("empty"))
    assert isinstance(empty.exception, NotFound) and "import or send events first" in str(empty.exception)
    undated = run("show", "nobody", "--as-of", "2026-01-01", home=home)
    assert isinstance(undated.exception, InvalidSetting) and "time zone" in str(undated.exception)


def test_show_lays_what_is_served_beside_it_and_flags_what_differs(home: Path, server: RedisServer) -> None:
    read("materialize", home=home, url=server.url)
    customer = "c00001"
    beside = read("show", customer, home=home, url=server.url)["served"]
    assert list(beside) == REFS
    held = {ref: each for ref, each in beside.items() if each["status"] != "missing"}
    assert {"orders:count_total", "send_hours:open_rate", "profile:country"} <= held.keys()
    assert not any(each["differs"] for each in beside.values())
    assert all(0 <= each["age_seconds"] < 120 for each in held.values())
    assert " s old)" in done("show", customer, home=home, url=server.url)
    record(home, order("backdated", customer))  # as an import has it: received when it occurred
    differing = read("show", customer, home=home, url=server.url)["served"]
    assert differing["orders:count_total"]["differs"] and not differing["profile:country"]["differs"]
    assert "differs" in done("show", customer, home=home, url=server.url)
    assert read("show", customer, "--as-of", "2026-08-31T00:00:00Z", home=home, url=server.url)["served"] is None


def test_show_shows_what_is_known_when_redis_is_away(home: Path) -> None:
    result = run("show", "c00001", "--json", home=home, url="redis://127.0.0.1:1/0")
    assert result.exit_code == 0 and json.loads(result.stdout)["served"] is None
    assert "cannot be reached" in " ".join(result.stderr.split())
    refused = run("materialize", home=home)
    assert isinstance(refused.exception, Unavailable) and "KAIROS_REDIS_URL" in str(refused.exception)


# -- diff --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("c1", Operand("c1", None)),
        ("c1@2026-06-01T00:00:00Z", Operand("c1", datetime(2026, 6, 1, tzinfo=UTC))),
        ("2026-06-01T02:00:00+02:00", Operand(None, datetime(2026, 6, 1, tzinfo=UTC))),
        ("ann@example.org", Operand("ann@example.org", None)),
        ("ann@example.org@2026-06-01T00:00:00Z", Operand("ann@example.org", datetime(2026, 6, 1, tzinfo=UTC))),
        ("20260601", Operand("20260601", None)),
        ("2026-06-01-x", Operand("2026-06-01-x", None)),
        ("@2026-06-01T00:00:00Z", Operand("@2026-06-01T00:00:00Z", None)),
        ("@", Operand("@", None)),
    ],
)
def test_an_operand_is_a_customer_an_instant_or_both(text: str, found: Operand) -> None:
    assert operand(text, "A") == found


@pytest.mark.parametrize("text", ["2026-06-01", "2026-06-01T00:00:00", "c1@2026-06-01"])
def test_an_instant_without_a_time_zone_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="time zone"):
        operand(text, "A")


def test_diff_of_customers_shows_what_differs_alone(tmp_path: Path) -> None:
    record(tmp_path, order("o1", "a", days=2), order("o2", "b", days=2), order("o3", "b", days=1))
    found = read("diff", "a", "b", home=tmp_path)
    assert found["features"] == len(REFS)
    differ = {each["ref"]: (each["a"], each["b"]) for each in found["differ"]}
    assert differ["orders:count_7d"] == (1, 2) and "orders:average_value" not in differ
    assert read("diff", "a", "a", home=tmp_path)["differ"] == []
    then = f"b@{NOW - 1.5 * DAY:%Y-%m-%dT%H:%M:%SZ}"
    assert {each["ref"]: (each["a"], each["b"]) for each in read("diff", then, "b", home=tmp_path)["differ"]}[
        "orders:count_total"
    ] == (1, 2)
    text = done("diff", "a", "b", home=tmp_path)
    assert "orders:count_7d" in text and f"of {len(REFS)} features differ" in text


def test_diff_of_lists_names_the_element_that_differs_most(home: Path) -> None:
    text = done("diff", "c00001", "c00002", home=home)
    assert "of 168 differ, most [" in text


def test_diff_of_runs_lists_the_largest_change_first(home: Path) -> None:
    for as_of in ("2026-03-01T00:00:00Z", "2026-08-01T00:00:00Z"):
        done("build", "--as-of", as_of, home=home)
    found = read("diff", "2026-03-01T00:00:00Z", "2026-08-30T00:00:00Z", home=home)
    assert (found["a"]["as_of"], found["b"]["as_of"]) == ("2026-03-01T00:00:00Z", "2026-08-01T00:00:00Z")
    assert 0 < found["a"]["customers"] <= found["b"]["customers"]
    sizes = [each["psi"] for each in found["features"]]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == len(REFS)
    assert "profile:tenure_days" in done("diff", "2026-03-01T00:00:00Z", "2026-08-01T00:00:00Z", home=home)


def test_diff_refuses_what_cannot_be_compared(home: Path) -> None:
    done("build", "--as-of", "2026-08-01T00:00:00Z", home=home)
    mixed = run("diff", "c00001", "2026-08-01T00:00:00Z", home=home)
    assert isinstance(mixed.exception, InvalidInput) and "different kinds" in str(mixed.exception)
    same = run("diff", "2026-08-01T00:00:00Z", "2026-08-02T00:00:00Z", home=home)
    assert isinstance(same.exception, InvalidInput) and "2026-08-01" in str(same.exception)
    none = run("diff", "2026-01-01T00:00:00Z", "2026-08-01T00:00:00Z", home=home)
    assert isinstance(none.exception, NotFound)
    unknown = run("diff", "c00001", "nobody", home=home)
    assert isinstance(unknown.exception, NotFound) and "nobody" in str(unknown.exception)


def test_references_of_this_file_are_those_of_the_views() -> None:
    assert {ref.partition("[")[0] for view in all_views().values() for ref in all_refs(view)} == set(REFS)
