"""One Redis server, or the servers of a Redis Cluster: reads, scripts and removals of many keys in few round trips.

`redis://host:port/db` (`rediss://` with TLS) is one server, `redis+cluster://host:port` (`rediss+cluster://`) any node
of a cluster. Nothing is connected before the first use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import redis
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from features.kernel.errors import InvalidSetting, Unavailable
from features.packed.cluster import Cluster
from features.packed.scripts import Script
from features.packed.wire import CONNECTION, Reply, Wire, overlapped, packed, scan

__all__ = ["Servers", "open_servers", "redis_errors"]

KEYS_A_SCRIPT = 100
"""Keys of one script call: the server serves nobody else meanwhile, about half a millisecond."""
KEYS_AT_ONCE = 1_000
"""Keys of one read or removal."""


class Servers(Protocol):
    """What the store needs of Redis. Every method raises `redis.exceptions.RedisError`; see `redis_errors`."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in one round trip; None where there is none."""

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes]) -> list[int]:
        """A script's number for each key. `args` has one for each key, or one for all."""

    def unlink(self, keys: Sequence[bytes]) -> int:
        """Remove keys; returns how many there were."""

    def scan(self, prefix: bytes) -> Iterator[list[bytes]]:
        """All keys that begin so, in batches; some may come twice."""

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""


def open_servers(url: str) -> Servers:
    """The server or the cluster at a URL.

    Raises:
        InvalidSetting: it is no such URL.
    """
    try:
        return Cluster(url.replace("+cluster:", ":", 1)) if "+cluster:" in url else _Single(url)
    except ValueError:
        remedy = "write redis://host:port/0, or redis+cluster://host:port"
        raise InvalidSetting("is no URL of Redis", field="KAIROS_REDIS_URL", value=url, remedy=remedy) from None


@contextlib.contextmanager
def redis_errors() -> Iterator[None]:
    """Turn errors of Redis into `Unavailable`."""
    try:
        yield
    except (RedisError, RedisClusterException) as error:
        remedy = "check KAIROS_REDIS_URL, or start Kairos with `kairos up`, which brings its own"
        raise Unavailable(f"the online store cannot be reached: {error}", remedy=remedy) from error


class _Single:
    def __init__(self, url: str) -> None:
        self._wire = Wire(redis.ConnectionPool.from_url(url, **CONNECTION).make_connection)

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if len(keys) == 1:
            return _whole(self._wire.exchange(packed([(b"GET", keys[0])])))
        found: list[bytes | None] = []
        for i in range(0, len(keys), KEYS_AT_ONCE):
            found += _whole(self._wire.exchange(packed([(b"MGET", *keys[i : i + KEYS_AT_ONCE])])))[0]
        return found

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes]) -> list[int]:
        parts = [slice(i, i + KEYS_A_SCRIPT) for i in range(0, len(keys), KEYS_A_SCRIPT)]

        def call(part: slice) -> bytes:
            some = keys[part]
            return packed([(b"EVALSHA", script.sha, len(some), *some, *(args[part] if len(args) > 1 else args))])

        found: list[int] = []
        rounds = overlapped([self._wire.begin(call(part), 1)] for part in parts)
        for part, [[reply]] in zip(parts, rounds, strict=True):
            if isinstance(reply, NoScriptError):  # first use, or the server was restarted
                _whole(self._wire.exchange(script.load))
                [reply] = self._wire.exchange(call(part))
            found += _whole([reply])[0]
        return found

    def unlink(self, keys: Sequence[bytes]) -> int:
        parts = (keys[i : i + KEYS_AT_ONCE] for i in range(0, len(keys), KEYS_AT_ONCE))
        return sum(_whole(self._wire.exchange(packed([(b"UNLINK", *part)])))[0] for part in parts)

    def scan(self, prefix: bytes) -> Iterator[list[bytes]]:
        return scan(self._wire, prefix)

    def close(self) -> None:
        self._wire.close()


def _whole(replies: list[Reply]) -> list[Reply]:
    """The replies, none of which is an error."""
    for each in replies:
        if isinstance(each, RedisError):
            raise each
    return replies
