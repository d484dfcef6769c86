"""The command: each verb explains itself, an error is one line that helps, exit codes have meaning, Ctrl-C is clean."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import numpy as np
import polars as pl
import pytest
import redis
from typer.testing import CliRunner

import kairos
from cli import console
from features.frames import events_frame, spine_of
from features.kernel import card as cards
from features.kernel import clock
from features.kernel.events import Event
from features.kernel.ledger import Ledger
from features.kernel.records import Score
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from features.store import FeatureStore

KAIROS = [sys.executable, "-m", "kairos"]


def command(*arguments: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")}
    return subprocess.run(
        [*KAIROS, *arguments],
        env=clean | {"KAIROS_HOME": str(home)} | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# -- help --------------------------------------------------------------------------------------------------------------


def helps(*verb: str) -> str:
    result = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(kairos.app, [*verb, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


def test_help_lists_every_verb_with_its_line() -> None:
    text = helps()
    assert all(f" {verb} " in text and line in text for verb, line in kairos.VERBS.items())


@pytest.mark.parametrize("verb", kairos.VERBS)
def test_each_verb_teaches_with_an_example(verb: str) -> None:
    """A verb of several commands: each of them."""
    commands = getattr(kairos.load(verb), "commands", {})
    for words in [(verb, each) for each in commands] or [(verb,)]:
        text = helps(*words)
        assert "Example" in text and f"kairos {' '.join(words)}" in text
        assert "Raises:" not in text and "Args:" not in text


def test_a_misspelt_verb_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = command("trian", home=tmp_path)
    assert done.returncode == 2 and "Did you mean 'train'" in done.stderr


# -- errors ------------------------------------------------------------------------------------------------------------


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_bad_setting_names_key_value_and_remedy(tmp_path: Path) -> None:
    done = command("report", "churn", home=tmp_path, KAIROS_PROT="1")
    assert done.returncode == 2
    assert "KAIROS_PROT" in one_line(done) and "'1'" in one_line(done) and "did you mean KAIROS_PORT?" in one_line(done)


def test_a_bad_origin_of_time_is_a_setting_too(tmp_path: Path) -> None:
    done = command("report", "churn", home=tmp_path, KAIROS_NOW="yesterday")
    assert done.returncode == 2 and "KAIROS_NOW" in one_line(done) and "2011-09-10T00:00:00Z" in one_line(done)


def test_what_does_not_exist_is_named_with_exit_code_2(tmp_path: Path) -> None:
    done = command("report", "churn", home=tmp_path)
    assert done.returncode == 2 and "kairos train churn" in one_line(done)


def test_what_cannot_be_reached_has_exit_code_1(tmp_path: Path) -> None:
    done = command("report", "churn", home=tmp_path, KAIROS_LEDGER_URL="postgresql+psycopg://127.0.0.1:1/none")
    assert done.returncode == 1 and "KAIROS_LEDGER_URL" in done.stderr and "Traceback" not in done.stderr


# -- printing ----------------------------------------------------------------------------------------------------------


def test_json_is_alone_on_stdout_and_steps_are_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with console.step("Counting") as at:
        at(1, 2, "half")
    console.print_json(
        {"n": np.int64(3), "x": np.array([0.5]), "nan": float("nan"), "at": datetime(2026, 1, 1, tzinfo=UTC)}
    )
    out, err = capsys.readouterr()
    assert json.loads(out) == {"n": 3, "x": [0.5], "nan": None, "at": "2026-01-01T00:00:00Z"}
    assert "Counting … " not in out and "✓ Counting — half" in err


def test_a_step_that_fails_says_so_and_lets_the_error_pass(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), console.step("Dividing"):
        _ = 1 / 0
    assert "✗ Dividing" in capsys.readouterr().err


# -- kairos report -----------------------------------------------------------------------------------------------------

START = datetime(2026, 1, 1, tzinfo=UTC)


def model_card() -> cards.Card:
    features = (
        cards.CardFeature(ref="orders:count_90d", dtype="float32"),
        cards.CardFeature(ref="web:views_30d", dtype="float32"),
        cards.CardFeature(ref="profile:country", dtype="category", vocabulary=("AT", "DE")),
    )
    return cards.Card(
        problem="churn", version="1-abc", kind="binary", source="store", question="?", headline="!", horizon_days=90,
        features=features, prior=0.1, default_features={}, metrics=(), baseline="",
        calibration=cards.Calibration(method="isotonic", raw=(0.0,), value=(0.1,), largest_error=0.0),
        cutoffs=cards.Cutoffs(train=(), validation=(), test=()), rows={}, data_hash="", membership_hash="",
        model_sha256="", trained_at=START,
    )  # fmt: skip


def features_of(rows: int, name: str, mean: float) -> pl.DataFrame:
    rng = generator("report", name)
    return pl.DataFrame(
        {
            "orders:count_90d": rng.poisson(mean, rows).astype(np.float32),
            "web:views_30d": rng.normal(size=rows).astype(np.float32),
            "profile:country": rng.choice(["AT", "DE"], rows),
        }
    )


@pytest.fixture
def watched_home(tmp_path: Path) -> Path:
    """A home with a champion's card and training rows, and scores logged before and since the market changed."""
    folder = tmp_path / "models" / "churn" / "1-abc"
    folder.mkdir(parents=True)
    (folder.parent / "champion.json").write_bytes(msgspec.json.encode({"version": "1-abc"}))
    cards.save_card(model_card(), folder / "card.json")
    features_of(1_500, "training", 1.0).write_parquet(folder / "reference.parquet")
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    for day, mean in ((0, 1.0), (30, 4.0)):
        rows = features_of(1_200, f"day {day}", mean).to_dicts()
        ledger.append_scores(
            [
                Score(
                    score_id=f"{day}-{i}", customer_id=f"c{i}", problem="churn", model_version="1-abc",
                    rung="default" if i >= 1_100 else "fresh", value=0.1, features=row,
                    scored_at=START + timedelta(days=day, seconds=i),
                )
                for i, row in enumerate(rows)
            ]
        )  # fmt: skip
    ledger.close()
    return tmp_path


