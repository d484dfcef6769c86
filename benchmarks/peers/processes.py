"""Servers as real processes on loopback, started, waited for and stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from features.kernel.processes import child, listens

__all__ = ["peak_mb", "script", "serving"]


def script(name: str) -> str:
    """A command that was installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def serving(command: Sequence[str], *, port: int, log: Path, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server until left; yields its address once it listens. Its messages go to `log`.

    Raises:
        Unavailable: it ended, or did not listen within two minutes; the message ends with its log.
    """
    with child(command, name=log.stem, ready=lambda: listens(port), env=env, log=log, patience=120.0):
        yield f"http://127.0.0.1:{port}"


def peak_mb(pid: int | str) -> float:
    """The most memory a process has had, in MB; Linux only."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peak) / 1024
