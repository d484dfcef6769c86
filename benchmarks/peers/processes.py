"""Servers as real processes on loopback, started, waited for and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from features.kernel.errors import Unavailable

__all__ = ["free_port", "script", "serving"]

_STOPS_WITHIN = 20.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def script(name: str) -> str:
    """A command that was installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def serving(
    command: Sequence[str], *, port: int, log: Path, env: Mapping[str, str] | None = None, patience: float = 120.0
) -> Iterator[str]:
    """Run a server until left; yields its address once it listens. Its messages go to `log`.

    Raises:
        Unavailable: it ended, or did not listen within `patience` seconds; the message ends with its log.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, env=os.environ | dict(env or {}), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_until_it_listens(process, port, log, patience)
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(process)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    tail = log.read_text(errors="replace")[-2000:]
    raise Unavailable(f"did not start; its log ends:\n{tail}", field=log.stem)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole session the server began: some servers have workers of their own."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, what)
            try:
                process.wait(_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                continue
    process.wait()
