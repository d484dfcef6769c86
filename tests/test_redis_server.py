"""The embedded Redis: a real server that starts, answers, keeps nothing, and ends with whoever started it."""

from __future__ import annotations

import os
import socket

import pytest
import redis

from features.kernel.errors import Unavailable
from features.redis_server import RedisServer


def test_it_serves_and_ends() -> None:
    with RedisServer() as server:
        url, pid = server.url, server.pid
        with redis.Redis.from_url(url) as client:
            client.set("key", "value")
            assert client.get("key") == b"value"
            assert client.config_get("save")["save"] == "", "it must not write snapshots to disk"
            assert client.config_get("bind")["bind"] == "127.0.0.1", "it must not listen beyond loopback"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.ConnectionError):
        client.ping()


def test_two_servers_share_nothing() -> None:
    with RedisServer() as one, RedisServer() as other, redis.Redis.from_url(one.url) as client:
        client.set("key", "value")
        with redis.Redis.from_url(other.url) as elsewhere:
            assert elsewhere.get("key") is None


def test_starting_and_stopping_twice_is_harmless() -> None:
    server = RedisServer()
    assert server.start().url == server.start().url
    server.stop()
    server.stop()
    with pytest.raises(Unavailable, match="start it first"):
        _ = server.url


def test_a_port_that_was_taken_meanwhile_is_not_mistaken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The free port is found before the server binds it: whoever was faster must not be talked to."""
    import features.redis_server as module

    free = module.free_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], free()])
        monkeypatch.setattr(module, "free_port", lambda: next(ports))
        with RedisServer() as server, redis.Redis.from_url(server.url) as client:
            assert client.info("server")["process_id"] == server.pid
