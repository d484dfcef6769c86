"""What several test files share: servers, and one small turn of the loop, each made once for those who need it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, text

from features.redis_server import RedisServer

settings.load_profile("ci")  # the same examples every time, here as in the gate

if TYPE_CHECKING:
    from cli.demo.small import SmallLoop


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real `redis-server` for the session."""
    with RedisServer() as server:
        yield server.url


@pytest.fixture
def own_redis_url() -> Iterator[str]:
    """A `redis-server` of the test's own: nobody else's customers are in it."""
    with RedisServer() as server:
        yield server.url


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> SmallLoop:
    """The demo's stations up to the service, on a small market. What a test adds to its home, others see."""
    from cli.demo.small import small_loop  # not before it is asked for: it imports most of Kairos

    return small_loop(tmp_path_factory.mktemp("loop"), redis_url)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own on a free port, where its programs are installed."""
    if not (shutil.which("initdb") and shutil.which("postgres")):
        pytest.skip("PostgreSQL's programs initdb and postgres are not on the PATH")
    user = {"user": "nobody"} if os.geteuid() == 0 else {}  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="kairos-pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, "nobody")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    make = [
        "initdb",
        "-D",
        str(folder / "data"),
        "-U",
        "kairos",
        "-A",
        "trust",
        "--no-sync",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    subprocess.run(make, check=True, capture_output=True, cwd="/", **user)  # type: ignore[call-overload]
    run = ["postgres", "-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(run, cwd="/", stderr=log, **user)  # type: ignore[call-overload]
    try:
        for _ in range(100):
            if "ready to accept connections" in (folder / "log").read_text():
                break
            time.sleep(0.1)
        yield f"postgresql+psycopg://kairos@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        server.wait(20)
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    server: str = request.getfixturevalue("postgres")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"ledger_{uuid.uuid4().hex}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.removesuffix("postgres") + name
