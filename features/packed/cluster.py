"""A Redis Cluster: every key's command goes to the node that has its slot, in one round trip to all nodes at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import NoScriptError, RedisError

from features.packed.scripts import Script
from features.packed.wire import CONNECTION, Call, Reply, Wire, packed, scan

__all__ = ["Cluster"]

COMMANDS_AT_ONCE = 1_000
Command: TypeAlias = tuple[Any, ...]


class Cluster:
    """See `features.packed.servers.Servers`. Keys of one script call must share a slot, so each has a call of its own.

    redis-py finds out which node has which slots. What a node refuses (its slots are moving, it was replaced) is asked
    again after that was looked up anew, and then through redis-py, which follows redirections.
    """

    def __init__(self, url: str) -> None:
        redis.ConnectionPool.from_url(url)  # a wrong one is refused now, and not at the first use
        self._url = url
        self._opening = threading.Lock()
        self._opened: Any = None
        self._wires: dict[str, Wire] = {}

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key; None where there is none."""
        return self._all([("GET", key) for key in keys], keys)

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes]) -> list[int]:
        """A script's number for each key. `args` has one for each key, or one for all."""
        each = args if len(args) > 1 else [*args] * len(keys)
        commands = [("EVALSHA", script.sha, 1, key, arg) for key, arg in zip(keys, each, strict=True)]
        return [reply[0] for reply in self._all(commands, keys, script)]

    def unlink(self, keys: Sequence[bytes]) -> int:
        """Remove keys; returns how many there were."""
        return sum(self._all([("UNLINK", key) for key in keys], keys))

    def scan(self, prefix: bytes) -> Iterator[list[bytes]]:
        """All keys that begin so, in batches."""
        for node in self._client.get_primaries():
            yield from scan(self._wire(node), prefix)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._opening:
            wires, self._wires = self._wires, {}
            opened, self._opened = self._opened, None
        for wire in wires.values():
            wire.close()
        if opened is not None:
            opened.close()

    @property
    def _client(self) -> Any:  # its methods have no types
        with self._opening:
            if self._opened is None:
                self._opened = redis.RedisCluster.from_url(self._url, **CONNECTION)
            return self._opened

    def _wire(self, node: Any) -> Wire:
        wire = self._wires.get(node.name)
        if wire is None:
            pool = self._client.get_redis_connection(node).connection_pool
            wire = self._wires.setdefault(node.name, Wire(pool.make_connection))
        return wire

    def _all(self, commands: Sequence[Command], keys: Sequence[bytes], script: Script | None = None) -> list[Reply]:
        """A reply for each command."""
        found: dict[int, Reply] = {}
        for start in range(0, len(commands), COMMANDS_AT_ONCE):
            part = range(start, min(start + COMMANDS_AT_ONCE, len(commands)))
            found |= self._round(part, commands, keys, script)
            left = [i for i in part if isinstance(found[i], RedisError)]
            if any(not isinstance(found[i], NoScriptError) for i in left):
                self._client.nodes_manager.initialize()
            if left:
                found |= self._round(left, commands, keys, script)
            for i in left:
                if isinstance(found[i], RedisError):
                    found[i] = self._client.execute_command(*commands[i])
        return [found[i] for i in range(len(commands))]

    def _round(
        self, which: Sequence[int], commands: Sequence[Command], keys: Sequence[bytes], script: Script | None
    ) -> dict[int, Reply]:
        """Replies by index: an error where a node answered with one, or not at all."""
        nodes = self._client.nodes_manager
        by_node: dict[Any, list[int]] = {}
        for i in which:
            by_node.setdefault(nodes.get_node_from_slot(key_slot(keys[i])), []).append(i)
        calls: list[tuple[Wire, list[int], Call]] = []
        found: dict[int, Reply] = {}
        try:
            for node, mine in by_node.items():
                try:
                    wire = self._wire(node)
                    calls.append((wire, mine, wire.begin(packed(commands[i] for i in mine), len(mine))))
                except Unreachable as error:
                    found |= dict.fromkeys(mine, error)
            for wire, mine, call in calls:
                try:
                    found |= dict(zip(mine, call.result(), strict=True))
                    if script is not None and any(isinstance(found[i], NoScriptError) for i in mine):
                        wire.exchange(script.load)
                except Unreachable as error:
                    found |= dict.fromkeys(mine, error)
        finally:
            for _, _, call in calls:
                call.abandon()
        return found
