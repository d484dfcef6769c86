"""Child processes: started, waited for until they answer, ended with all they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx

from features.kernel.errors import Unavailable

__all__ = ["answers", "child", "free_port", "listens", "stop"]

_STOPS_WITHIN = 20.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether a connection to the loopback port is taken."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return httpx.get(url, timeout=2.0).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def child(
    command: Sequence[str],
    *,
    name: str,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    patience: float = 90.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until left; yields it once `ready()`.

    It gets a session of its own: Ctrl-C reaches Kairos alone, which ends the child when nothing needs it any more.

    Args:
        name: what it is called in an error.
        env: variables beside those of this process.
        log: where its output goes; where ours goes, if None.

    Raises:
        Unavailable: it ended or was not ready within `patience` seconds; the message ends with its log.
    """
    with log.open("ab") if log else nullcontext() as out:
        variables = os.environ | dict(env or {})
        process = subprocess.Popen(command, env=variables, stdout=out, stderr=out, start_new_session=True)
    try:
        _wait(process, ready, patience, name, log)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], *, within: float = _STOPS_WITHIN) -> None:
    """End a child and its whole session: politely, then for good."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, what)
            try:
                process.wait(within)
            except subprocess.TimeoutExpired:
                continue
    process.wait()


def _wait(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], patience: float, name: str, log: Path | None
) -> None:
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            return
        time.sleep(0.1)
    ended = process.poll()
    what = f"was not ready within {patience:.0f} s" if ended is None else f"ended at once with code {ended}"
    tail = "; see its message above" if log is None else f"; its log ends:\n{log.read_text(errors='replace')[-2000:]}"
    raise Unavailable(what + tail, field=name)
