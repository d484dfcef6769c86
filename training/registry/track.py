"""The one door to MLflow: a run and its children, a registered version, the aliases `champion` and `challenger`.

Works through a client of its own and changes nothing global. Under `mlflow run` (`MLFLOW_RUN_ID` is set) the run that
MLflow opened is used, wherever MLflow keeps it (`KAIROS_MLFLOW_URI` does not apply there); training all problems in it
gives each a child run.

A version is the last thing that is written, when its run holds every file: whatever interrupts `send`, no version
lacks its files, and calling it again goes on where it was. Who cannot reach MLflow is told so within seconds: MLflow's
own patience is minutes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from features.kernel.clock import now, to_micros
from features.kernel.errors import NotFound
from features.kernel.settings import Settings
from training.fitted import Trial
from training.registry import mlmodel
from training.registry.mlflow_client import connect, door
from training.registry.record import Record

__all__ = ["CHALLENGER", "CHAMPION", "VERSION_TAG", "Run", "Sent", "fetch", "mirror", "model_name", "send", "start"]

CHAMPION, CHALLENGER = "champion", "challenger"
EXPERIMENT = "kairos"
VERSION_TAG = "kairos.version"
"""On a registered version: the name of its bundle."""
_RECORD_TAG = "kairos.record"


def model_name(problem: str) -> str:
    """The name a problem's models are registered under."""
    return f"kairos-{problem}"


@dataclass(frozen=True, slots=True)
class Run:
    """An MLflow run that is open."""

    run_id: str
    uri: str
    """The tracking URI where it is."""
    ours: bool
    """Whether it is ours to end, or that of `mlflow run`."""
    _client: Any

    def close(self, status: str) -> None:
        """End the run as `FAILED` or `KILLED`; one that MLflow itself opened is left for it to end.

        Raises:
            Unavailable: MLflow cannot be used.
        """
        if self.ours:
            with door():
                self._client.set_terminated(self.run_id, status, _millis())


@dataclass(frozen=True, slots=True)
class Sent:
    """What MLflow made of a record."""

    run_id: str
    number: str
    """MLflow's own number of the version."""


def start(problem: str, settings: Settings) -> Run:
    """Open a run, or take the one `mlflow run` opened.

    Raises:
        Unavailable: the tracking server or database cannot be used.
    """
    with door():
        client = connect(settings)
        given = os.environ.get("MLFLOW_RUN_ID", "")
        if not given:
            run, ours = client.create_run(_experiment(client, settings), _millis(), run_name=problem), True
        elif (parent := client.get_run(given)).data.params.get("problem", problem) == problem:
            run, ours = parent, False
        else:
            tags = {"mlflow.parentRunId": given}
            run, ours = client.create_run(parent.info.experiment_id, _millis(), tags, run_name=problem), True
        return Run(run.info.run_id, client.tracking_uri, ours, client)


def send(record: Record, files: Path, settings: Settings) -> Sent:
    """Tell MLflow all of a record, register the version last, and end the run; twice is as good as once.

    Args:
        files: the folder of what becomes the artifact `model`; gets an `MLmodel`.

    Raises:
        Unavailable: MLflow cannot be used; what it took so far is gone on with next time.
    """
    with door():
        client = connect(settings)
        run = _run_of(client, record, settings)
        record = msgspec.structs.replace(record, run_id=run.info.run_id)
        _log(client, record)
        _log_trials(client, record, run.info.experiment_id)
        mlmodel.write(files, record)
        client.log_artifacts(record.run_id, str(files), mlmodel.FOLDER)
        number = _register(client, record, f"{run.info.artifact_uri}/{mlmodel.FOLDER}")
        if record.run_id != os.environ.get("MLFLOW_RUN_ID"):
            client.set_terminated(record.run_id, "FINISHED", record.at)
    return Sent(record.run_id, number)


def mirror(problem: str, aliases: Mapping[str, str], tags: Mapping[str, Mapping[str, str]], settings: Settings) -> None:
    """Let MLflow's aliases say what the pointer on disk says.

    Args:
        aliases: version by alias; an empty one takes the alias away. A version that was never sent leaves it as it is.
        tags: further tags by version: who promoted it, when and why.

    Raises:
        Unavailable: MLflow cannot be used.
    """
    name = model_name(problem)
    with door():
        client = connect(settings)
        numbers = _numbers(client, name)
        for alias, version in aliases.items():
            if version in numbers:
                client.set_registered_model_alias(name, alias, numbers[version])
            elif not version and numbers:
                client.delete_registered_model_alias(name, alias)
        for version, told in tags.items():
            for key, value in told.items() if version in numbers else ():
                client.set_model_version_tag(name, numbers[version], key, value)


