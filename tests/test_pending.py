"""Training without MLflow, and being interrupted anywhere: nothing is lost, nothing is there by half."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from features.kernel.errors import InvalidInput, Unavailable
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from serving.bundles import Models
from training import pipeline
from training.plan import Plan
from training.registry import bundle, mlflow_client, pending, promotion, track
from training.registry.register import Trained, register
from training.synthetic import draw

quiet_libraries()
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def fitted() -> pipeline.Fitted:
    return pipeline.fit(draw(generator("pending"), 700).data, plan=Plan(trials=0))


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables: making them takes seconds."""
    home = Settings(home=tmp_path_factory.mktemp("mlflow"))
    with mlflow_client.door():
        mlflow_client.connect(home)
    return home.home / "mlflow.sqlite"


@pytest.fixture
def home(tmp_path: Path, empty_mlflow: Path) -> Settings:
    shutil.copyfile(empty_mlflow, tmp_path / "mlflow.sqlite")
    return Settings(home=tmp_path)


def silent(what: str, share: float) -> None:
    pass


def away(home: Settings, port: int = 9) -> Settings:
    return replace(home, mlflow_uri=f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def trained_away(fitted: pipeline.Fitted, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A home in which a model was trained while MLflow's port was closed, and what came of it."""
    folder = tmp_path_factory.mktemp("away")
    return folder, register(fitted, away(Settings(home=folder)), silent)


@pytest.fixture
def trained(trained_away: tuple[Path, Trained], home: Settings) -> Trained:
    """The same in the test's own home, where MLflow can be used again."""
    shutil.copytree(trained_away[0], home.home, dirs_exist_ok=True)
    return trained_away[1]


def registered(home: Settings) -> dict[str, tuple[str, str]]:
    """By version, as MLflow's tables have it: its alias, and the folder of its run's files."""
    with sqlite3.connect(home.home / "mlflow.sqlite") as database:
        tags = dict(database.execute("SELECT version, value FROM model_version_tags WHERE key = 'kairos.version'"))
        alias = dict(database.execute("SELECT version, alias FROM registered_model_aliases"))
        source = dict(database.execute("SELECT version, source FROM model_versions"))
    return {tags[number]: (alias.get(number, ""), source[number].removeprefix("file://")) for number in source}


# -- MLflow is away ----------------------------------------------------------------------------------------------------


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_closed_port_loses_nothing(trained: Trained, home: Settings) -> None:
    """The model is published, judged and champion; what MLflow would have been told waits, and the message says so."""
    assert trained.promoted and trained.run_id == "" and trained.card.run_id == ""
    assert "MLflow" in trained.unsent and "kairos models send" in trained.unsent and "127.0.0.1" in trained.unsent
    assert bundle.champion(home.models, "synthetic") == trained.card
    models = Models(home.models)
    models.refresh()
    assert models.get("synthetic").card == trained.card and models.faults == {}
    assert [(each.problem, each.version) for each in pending.kept(home)] == [
        ("synthetic", trained.card.version),
        ("synthetic", ""),
    ]
    assert registered(home) == {}


def test_a_server_that_never_answers_is_given_up_on(
    fitted: pipeline.Fitted, home: Settings, mute_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    trained = register(fitted, away(home, mute_port), silent)
    assert trained.promoted and "kairos models send" in trained.unsent


def test_patience_is_bounded_where_nobody_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own is 8 attempts of 120 seconds each; afterwards everything is as it was."""
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with mlflow_client.door():
        from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

        assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == mlflow_client.PATIENCE == 10
        assert MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() <= 2
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:9", "http://127.0.0.1:{mute}", "postgresql://127.0.0.1:9/x", "sqlite:////proc/nowhere/x.sqlite"],
)
def test_who_cannot_be_reached_is_not_waited_for(
    uri: str, mute_port: int, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow asks a server 8 times for 2 minutes each, and a database 10 times, for minutes."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    started = time.monotonic()
    with pytest.raises(Unavailable, match="MLflow: cannot be used"):
        track.start("synthetic", replace(home, mlflow_uri=uri.format(mute=mute_port)))
    assert time.monotonic() - started < 10


def test_what_was_kept_is_sent_once_however_often(trained: Trained, home: Settings) -> None:
    waiting = pending.kept(home)
    sent = [pending.send(each, home) for each in waiting]
    again = [pending.send(each, home) for each in waiting]
    assert sent[0] is not None and sent[1:] == [None] and again == [None, None] and pending.kept(home) == []
    [(version, (alias, folder))] = registered(home).items()
    assert (version, alias) == (trained.card.version, "champion")
    assert {each.name for each in Path(folder).iterdir()} >= {*bundle.FILES, "MLmodel", "evaluation.json"}
    from mlflow import MlflowClient

    run = MlflowClient(tracking_uri=home.tracking_uri).get_run(sent[0].run_id)
    assert run.info.status == "FINISHED" and run.data.metrics["auc"] == trained.card.metric("auc").value
    assert run.info.end_time == run.info.start_time, "it was over when it was sent"


def test_a_sending_that_fails_half_way_goes_on(trained: Trained, home: Settings) -> None:
    """The disk of the artifacts is full until someone mends it: figures are there, no version is; then both, once."""
    [kept, _] = pending.kept(home)
    (home.home / "artifacts").touch()  # a file where the folder should be
    for _ in range(2):
        with pytest.raises(Unavailable):
            pending.send(kept, home)
    assert registered(home) == {} and kept in pending.kept(home)
    (home.home / "artifacts").unlink()
    assert pending.send(kept, home) is not None
    assert list(registered(home)) == [trained.card.version]
    with sqlite3.connect(home.home / "mlflow.sqlite") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        doubled = "SELECT key FROM metrics GROUP BY run_uuid, key HAVING count(*) > 1"
        assert database.execute(doubled).fetchall() == []
        assert database.execute("SELECT count(*) FROM inputs").fetchone() == (3,)


@pytest.mark.usefixtures("trained")
def test_damage_is_named_and_nothing_else_waits_for_it(home: Settings) -> None:
    [kept, aliases] = pending.kept(home)
    whole = (kept.folder / "record.json").read_bytes()
    (kept.folder / "record.json").write_bytes(whole[:-9])
    with pytest.raises(InvalidInput, match=r"record\.json"):
        pending.send(kept, home)
    assert pending.send(aliases, home) is None and pending.kept(home) == [kept]
    (kept.folder / "record.json").write_bytes(whole)
    assert pending.send(kept, home) is not None


# -- killed anywhere ---------------------------------------------------------------------------------------------------


class Snapshots:
    """What `kill -9` would leave on disk, at each file that is opened for writing, renamed, linked or removed.

    Python tells an audit hook of each before it happens; this one then copies the home, in the process's own pause.
    """

    def __init__(self, home: Path, into: Path) -> None:
        self.taken: list[tuple[str, Path]] = []
        self._home, self._into, self._on, self._last = home, into, False, b""
        sys.addaudithook(self._hook)

    def __enter__(self) -> Snapshots:
        self._on = True
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on or event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            return
        path = os.fsdecode(args[0]) if isinstance(args[0], str | bytes | os.PathLike) else ""
        if not path.startswith(str(self._home)) or (event == "open" and not (args[2] & (os.O_WRONLY | os.O_RDWR))):
            return
        self._on = False
        try:
            folder = self._into / f"{len(self.taken):03}"
            shutil.copytree(self._home, folder)
            self.taken.append((f"{event} {Path(path).relative_to(self._home)}", folder))
        finally:
            self._on = True


def test_killed_at_any_file_it_touches_no_model_is_there_by_half(
    fitted: pipeline.Fitted, trained: Trained, home: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = trained.card
    for each in pending.kept(home):
        pending.send(each, home)
    with Snapshots(home.home, tmp_path_factory.mktemp("killed")) as killed:
        second = register(fitted, home, silent).card
    assert second.version != first.version and len(killed.taken) > 40
    stages: set[tuple[int, bool, int, int]] = set()
    for at, folder in killed.taken:
        left = replace(home, home=folder)
        cards = [card.version for card, _ in bundle.cards(left.models)]
        assert cards in ([first.version], [first.version, second.version]), at
        assert bundle.listing(left.models).faults == {}, at
        models = Models(left.models)
        models.refresh()
        assert models.get("synthetic").booster is not None and models.faults == {}, at
        known = registered(left)
        assert set(known) <= set(cards), f"{at}: MLflow knows of a version that is not published"
        for version, (_, source) in known.items():
            files = folder / Path(source).relative_to(home.home)
            assert {each.name for each in files.iterdir()} >= {*bundle.FILES, "MLmodel", "environment.json"}, at
            assert (files / "card.json").read_bytes() == (
                left.models / "synthetic" / version / "card.json"
            ).read_bytes()
        champion = bundle.champion(left.models, "synthetic").version
        kept = [each.version for each in pending.kept(left) if each.version]
        assert set(cards) - set(known) <= set(kept), f"{at}: a published model that MLflow will never be told of"
        stages.add((len(cards), champion == second.version, len(known), len(kept)))
    seen = [(1, False, 1, 0), (2, False, 1, 1), (2, True, 1, 1), (2, True, 2, 0)]
    assert stages >= set(seen), "published, then champion, then in MLflow, then no longer kept"


@pytest.mark.parametrize("at", ["models/synthetic/.champion-", "artifacts/"])
def test_kill_9_and_then_everything_goes_on(at: str, fitted: pipeline.Fitted, home: Settings) -> None:
    """A real one: before the pointer is written, and in the middle of MLflow's files. Then it all goes on."""
    script = f"""
        import os, signal, sys
        from pathlib import Path
        from features.kernel.seeds import generator
        from features.kernel.settings import Settings
        from training import pipeline
        from training.plan import Plan
        from training.synthetic import draw
        def die(event, args):
            if event == "open" and isinstance(args[0], str) and args[0].startswith({str(home.home / at)!r}):
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(die)
        data = draw(generator("pending"), 700).data
        pipeline.train(data, Settings(home=Path({str(home.home)!r})), plan=Plan(trials=0))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    [(card, served)] = bundle.cards(home.models)
    assert served is (at == "artifacts/") and registered(home) == {}
    listed = [sys.executable, "-m", "kairos", "models", "list", "--json"]
    env = os.environ | {"KAIROS_HOME": str(home.home)}
    assert card.version in subprocess.run(listed, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    for each in pending.kept(home):
        pending.send(each, home)
    assert registered(home)[card.version][0] == ("champion" if served else "challenger")
    again = register(fitted, home, silent)
    assert again.promoted and again.card.version == f"{card.version}-2"
    assert registered(home)[again.card.version][0] == "champion" and pending.kept(home) == []
    assert list(home.home.rglob(".new-*")) == []


def test_ctrl_c_ends_the_run_as_killed_and_leaves_nothing(fitted: pipeline.Fitted, home: Settings) -> None:
    def interrupted(what: str, share: float) -> None:
        if what == "register":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register(fitted, home, interrupted)
    assert list(bundle.cards(home.models)) == [] and pending.kept(home) == [] and registered(home) == {}
    with sqlite3.connect(home.home / "mlflow.sqlite") as database:
        assert database.execute("SELECT status FROM runs").fetchall() == [("KILLED",)]


@pytest.mark.usefixtures("trained")
def test_what_was_never_published_is_not_sent(home: Settings) -> None:
    """Killed between writing the record and the bundle: nothing stands for such a record."""
    [kept, _] = pending.kept(home)
    shutil.rmtree(home.models / "synthetic" / kept.version)
    assert pending.send(kept, home) is None and not kept.folder.exists() and registered(home) == {}


# -- at once -----------------------------------------------------------------------------------------------------------


def test_two_trainings_of_one_problem_at_once(fitted: pipeline.Fitted, home: Settings) -> None:
    """Another process trains and registers twice while this one does."""
    script = f"""
        from pathlib import Path
        from features.kernel.seeds import generator
        from features.kernel.settings import Settings
        from training import pipeline
        from training.plan import Plan
        from training.registry.register import Trained, register
        from training.synthetic import draw
        fitted = pipeline.fit(draw(generator("pending"), 700).data, plan=Plan(trials=0))
        import mlflow
        print("ready", flush=True)
        for _ in range(2):
            trained = register(fitted, Settings(home=Path({str(home.home)!r})), lambda what, share: None)
            assert trained.unsent == "", trained.unsent
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        mine = [register(fitted, home, silent) for _ in range(2)]
        assert other.wait(60) == 0
    versions = [card.version for card, _ in bundle.cards(home.models)]
    assert len(set(versions)) == 4 and {each.card.version for each in mine} < set(versions)
    known = registered(home)
    assert set(known) == set(versions) and pending.kept(home) == []
    champion = bundle.champion(home.models, "synthetic").version
    assert [version for version, (alias, _) in known.items() if alias == "champion"] == [champion]
    line = [(each.before, each.version) for each in promotion.changes(home)]
    assert [before for before, _ in line] == ["", *(version for _, version in line[:-1])], "one after the other"
