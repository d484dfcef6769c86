"""The servers that are compared over HTTP, each a real process on loopback, one worker a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import features
from benchmarks.clients import Chain, Floor, Kairos
from benchmarks.peers import floor
from benchmarks.peers.processes import script, serving
from benchmarks.world import PROBLEM, World
from features.kernel.card import column_name
from features.kernel.processes import free_port
from features.kernel.settings import quiet_libraries
from serving.score import matrix

__all__ = ["CHAIN", "FLOOR", "KAIROS", "chain", "kairos", "naive_floor"]

KAIROS: dict[str, Any] = {"server": "kairos serve, 1 worker", "log_of_scores": "all"}
CHAIN: dict[str, Any] = {
    "feast": f"{version('feast')}: feast serve, 1 worker, no access log, no worker restarts, registry kept 1 h",
    "mlflow": f"{version('mlflow')}: mlflow models serve, 1 worker, local environment, LightGBM with 1 thread",
}
FLOOR: dict[str, Any] = {"server": "uvicorn, uvloop, httptools, 1 worker; HMGET, Booster.predict with 1 thread"}


@contextmanager
def kairos(world: World) -> Iterator[Kairos]:
    """The service itself, as `kairos serve` runs it."""
    port = free_port()
    command = [sys.executable, "-m", "kairos", "serve", "--port", str(port)]
    with serving(command, port=port, log=world.folder / "kairos.log", env=world.env) as address:
        yield Kairos(address, PROBLEM)


@contextmanager
def chain(world: World) -> Iterator[Chain]:
    """A Feast feature server over the same repository and Redis, and an MLflow server of the same booster."""
    ports = free_port(), free_port()
    card = world.bundle.card
    feast = [script("feast"), "-c", str(Path(features.__file__).parent), "serve", "--port", str(ports[0])]
    feast += ["--no-access-log", "--max-requests", "0", "--registry_ttl_sec", "3600", "--workers", "1"]
    mlflow = [script("mlflow"), "models", "serve", "--model-uri", str(_pyfunc(world)), "--port", str(ports[1])]
    mlflow += ["--env-manager", "local", "--workers", "1", "--host", "127.0.0.1"]
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # mlflow runs `uvicorn`
    env = world.env | {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": beside_python}
    with ExitStack() as running:
        first = running.enter_context(serving(feast, port=ports[0], log=world.folder / "feast.log", env=env))
        second = running.enter_context(serving(mlflow, port=ports[1], log=world.folder / "mlflow.log", env=env))
        columns = tuple(column_name(each.ref) for each in card.features)
        codes = {column_name(ref): codes for _, ref, codes in world.bundle.categories}
        yield Chain(first, second, world.bundle.refs, columns, codes)


def _pyfunc(world: World) -> Path:
    """The world's booster as an MLflow model with a signature, so that its server knows missing numbers."""
    quiet_libraries()
    import lightgbm  # noqa: PLC0415
    import mlflow.lightgbm  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    columns = Schema([ColSpec("double", column_name(each.ref)) for each in world.bundle.card.features])
    path = world.folder / "pyfunc"
    mlflow.lightgbm.save_model(
        lightgbm.Booster(model_file=str(world.model)),
        str(path),
        signature=mlflow.models.ModelSignature(inputs=columns),
        pip_requirements=[],
    )
    return path


@contextmanager
def naive_floor(world: World) -> Iterator[Floor]:
    """A bare ASGI app over hashes that hold the model's inputs as they are."""
    refs = [each.ref for each in world.bundle.card.features]
    values = world.store.read_vectors(list(world.customers), refs).values
    inputs = matrix(world.bundle, [dict(zip(refs, row, strict=True)) for row in values])
    floor.fill(world.settings.redis_url, dict(zip(world.customers, np.asarray(inputs).tolist(), strict=True)))
    port = free_port()
    command = [script("uvicorn"), "benchmarks.peers.floor:factory", "--factory", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    env = {"FLOOR_REDIS": world.settings.redis_url, "FLOOR_MODEL": str(world.model), "OMP_NUM_THREADS": "1"}
    with serving(command, port=port, log=world.folder / "floor.log", env=env) as address:
        yield Floor(address)
