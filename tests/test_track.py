"""The door to MLflow, the bundle it publishes, and the pointer that only the gates may move."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.kernel.card import column_name, load_card
from features.kernel.errors import NotEnoughData, NotFound
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from training import pipeline
from training.fitted import Trial
from training.pipeline import Trained
from training.plan import Plan
from training.registry import bundle, membership, record, track
from training.registry.register import register
from training.synthetic import draw
from training.trainingset import TrainingSet

quiet_libraries()
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return draw(generator("track"), 700).data


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("track"))


@pytest.fixture(scope="module")
def fitted(data: TrainingSet) -> pipeline.Fitted:
    return pipeline.fit(data, plan=Plan(trials=0))


@pytest.fixture(scope="module")
def trained(data: TrainingSet, home: Settings) -> Trained:
    return pipeline.train(data, home, plan=Plan(trials=1))


@pytest.fixture(scope="module")
def refused(data: TrainingSet, home: Settings, trained: Trained) -> Trained:
    """Trained after the first, from labels that mean nothing."""
    noise = {
        name: dataclasses.replace(split, y=generator("noise", name).permutation(split.y))
        for name, split in data.splits.items()
    }
    return pipeline.train(dataclasses.replace(data, **noise), home, plan=Plan(trials=0))


@pytest.fixture
def client(home: Settings) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=home.tracking_uri, registry_uri=home.tracking_uri)


def test_the_run_tells_what_was_found(trained: Trained, client: Any, data: TrainingSet) -> None:
    run = client.get_run(trained.run_id)
    assert run.info.status == "FINISHED"
    for metric in trained.card.metrics:
        assert run.data.metrics[metric.name] == metric.value and run.data.metrics[f"{metric.name}.low"] == metric.low
    assert run.data.tags["data_hash"] == data.data_hash and run.data.tags["headline"] == trained.card.headline
    assert run.data.tags["model_sha256"] == trained.card.model_sha256
    assert {name for name in run.data.tags if name.startswith("gate.")} == {
        f"gate.{each.code}" for each in trained.gates
    }
    told = {name: str(value) for name, value in trained.card.parameters.items()}
    assert told.items() <= run.data.params.items() and run.data.params["rounds"] == str(trained.card.rounds)
    names = {Path(each.path).name for each in client.list_artifacts(trained.run_id, "model")}
    plots = {each for each in names if each.endswith(".png")}
    assert plots >= {"shap_summary.png", "calibration.png", "gain.png"}
    environment = {"environment.json", "requirements.txt", "python_env.yaml"}
    assert names - plots == {*bundle.FILES, *environment, "MLmodel", "importance.json", "evaluation.json"}


def test_figures_stand_beside_each_other_for_every_split(trained: Trained, client: Any, data: TrainingSet) -> None:
    """Whoever looks for a model that learnt its rows by heart compares these; on later rows it is no better."""
    figures = client.get_run(trained.run_id).data.metrics
    for name, split in data.splits.items():
        assert figures[f"{name}.rows"] == len(split) and figures[f"{name}.mean"] == split.y.mean()
    assert figures["test.auc"] == pytest.approx(trained.card.metric("auc").value, abs=1e-9)
    assert figures["test.log_loss"] == pytest.approx(trained.card.metric("log_loss").value, abs=1e-9)
    assert figures["train.auc"] > figures["validation.auc"] - 0.02 and 0 < figures["validation.loss"] < 0.7


def test_each_split_is_an_input_with_its_hash(trained: Trained, client: Any, data: TrainingSet) -> None:
    inputs = {
        next(tag.value for tag in each.tags if tag.key == "mlflow.data.context"): each.dataset
        for each in client.get_run(trained.run_id).inputs.dataset_inputs
    }
    assert inputs.keys() == {"training", "validation", "testing"}
    assert len({each.digest for each in inputs.values()}) == 3
    columns = json.loads(inputs["training"].schema)["mlflow_colspec"]
    assert [each["name"] for each in columns] == data.columns
    assert json.loads(inputs["testing"].profile)["num_rows"] == len(data.test)
    again = dataclasses.replace(data, test=dataclasses.replace(data.test, y=1 - data.test.y))
    told = [each.digest for each in record.inputs(again)]
    assert told[:2] == [inputs["training"].digest, inputs["validation"].digest]
    assert told[2] != inputs["testing"].digest


def test_files_lie_in_home_and_none_of_them_is_a_pickle(trained: Trained, home: Settings) -> None:
    folders = ("artifacts", "models", "pending")
    files = [path for folder in folders for path in (home.home / folder).rglob("[!.]*") if path.is_file()]
    assert len(files) > 10
    assert {path.suffix for path in files} <= {".txt", ".json", ".parquet", ".png", ".bin", ".yaml", ""}
    assert [path for path in files if path.read_bytes()[:1] == b"\x80"] == []  # every pickle since protocol 2
    for plot in (path for path in files if path.suffix == ".png"):
        assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and plot.stat().st_size > 5_000


@pytest.mark.filterwarnings("ignore:.*Any type hint")  # MLflow's, of its own classes
def test_mlflow_can_load_the_champion_and_it_predicts_the_same(
    trained: Trained, data: TrainingSet, home: Settings, client: Any, tmp_path: Path
) -> None:
    import mlflow.lightgbm
    import mlflow.pyfunc
    import pandas as pd

    version = client.get_model_version_by_alias(track.model_name("synthetic"), track.CHAMPION)
    assert version.tags[track.VERSION_TAG] == trained.card.version and version.run_id == trained.run_id
    folder = client.download_artifacts(trained.run_id, "model", str(tmp_path))
    booster = mlflow.lightgbm.load_model(folder)
    expected = booster.predict(data.test.x, raw_score=True)
    text = (trained.bundle / "model.txt").read_text()
    assert np.array_equal(pipeline.Model(text, {}, 0, 0.0).raw(data.test.x), expected)

    model = mlflow.pyfunc.load_model(folder)
    assert [each.name for each in model.metadata.signature.inputs] == data.columns
    answers = model.predict(pd.DataFrame(data.test.x, columns=data.columns))
    assert np.allclose(answers, 1 / (1 + np.exp(-expected)), atol=1e-12)
    with pytest.raises(Exception, match=r"missing inputs.*x__city"):
        model.predict(pd.DataFrame(data.test.x, columns=data.columns).drop(columns="x__city"))


def test_what_tuning_tried_are_children_of_the_run(fitted: pipeline.Fitted, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    home = Settings(home=tmp_path)
    tried = tuple(
        Trial(number=i, parameters={"num_leaves": 4 + i}, loss=0.5 - i / 100 if i else None, state="complete")
        for i in range(3)
    )
    trained = register(dataclasses.replace(fitted, trials=tried), home, lambda what, share: None)
    client = MlflowClient(tracking_uri=home.tracking_uri)
    experiment = client.get_run(trained.run_id).info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{trained.run_id}'")
    assert {each.data.params["num_leaves"]: each.data.metrics.get("validation.loss") for each in children} == {
        "4": None,
        "5": 0.49,
        "6": 0.48,
    }
    assert {each.info.status for each in children} == {"FINISHED"}


def test_the_bundle_is_what_the_architecture_says(trained: Trained, data: TrainingSet, home: Settings) -> None:
    assert trained.promoted
    assert trained.bundle == home.models / "synthetic" / trained.card.version
    assert {each.name for each in trained.bundle.iterdir()} == {*bundle.FILES, membership.FILE, "environment.json"}
    day = f"{trained.card.trained_at:%Y%m%d}"
    assert trained.card.version.startswith(f"{day}-{trained.card.model_sha256[:8]}")
    assert load_card(trained.bundle / "card.json") == trained.card
    pointer = json.loads((home.models / "synthetic" / "champion.json").read_text())
    assert pointer == {"version": trained.card.version, "former": []}
    reference = pl.read_parquet(trained.bundle / "reference.parquet")
    assert reference.columns == [each.ref for each in data.features] and 0 < len(reference) <= 5_000
    assert set(reference["x:city"]) == {"Bergen", "Lyon", "Porto", "Turin"}
    assert reference["x:b"].null_count() > 0 and column_name("x:b") in data.columns


def test_what_the_gates_refuse_is_registered_but_not_promoted(
    trained: Trained, refused: Trained, home: Settings, client: Any
) -> None:
    assert not refused.promoted and any(each.refuses for each in refused.gates)
    assert "Not shown to beat its baseline" in refused.card.headline.split(";")[0]
    name = track.model_name("synthetic")
    assert client.get_model_version_by_alias(name, track.CHAMPION).run_id == trained.run_id
    assert client.get_model_version_by_alias(name, track.CHALLENGER).run_id == refused.run_id
    assert {each.run_id for each in client.search_model_versions(f"name = '{name}'")} == {
        trained.run_id,
        refused.run_id,
    }
    assert bundle.champion(home.models, "synthetic") == trained.card
    listed = [(card.version, served) for card, served in bundle.cards(home.models)]
    assert listed == [(trained.card.version, True), (refused.card.version, False)]


def test_a_reader_sees_the_old_champion_or_the_new_one(trained: Trained, refused: Trained, home: Settings) -> None:
    """While the pointer goes to and fro three hundred times, every reading of it finds a whole card of the two."""
    versions = [trained.card.version, refused.card.version]
    stop = threading.Event()
    seen: set[str] = set()
    failures: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(bundle.champion(home.models, "synthetic").version)
            except Exception as error:  # noqa: BLE001  the edge of a thread: the test looks at it
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(301):
        bundle.point(home.models, "synthetic", versions[i % 2])
    stop.set()
    reader.join()
    assert failures == [] and seen == set(versions)
    assert bundle.champion(home.models, "synthetic").version == trained.card.version
    left = {each.name for each in (home.models / "synthetic").iterdir() if each.name.startswith(".")}
    assert left == {".lock"}


def test_no_champion_yet_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="kairos train churn"):
        bundle.champion(tmp_path, "churn")


def test_what_cannot_be_learnt_leaves_nothing_behind(data: TrainingSet, tmp_path: Path) -> None:
    one_class = dataclasses.replace(data, test=dataclasses.replace(data.test, y=np.zeros(len(data.test))))
    with pytest.raises(NotEnoughData, match="synthetic: the test split holds 0 positive"):
        pipeline.train(one_class, Settings(home=tmp_path), plan=Plan(trials=0))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_is_closed_as_failed(
    data: TrainingSet, home: Settings, trained: Trained, client: Any, tmp_path: Path
) -> None:
    """The disk refuses the bundle: a file stands where its folder should be."""
    (tmp_path / "models").touch()
    elsewhere = dataclasses.replace(home, home=tmp_path, mlflow_uri=home.tracking_uri)
    with pytest.raises(OSError, match="models"):
        pipeline.train(data, elsewhere, plan=Plan(trials=0))
    runs = client.search_runs([client.get_run(trained.run_id).info.experiment_id])
    assert [each.info.status for each in runs].count("FAILED") == 1
    champion = client.get_model_version_by_alias(track.model_name("synthetic"), track.CHAMPION)
    assert champion.run_id == trained.run_id


def test_under_mlflow_run_its_own_run_and_store_are_used(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`MLFLOW_RUN_ID` names a run in MLflow's store: that is where figures go, whatever Kairos is set to."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'theirs.sqlite'}"
    theirs = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = theirs.create_experiment("theirs", artifact_location=(tmp_path / "theirs").as_uri())
    parent = theirs.create_run(experiment)
    theirs.log_param(parent.info.run_id, "problem", "synthetic")
    everything = theirs.create_run(experiment)
    theirs.log_param(everything.info.run_id, "problem", "all")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    settings = Settings(home=tmp_path / "ours", mlflow_uri=f"sqlite:///{tmp_path / 'ours.sqlite'}")

    monkeypatch.setenv("MLFLOW_RUN_ID", parent.info.run_id)
    trained = pipeline.train(data, settings, plan=Plan(trials=0))
    assert trained.run_id == parent.info.run_id
    assert theirs.get_run(trained.run_id).data.metrics["auc"] == trained.card.metric("auc").value
    assert theirs.get_run(trained.run_id).info.status == "RUNNING", "MLflow ends its own run"

    monkeypatch.setenv("MLFLOW_RUN_ID", everything.info.run_id)
    child = theirs.get_run(pipeline.train(data, settings, plan=Plan(trials=0)).run_id)
    assert child.data.tags["mlflow.parentRunId"] == everything.info.run_id and child.info.status == "FINISHED"
    assert os.environ["MLFLOW_TRACKING_URI"] == uri
    assert not (tmp_path / "ours.sqlite").exists()


def test_every_entry_point_of_the_project_is_a_verb() -> None:
    import yaml

    entries = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    assert entries.keys() == {"features", "train", "table", "reproduce", "materialise", "report"}
    for entry in entries.values():
        defaults = {
            name: dict(each).get("default", "") for name, each in entry["parameters"].items() if each != "string"
        }
        defaults |= {name: "x" for name, each in entry["parameters"].items() if each == "string"}
        verb = entry["command"].format(**defaults).split(" --")[0].split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "kairos", *verb, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for option in (word for word in entry["command"].split() if word.startswith("--")):
            assert option in done.stdout
