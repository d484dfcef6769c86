"""The service as a process of its own, started and stopped by the demo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx

from features.kernel.errors import Unavailable
from features.kernel.settings import Settings

__all__ = ["free_port", "running_service"]

_READY_WITHIN = 90.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_service(settings: Settings, *, redis_url: str, now: datetime, log: Path) -> Iterator[str]:
    """Run `kairos serve` at the instant `now` and yield its base URL; stop it when left.

    Raises:
        Unavailable: it did not become ready; the message ends with its log.
    """
    port = free_port()
    env = os.environ | {
        "KAIROS_HOME": str(settings.home),
        "KAIROS_REDIS_URL": redis_url,
        "KAIROS_NOW": now.isoformat(),
        "KAIROS_PORT": str(port),
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        command = [sys.executable, "-m", "kairos", "serve"]
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process, log)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=2.0).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    tail = log.read_text(errors="replace")[-2000:]
    raise Unavailable(f"the service did not become ready; its log ends:\n{tail}", field="kairos serve")
