"""The one door to MLflow: a run with its parameters, figures and files, a registered version, the alias `champion`.

Works through a client of its own and changes nothing global. Under `mlflow run` (`MLFLOW_RUN_ID` is set) the run that
MLflow opened is used, wherever MLflow keeps it (`KAIROS_MLFLOW_URI` does not apply there); training all problems in it
gives each a child run.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.exc import SQLAlchemyError

from features.kernel.card import Card
from features.kernel.clock import now, to_micros
from features.kernel.errors import GateRefused, Unavailable
from features.kernel.settings import Settings, quiet_libraries
from training.gate import Finding
from training.trainingset import TrainingSet

__all__ = ["CHAMPION", "Run", "model_name", "start"]

CHAMPION = "champion"
EXPERIMENT = "kairos"
_FOLDER = "model"


def model_name(problem: str) -> str:
    """The name a problem's models are registered under."""
    return f"kairos-{problem}"


@dataclass(frozen=True, slots=True)
class Run:
    """One MLflow run and the version registered for it. Methods raise `Unavailable` if MLflow cannot be used."""

    run_id: str
    problem: str
    number: str
    """MLflow's number of the registered version."""
    _client: Any
    _ours: bool

    def log(self, parameters: Mapping[str, object], figures: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Log parameters, figures and tags at once."""
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

        at = to_micros(now()) // 1000
        with _door():
            self._client.log_batch(
                self.run_id,
                metrics=[Metric(name, float(value), at, 0) for name, value in figures.items()],
                params=[Param(name, str(value)) for name, value in parameters.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )

    def log_dataset(self, data: TrainingSet) -> None:
        """Log the training set by its hash."""
        from mlflow.entities import Dataset, DatasetInput  # noqa: PLC0415

        dataset = Dataset(
            name=data.problem.name, digest=data.data_hash[:32], source_type="kairos", source=data.data_hash
        )
        with _door():
            self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset)])

    def log_files(self, folder: Path, card: Card) -> None:
        """Log every file of the folder, with an `MLmodel` that lets MLflow's LightGBM flavour load the text model."""
        (folder / "MLmodel").write_text(yaml.safe_dump(_mlmodel(self.run_id, card), sort_keys=False))
        with _door():
            self._client.log_artifacts(self.run_id, str(folder), _FOLDER)

    def promote(self, findings: Iterable[Finding]) -> None:
        """Give the version the alias `champion`.

        Raises:
            GateRefused: a gate refuses it; the message names the gate and its figure.
        """
        for finding in findings:
            if finding.refuses:
                raise GateRefused(f"gate {finding.code} '{finding.title}' failed: {finding.figure}", field=self.problem)
        with _door():
            self._client.set_registered_model_alias(model_name(self.problem), CHAMPION, self.number)

    def close(self, status: str = "FINISHED") -> None:
        """End the run; one that MLflow itself opened is left for it to end."""
        if not self._ours:
            return
        with _door():
            self._client.set_terminated(self.run_id, status)


def start(problem: str, settings: Settings) -> Run:
    """Open a run (or take the one `mlflow run` opened) and register a version for what it will hold.

    Raises:
        Unavailable: the tracking server or database cannot be reached.
    """
    with _door():
        client = _client(settings)
        run, ours = _run(client, problem, settings)
        name = model_name(problem)
        if not client.search_registered_models(filter_string=f"name = '{name}'"):
            client.create_registered_model(name, description=f"Kairos: {problem}")
        source = f"{run.info.artifact_uri}/{_FOLDER}"
        version = client.create_model_version(name, source=source, run_id=run.info.run_id, await_creation_for=0)
    return Run(run.info.run_id, problem, str(version.version), client, ours)


@contextmanager
def _door() -> Iterator[None]:
    """MLflow's errors as ours, and without a warning that our caller could not act on.

    MLflow's mappers use a loader strategy that SQLAlchemy 2.1 deprecates.
    """
    quiet_libraries()
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*``noload`` loader strategy.*")
        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            raise Unavailable(
                f"MLflow cannot be used: {error}", field="MLflow", remedy="check KAIROS_MLFLOW_URI"
            ) from error


def _run(client: Any, problem: str, settings: Settings) -> tuple[Any, bool]:
    """A run, and whether it is ours to end: under `mlflow run` its own, or a child of it if it is not for us alone."""
    given = os.environ.get("MLFLOW_RUN_ID", "")
    if not given:
        return client.create_run(_experiment(client, settings), run_name=problem), True
    parent = client.get_run(given)
    if parent.data.params.get("problem", problem) == problem:
        return parent, False
    tags = {"mlflow.parentRunId": given}
    return client.create_run(parent.info.experiment_id, run_name=problem, tags=tags), True


def _client(settings: Settings) -> Any:
    for name in ("alembic", "mlflow.store.db.utils"):  # a new database would tell of each of its migrations
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient  # noqa: PLC0415

    if os.environ.get("MLFLOW_RUN_ID"):
        return MlflowClient()
    settings.home.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def _experiment(client: Any, settings: Settings) -> str:
    """Id of Kairos' experiment; a local database keeps its files in `home`, a server where it likes."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    local = settings.tracking_uri.startswith("sqlite")
    folder = (settings.home / "artifacts").resolve().as_uri() if local else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=folder))


def _mlmodel(run_id: str, card: Card) -> dict[str, Any]:
    import lightgbm  # noqa: PLC0415
    import mlflow  # noqa: PLC0415

    return {
        "artifact_path": _FOLDER,
        "run_id": run_id,
        "utc_time_created": card.trained_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "mlflow_version": mlflow.__version__,
        "flavors": {
            "lightgbm": {
                "lgb_version": lightgbm.__version__,
                "data": "model.txt",
                "model_class": "lightgbm.basic.Booster",
            },
            "python_function": {"loader_module": "mlflow.lightgbm"},
            "kairos": {"model": "model.txt", "card": "card.json", "version": card.version},
        },
    }
