"""Commands and replies over pooled connections to one Redis server, without the layers of a client in between.

The connections are redis-py's own (address, login, TLS, time-outs, hiredis). What is left out is what its client does
around each command; that costs more than the command. Nothing sent here does harm when it is sent twice, so a
connection that went stale in the pool is replaced and the commands are sent again, once.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

__all__ = ["CONNECTION", "Call", "Reply", "Wire", "overlapped", "packed", "scan"]

CONNECTION: dict[str, Any] = {
    "socket_connect_timeout": 1.0,
    "socket_timeout": 5.0,  # of one reply
    "socket_read_size": 262144,
    "retry": Retry(NoBackoff(), 0),
}
_IN_FLIGHT = 2
Connection: TypeAlias = Any
"""redis-py's, whose methods have no types."""
Reply: TypeAlias = Any
"""Bytes, None, a number, a list of these, or the error that the server answered."""


def packed(commands: Iterable[tuple[Any, ...]]) -> bytes:
    """Commands as Redis takes them."""
    return b"".join(map(hiredis.pack_command, commands))


class Wire:
    """Connections to one server, shared by any number of threads."""

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._make = make
        self._idle: deque[Connection] = deque()
        self._process = os.getpid()

    def exchange(self, sent: bytes, replies: int = 1) -> list[Reply]:
        """Send packed commands and read their replies.

        Raises:
            redis.exceptions.RedisError: the server cannot be reached, or takes too long.
        """
        return self.begin(sent, replies).result()

    def begin(self, sent: bytes, replies: int) -> Call:
        """Send packed commands; their replies are read by `Call.result`."""
        if os.getpid() != self._process:  # a forked child must not speak on its parent's connections
            self._idle, self._process = deque(), os.getpid()
        try:
            return Call(self, self._idle.pop(), sent, replies, reused=True)
        except IndexError:
            return Call(self, self._make(), sent, replies, reused=False)
        except redis.exceptions.ConnectionError:
            return self.anew(sent, replies)

    def anew(self, sent: bytes, replies: int) -> Call:
        """The same on a new connection; those that are idle are likely as stale as the one that failed."""
        self.close()
        return Call(self, self._make(), sent, replies, reused=False)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection on which nothing is under way."""
        self._idle.append(connection)

    def close(self) -> None:
        """Close idle connections; it can be used again."""
        while self._idle:
            self._idle.pop().disconnect()


class Call:
    """Commands that were sent on a connection of their own."""

    __slots__ = ("_connection", "_done", "_replies", "_reused", "_sent", "_wire")

    def __init__(self, wire: Wire, connection: Connection, sent: bytes, replies: int, *, reused: bool) -> None:
        self._wire, self._connection, self._sent = wire, connection, sent
        self._replies, self._reused, self._done = replies, reused, False
        connection.send_packed_command([sent])  # redis-py disconnects if this fails

    def result(self) -> list[Reply]:
        """One reply a command, in their order; an error that the server answered stands in its place."""
        connection, found = self._connection, []
        try:
            for _ in range(self._replies):
                try:
                    found.append(connection.read_response())
                except redis.exceptions.ResponseError as error:
                    found.append(error)
        except redis.exceptions.ConnectionError:
            connection.disconnect()
            if not self._reused:
                raise
            return self._wire.anew(self._sent, self._replies).result()
        except BaseException:
            connection.disconnect()  # a reply may be under way, which the next caller must not take for its own
            raise
        finally:
            self._done = True
        self._wire.give_back(connection)
        return found

    def abandon(self) -> None:
        """Do without the replies; harmless when they were read."""
        if not self._done:
            self._connection.disconnect()


def overlapped(rounds: Iterator[Sequence[Call]]) -> Iterator[list[list[Reply]]]:
    """Results of rounds of calls, in order; the next round is sent while the servers work on the one before."""
    waiting: deque[Sequence[Call]] = deque()
    try:
        for calls in rounds:
            waiting.append(calls)
            if len(waiting) == _IN_FLIGHT:
                yield [call.result() for call in waiting[0]]
                waiting.popleft()
        while waiting:
            yield [call.result() for call in waiting[0]]
            waiting.popleft()
    finally:
        for calls in waiting:
            for call in calls:
                call.abandon()


def scan(wire: Wire, prefix: bytes) -> Iterator[list[bytes]]:
    """All keys of a server that begin so, in batches; some may come twice."""
    pattern = re.sub(rb"([*?\[\]^\\-])", rb"\\\1", prefix) + b"*"
    cursor: Any = b"0"
    while True:
        [reply] = wire.exchange(packed([(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"1000")]))
        if isinstance(reply, redis.exceptions.RedisError):
            raise reply
        cursor, keys = reply
        if keys:
            yield keys
        if cursor == b"0":
            return
