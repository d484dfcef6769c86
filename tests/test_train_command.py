"""`kairos train`: a table of one's own becomes a served model in one command; what is wrong is said in one line."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

import kairos
from cli.train_options import FromTable, Tuning
from features.kernel.card import load_card
from features.kernel.champion import read_champion
from features.kernel.errors import GateRefused, InvalidInput, KairosError, NotEnoughData, NotFound
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from serving.app import create_app
from serving.services import compose
from serving.testing import MemoryStore, listening
from training.registry import bundle

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def train(home: Path, *arguments: str, expect: type[BaseException] | None = None) -> Result:
    """The verb in this process; an error of ours instead of its exit code."""
    runner = CliRunner(env={"KAIROS_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"})
    result = runner.invoke(kairos.app, ["train", *arguments])
    if expect is None:
        assert result.exit_code == 0, (result.output, result.exception)
    else:
        assert isinstance(result.exception, expect), (result.output, result.exception)
    return result


def leads(rows: int) -> pl.DataFrame:
    """Leads of which some convert; `calls` are counted of who converted only, and `source` has a missing marker."""
    rng = generator("train command", rows)
    visits, source = rng.poisson(3, rows), rng.choice(["ads", "fair", "friend", "Select"], rows)
    age = rng.integers(18, 80, rows)
    yes = rng.random(rows) < 1 / (
        1 + np.exp(3.2 - 0.5 * visits - 2.0 * (source == "friend") - 2.0 * (abs(age - 45) < 10))
    )
    return pl.DataFrame(
        {
            "Lead Number": np.arange(rows) + 660_000,
            "visits": visits,
            "source": source,
            "age": age,
            "calls": np.where(yes & (rng.random(rows) < 0.6), 2 + rng.poisson(2, rows), 0),
            "Converted": yes.astype(int),
        }
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "Leads 2024.csv"
    leads(4_000).write_csv(path, separator=";")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def said(home: Path, table: Path) -> str:
    """What the command prints of a table it was told nothing of but the target."""
    return train(home, "--table", str(table), "--target", "Converted", "--trials", "2").stdout


def words(text: str) -> str:
    """Without the frame of a table and the breaks of its lines."""
    return " ".join(re.sub(r"[│┃━┏┓┗┛┡┩└┘─┳╇┴]", " ", text).split())


# -- end to end --------------------------------------------------------------------------------------------------------


def test_a_table_becomes_a_champion_and_says_what_a_marketer_needs(home: Path, said: str) -> None:
    pointer = read_champion(home / "models" / "leads_2024_converted")
    assert pointer is not None
    card = load_card(home / "models" / "leads_2024_converted" / pointer.version / "card.json")
    assert card.source == "request" and card.split == "random" and card.question == "Will converted be 1?"
    assert card.headline in words(said) and f"Mind: {card.limits[0]}" in words(said)
    refused = {each.column: each.reason for each in card.columns if not each.kept}
    assert set(refused) == {"calls", "Lead Number"}
    assert all(reason in words(said) for reason in refused.values())
    assert {each.ref for each in card.features} == {"visits", "source", "age"}
    assert str(home / "models" / "leads_2024_converted" / pointer.version) in said
    assert "'Select' means not known" in words(said)


@pytest.fixture
def service(home: Path) -> Iterator[httpx.Client]:
    settings = Settings(home=home)
    app = create_app(settings, lambda settings: compose(settings, store=MemoryStore))
    with listening(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_the_request_it_prints_is_answered(said: str, service: httpx.Client) -> None:
    curl = shlex.split(next(line for line in said.splitlines() if line.startswith("curl ")))
    address, body = next(each for each in curl if each.startswith("http")), json.loads(curl[-1])
    answer = service.post(httpx.URL(address).path, json=body)
    assert answer.status_code == httpx.codes.OK, answer.text
    [score] = answer.json()["results"]
    assert score["rung"] == "fresh" and score["customer_id"] == body["items"][0]["customer_id"]
    body["items"][0]["features"]["calls"] = 3
    assert service.post(httpx.URL(address).path, json=body).status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_json_is_alone_on_stdout_and_allow_is_on_the_record(home: Path, table: Path, said: str) -> None:
    options = ["--target", "Converted", "--name", "with_calls", "--allow", "calls", "--trials", "0", "--json"]
    found = json.loads(train(home, "--table", str(table), *options).stdout)
    [model] = found["trained"]
    columns = {(each["column"], each["code"]): each for each in model["columns"]}
    assert any(each["allowed"] and each["kept"] for (column, _), each in columns.items() if column == "calls")
    assert model["problem"] == "with_calls" and found["skipped"] == {}
    assert "calls" in found["table"]["example"] and found["table"]["said"][0].startswith("4,000 rows of 6 columns")


def test_training_again_starts_from_the_champion_and_its_study(home: Path, said: str) -> None:
    settings = Settings(home=home)
    plan = Tuning(trials=3, minutes=2.0).plan(settings, "leads_2024_converted")
    assert plan.warm == bundle.champion(settings.models, "leads_2024_converted").parameters != {}
    assert (plan.trials, plan.minutes) == (3, 2.0) and plan.storage is not None and plan.storage.exists()
    assert Tuning().plan(settings, "nobody").warm == {}


def test_a_run_is_reproduced_from_its_record(home: Path, said: str) -> None:
    pointer = read_champion(home / "models" / "leads_2024_converted")
    assert pointer is not None
    result = train(home, "--reproduce", pointer.version, "--json")
    assert json.loads(result.stdout)["same"] is True


def test_a_worthless_table_is_registered_but_not_promoted(home: Path, tmp_path: Path) -> None:
    rng = generator("worthless")
    frame = pl.DataFrame({"a": rng.normal(size=900), "b": rng.normal(size=900), "y": rng.integers(0, 2, 900)})
    frame.write_csv(tmp_path / "noise.csv")
    arguments = ["--table", str(tmp_path / "noise.csv"), "--target", "y", "--trials", "0"]
    result = train(home, *arguments, expect=GateRefused)
    assert "Not shown to beat its baseline" in result.stdout and "not promoted" in result.stdout
    assert read_champion(home / "models" / "noise_y") is None and "curl" not in result.stdout


# -- what is wrong is said ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ([], InvalidInput, "a problem, --table or --reproduce"),
        (["churn", "--table", "x.csv", "--target", "y"], InvalidInput, "only one of them"),
        (["churn", "--target", "y"], InvalidInput, "--target: is an option of a table"),
        (["churn", "--cost-fp", "2"], InvalidInput, "--cost-fp: is an option of a table"),
        (["--table", "x.csv"], InvalidInput, "--target: is missing"),
        (["--table", "gone.csv", "--target", "y"], NotFound, "gone.csv"),
        (["--table", "x.csv", "--target", "y", "--cost-fp", "2"], InvalidInput, "--cost-fn"),
        (["--table", "x.csv", "--target", "y", "--name", "a b"], InvalidInput, "--name"),
        (["churn", "--data", "x.csv"], InvalidInput, "--recipe"),
        (["gossip"], NotFound, "gossip"),
        (["churn"], NotFound, "import or send events first"),
        (["--reproduce", "20200101-00000000"], KairosError, "20200101"),
    ],
)
def test_a_wrong_call_is_one_error_that_helps(
    tmp_path: Path, arguments: list[str], error: type[KairosError], match: str
) -> None:
    result = train(tmp_path, *arguments, expect=error)
    assert match in str(result.exception)


def test_a_table_that_cannot_be_learnt_from_registers_nothing(tmp_path: Path) -> None:
    pl.DataFrame({"a": range(60), "y": ["yes"] * 60}).write_csv(tmp_path / "one.csv")
    train(tmp_path, "--table", str(tmp_path / "one.csv"), "--target", "y", expect=NotEnoughData)
    assert not (tmp_path / "models").exists() and not (tmp_path / "mlflow.sqlite").exists()


def test_every_option_of_a_table_needs_one() -> None:
    with pytest.raises(InvalidInput, match="--cost-fn"):
        FromTable(cost_fn=1.0).asked(0)
    assert FromTable().asked(0) is None


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_the_study_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    leads(60_000).write_csv(path)
    arguments = ["train", "--table", str(path), "--target", "Converted", "--trials", "500"]
    env = os.environ | {"KAIROS_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "kairos", *arguments], env=env, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while trials(tmp_path / "home" / "tuning.sqlite") < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(20)
    assert process.returncode == 130 and "Traceback" not in told, told
    assert "tuning.sqlite" in told and f"To go on: kairos {shlex.join(arguments)}" in told
    assert not list((tmp_path / "home").glob("models/*/*"))
    assert trials(tmp_path / "home" / "tuning.sqlite") >= 2


def trials(path: Path) -> int:
    """Trials that a study's file holds as finished; 0 while it is being made."""
    if not path.exists():
        return 0
    query = "SELECT COUNT(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as study, suppress(sqlite3.OperationalError):
        return int(study.execute(query).fetchone()[0])
    return 0


# -- real data ---------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.exists(), reason="the folder shared/data is not there")
def test_bank_marketing_end_to_end_refuses_the_calls_duration_by_itself(tmp_path: Path) -> None:
    path = DATA / "bank_marketing" / "bank-full.csv"
    result = train(tmp_path, "--table", str(path), "--target", "y", "--trials", "0", "--json")
    [model] = json.loads(result.stdout)["trained"]
    fate: dict[str, Any] = {each["column"]: each for each in model["columns"] if not each["kept"]}
    assert list(fate) == ["duration"] and model["promoted"]
    figures = {each["name"]: each["value"] for each in model["metrics"]}
    assert 0.77 < figures["auc"] < 0.82
    assert "(row order)" in {each["column"] for each in model["columns"] if each["kept"]}