def fetch(run_id: str, names: Iterable[str], folder: Path, settings: Settings) -> None:
    """Put files of a run's artifact `model` into a folder; those that it does not hold are left out.

    Raises:
        NotFound: MLflow knows no such run, or it holds no model.
        Unavailable: MLflow cannot be used.
    """
    with door():
        client = connect(settings)
        experiments = [each.experiment_id for each in client.search_experiments()]
        runs = client.search_runs(experiments, f"attributes.run_id = '{run_id}'") if run_id.isalnum() else []
        held = {Path(each.path).name for each in client.list_artifacts(run_id, mlmodel.FOLDER)} if runs else set()
        if not held:
            raise NotFound(
                "holds no model that Kairos trained", field="run", value=run_id, remedy="see `kairos models list`"
            )
        with tempfile.TemporaryDirectory(prefix="kairos-") as scratch:
            for name in held.intersection(names):
                path = client.download_artifacts(run_id, f"{mlmodel.FOLDER}/{name}", scratch)
                shutil.copyfile(path, folder / name)


def _experiment(client: Any, settings: Settings) -> str:
    """Id of Kairos' experiment; a local database keeps its files in `home`, a server where it likes."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    local = settings.tracking_uri.startswith("sqlite")
    folder = (settings.home / "artifacts").resolve().as_uri() if local else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=folder))


def _run_of(client: Any, record: Record, settings: Settings) -> Any:
    """The run that was opened for the record, in this MLflow, or one that an earlier sending began, or a new one."""
    if record.run_id and record.uri == client.tracking_uri:
        return client.get_run(record.run_id)
    experiment = _experiment(client, settings)
    begun = client.search_runs([experiment], f"tags.`{_RECORD_TAG}` = '{record.id}'")
    tags = {_RECORD_TAG: record.id}
    return begun[0] if begun else client.create_run(experiment, record.at, tags, run_name=record.problem)


def _log(client: Any, record: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag  # noqa: PLC0415

    client.log_batch(
        record.run_id,
        metrics=[Metric(name, value, record.at, 0) for name, value in record.figures.items()],
        params=[Param(name, value) for name, value in record.parameters.items()],
        tags=[RunTag(name, value) for name, value in (record.tags | {_RECORD_TAG: record.id}).items()],
    )
    inputs = [
        DatasetInput(
            Dataset(each.name, each.digest, "kairos", each.source, each.schema, each.profile),
            [InputTag("mlflow.data.context", each.context)],
        )
        for each in record.inputs
    ]
    client.log_inputs(record.run_id, datasets=inputs)


def _log_trials(client: Any, record: Record, experiment: str) -> None:
    """A child run for every trial that has none yet."""
    if not record.trials:
        return
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{record.run_id}'", max_results=10_000)
    there = {each.data.tags.get(_RECORD_TAG, "") for each in children if each.info.status != "RUNNING"}
    for trial in record.trials:
        if (key := f"{record.id}/{trial.number}") not in there:
            _log_trial(client, record, trial, experiment, key)


def _log_trial(client: Any, record: Record, trial: Trial, experiment: str, key: str) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    tags = {"mlflow.parentRunId": record.run_id, _RECORD_TAG: key, "state": trial.state}
    run = client.create_run(experiment, record.at, tags, run_name=f"{record.problem} trial {trial.number}")
    loss = [] if trial.loss is None else [Metric("validation.loss", trial.loss, record.at, 0)]
    parameters = [Param(name, str(value)) for name, value in trial.parameters.items()]
    client.log_batch(run.info.run_id, metrics=loss, params=parameters)
    client.set_terminated(run.info.run_id, "FINISHED", record.at)


def _register(client: Any, record: Record, source: str) -> str:
    """MLflow's number of the record's version, which is made if there is none."""
    name = model_name(record.problem)
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name, description=f"Kairos: {record.problem}")
    known = _numbers(client, name)
    if record.version in known:
        return known[record.version]
    told = ("problem", "kind", "data_hash", "model_sha256")
    tags = {VERSION_TAG: record.version} | {key: record.tags[key] for key in told}
    tags |= {key: value for key, value in record.tags.items() if key.startswith("gate.")}
    made = client.create_model_version(
        name, source, record.run_id, tags=tags, description=record.headline, await_creation_for=0
    )
    return str(made.version)


def _numbers(client: Any, name: str) -> dict[str, str]:
    """MLflow's number of each version that Kairos registered."""
    found = client.search_model_versions(f"name = '{name}'", max_results=10_000)
    return {each.tags[VERSION_TAG]: str(each.version) for each in found if VERSION_TAG in each.tags}


def _millis() -> int:
    return to_micros(now()) // 1000
