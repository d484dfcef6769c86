"""A client of MLflow that gives up within seconds, and MLflow's errors as ours; only `track` uses it."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from features.kernel.errors import Unavailable
from features.kernel.settings import Settings, quiet_libraries

__all__ = ["connect", "door"]

PATIENCE = 10
"""Seconds MLflow may take to answer once; `MLFLOW_HTTP_REQUEST_TIMEOUT` sets another bound."""
_BOUNDS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_SAID = 200
"""Characters of MLflow's own message, which may hold a whole response."""
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


@contextmanager
def door() -> Iterator[None]:
    """Around every use of MLflow: its errors as ours, its patience bounded, no warning our caller could not act on.

    MLflow's mappers use a loader strategy that SQLAlchemy 2.1 deprecates.
    """
    quiet_libraries()
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    with warnings.catch_warnings(), _variables(_BOUNDS):
        warnings.filterwarnings("ignore", message=".*``noload`` loader strategy.*")
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            said = " ".join(str(error).split())[:_SAID]
            raise Unavailable(f"cannot be used: {said}", field="MLflow", remedy="check KAIROS_MLFLOW_URI") from error


def connect(settings: Settings) -> Any:
    """MLflow's client, after MLflow has answered it once; call within `door`."""
    for name in ("alembic", "mlflow.store.db.utils"):  # a new database would tell of each of its migrations
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient, get_tracking_uri  # noqa: PLC0415

    uri = get_tracking_uri() if os.environ.get("MLFLOW_RUN_ID") else settings.tracking_uri
    if uri.startswith(("sqlite", *_PORTS)):
        _reach(uri)
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / ".mlflow.lock").open("w") as lock, _variables({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}):
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that make one database at once would make it twice
        client = MlflowClient(tracking_uri=uri, registry_uri=None if os.environ.get("MLFLOW_RUN_ID") else uri)
        client.get_experiment_by_name("kairos")
    return client


def _reach(uri: str) -> None:
    """Whether a database answers: MLflow itself asks ten times, for minutes, and a firewall may never say no."""
    url = make_url(uri)
    if url.host:
        port = url.port or _PORTS[url.get_backend_name()]
        socket.create_connection((url.host, port), timeout=PATIENCE).close()
    elif url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


@contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """Environment variables meanwhile, but for those that somebody other than us has set."""
    before = {name: os.environ.get(name) for name in wanted}
    ours = [name for name, value in before.items() if value in (None, _BOUNDS[name])]
    os.environ.update({name: wanted[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            if (value := before[name]) is None:
                del os.environ[name]
            else:
                os.environ[name] = value
