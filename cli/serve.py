"""`kairos serve`: the HTTP service."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from typing import Annotated

import typer
import uvicorn

from cli import console
from features.kernel.settings import Settings
from features.redis_server import RedisServer

__all__ = ["run"]


def run(
    host: Annotated[str, typer.Option(help="Address to listen on; KAIROS_HOST if not given.")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on; KAIROS_PORT if not given.", min=0, max=65535)] = 0,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1)] = 1,
) -> None:
    """Serve scores, reasons and decisions over HTTP until Ctrl-C.

    The API is described at /docs. The service takes events into the ledger; `kairos ingest` keeps features fresh.
    Without KAIROS_REDIS_URL a Redis of its own is started, which is empty at first and ends with the service: use
    `kairos up`, or run `kairos ingest` from another terminal with the URL that is printed.

    Example:

        kairos serve
        KAIROS_REDIS_URL=redis://127.0.0.1:6379/0 kairos serve --port 9000 --workers 2
    """
    settings = Settings.from_env()
    host, port = host or settings.host, port or settings.port
    signal.signal(signal.SIGTERM, _stop)
    with nullcontext() if settings.redis_url else RedisServer() as server:
        if server is not None:
            os.environ["KAIROS_REDIS_URL"] = server.url  # workers read their settings from the environment
        console.err.print(f"Kairos at http://{host}:{port} (API: /docs)", markup=False)
        if server is not None:
            console.err.print(f"Redis at {server.url}", markup=False)
        uvicorn.run(
            "serving.app:from_env",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_level="warning",
        )


def _stop(number: int, _: object) -> None:
    """Leave by the way of an exception, so that what was started is stopped; 128 + n is what a shell calls it."""
    raise SystemExit(128 + number)