def test_report_names_what_drifted_since(watched_home: Path) -> None:
    done = command("report", "churn", "--since", "2026-01-15T00:00:00Z", "--json", home=watched_home)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["column"] for each in found["drifted"]] == ["orders:count_90d"]
    assert (found["columns"], found["rows_current"]) == (3, 1_100)  # rung `default` is no customer's own vector
    assert Path(found["html"]).stat().st_size > 100_000
    assert Path(found["html"]).parent == watched_home / "reports"


def test_report_takes_a_customers_newest_vector_and_asks_for_enough_of_them(watched_home: Path) -> None:
    done = command("report", "churn", home=watched_home)
    assert done.returncode == 0, done.stderr
    assert "1 of 3 columns drifted, 1,100 customers" in done.stdout and "orders:count_90d" in done.stdout
    done = command("report", "churn", "--since", "2027-01-01T00:00:00Z", home=watched_home)
    assert done.returncode == 1 and "--since" in one_line(done)
    done = command("report", "churn", "--since", "2027-01-01", home=watched_home)
    assert done.returncode == 2 and "time zone" in one_line(done)


# -- kairos up ---------------------------------------------------------------------------------------------------------


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def known_home(tmp_path: Path) -> Path:
    """A home whose offline store knows one customer."""
    yesterday = clock.now() - timedelta(days=1)
    order = Event(event_id="e", customer_id="c", type="order", amount=5.0, occurred_at=yesterday, received_at=yesterday)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.append_events([order])
    events = events_frame([row for part in ledger.events() for row in part])
    ledger.close()
    FeatureStore(Settings(home=tmp_path)).backfill(events, spine_of(["c"], clock.now()))
    return tmp_path


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for a process's children")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_it_is_stopped_and_stops_all_it_started(known_home: Path, how: signal.Signals) -> None:
    port, log = free_port(), known_home / "log"
    with log.open("wb") as out:
        env = os.environ | {"KAIROS_HOME": str(known_home), "KAIROS_PORT": str(port)}
        process = subprocess.Popen([*KAIROS, "up"], env=env, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 120
        while "Kairos is up" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == httpx.codes.OK
        with redis.Redis.from_url(re.findall(r"redis://[\d.:]+/0", log.read_text())[0]) as online:
            assert online.dbsize() == 1  # the customer of the offline store
        while httpx.get(f"http://127.0.0.1:{port}/readyz").json()["follower"]["state"] != "alive":
            assert time.monotonic() < deadline, "no follower was seen"
            time.sleep(0.1)
        children = children_of(process.pid)
        assert len(children) == 4  # Redis and its guard, the service, the follower
        process.send_signal(how)
        assert process.wait(40) == 130
    finally:
        process.terminate()  # not killed: it would leave behind what it started
        process.wait(40)
    assert not any(Path(f"/proc/{each}").exists() for each in children)
    assert "Traceback" not in log.read_text()
