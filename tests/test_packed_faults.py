"""The packed store when things go wrong: many writers at once, killed ones, a server that restarts, stops or moves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from redis.crc import key_slot

from features.kernel.errors import Unavailable
from features.packed import wire
from features.packed.layout import Field, Schema, pack
from features.packed.store import PackedStore
from features.redis_cluster import RedisCluster
from features.redis_server import RedisServer

ROOT = Path(__file__).parents[1]
VIEWS = [Schema(name, "customer_id", (Field("number", "float32"),)) for name in ("one", "two")]
REFS = ["one:number", "two:number"]
IDS = [f"customer-{i}" for i in range(300)]


def both(numbers: list[int]) -> list[bytes]:
    """Of each number the segments of both views, as of so many microseconds."""
    columns = {"number": np.array(numbers, np.float32)}
    parts = [pack(each, columns, np.array(numbers)) for each in VIEWS]
    return [first + second for first, second in zip(*parts, strict=True)]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def store(server: RedisServer) -> Iterator[PackedStore]:
    made = PackedStore(server.url, VIEWS)
    yield made
    made.close()


def script(body: str, url: str, *arguments: str) -> list[str]:
    head = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import random, numpy as np
from features.packed.layout import Field, Schema, pack
from features.packed.store import PackedStore
VIEWS = [Schema(name, "customer_id", (Field("number", "float32"),)) for name in ("one", "two")]
IDS = [f"customer-{{i}}" for i in range({len(IDS)})]
store = PackedStore(sys.argv[1], VIEWS)
def both(numbers):
    columns = {{"number": np.array(numbers, np.float32)}}
    return [a + b for a, b in zip(*(pack(each, columns, np.array(numbers)) for each in VIEWS))]
"""
    return [sys.executable, "-c", head + body, url, *arguments]


# -- many at once ------------------------------------------------------------------------------------------------------


def test_of_concurrent_writers_the_latest_row_of_each_entity_stays(store: PackedStore, server: RedisServer) -> None:
    """Three processes with four threads each, all writing the same entities in their own order."""
    body = """
from concurrent.futures import ThreadPoolExecutor
def work(seed):
    draw = random.Random(seed)
    for _ in range(15):
        store.write_segments("customer_id", IDS, both([draw.randrange(1_000_000) for _ in IDS]))
with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(int(sys.argv[2]), int(sys.argv[2]) + 4)))
"""
    seeds = [0, 10, 20]
    running = [subprocess.Popen(script(body, server.url, str(each))) for each in seeds]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    draws = [random.Random(seed + i) for seed in seeds for i in range(4)]
    written = np.array([[[draw.randrange(1_000_000) for _ in IDS] for _ in range(15)] for draw in draws])
    latest = written.reshape(-1, len(IDS)).max(axis=0)
    assert store.read_vectors(IDS, REFS).numbers.tolist() == [[float(each)] * 2 for each in latest]


def test_threads_that_share_a_store_get_each_their_own_answer(store: PackedStore) -> None:
    store.write_segments("customer_id", IDS, both(list(range(len(IDS)))))

    def read(number: int) -> bool:
        many = [(number + i) % len(IDS) for i in range(7)]
        found = store.read_vectors([IDS[each] for each in many], REFS).numbers[:, 1].tolist()
        return found == many and store.read_vectors([IDS[number]], REFS).numbers[0, 0] == number

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(read, list(range(len(IDS))) * 5))


def test_a_forked_child_speaks_on_connections_of_its_own(store: PackedStore, server: RedisServer) -> None:
    store.write_segments("customer_id", IDS, both(list(range(len(IDS)))))
    body = f"""
import os
store.read_vectors(IDS[:1], {REFS!r})
children = []
for child in range(2):
    pid = os.fork()
    if pid == 0:
        fine = all(store.read_vectors([IDS[i]], {REFS!r}).numbers[0, 0] == i for i in list(range(child, 300, 2)) * 3)
        os._exit(0 if fine else 1)
    children.append(pid)
fine = all(store.read_vectors([IDS[i]], {REFS!r}).numbers[0, 0] == i for i in list(range(300)) * 3)
assert [os.waitpid(each, 0)[1] for each in children] == [0, 0] and fine
"""
    done = subprocess.run(script(body, server.url), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- killed ------------------------------------------------------------------------------------------------------------


def test_a_writer_killed_in_the_middle_leaves_each_entity_whole(store: PackedStore, server: RedisServer) -> None:
    body = """
number = int(sys.argv[2])
while True:
    number += 1
    store.write_segments("customer_id", IDS, both([number] * len(IDS)))
    print(number, flush=True)
"""
    number, torn = 0, 0
    for pause in (0.0, 0.001, 0.003, 0.005, 0.008):
        running = subprocess.Popen(script(body, server.url, str(number)), stdout=subprocess.PIPE)
        assert running.stdout is not None
        running.stdout.readline()
        time.sleep(pause)
        running.kill()
        running.wait()
        running.stdout.close()
        numbers = store.read_vectors(IDS, REFS).numbers
        assert (numbers[:, 0] == numbers[:, 1]).all(), "both views of an entity are of the same write"
        assert set(numbers[:, 0]) <= {numbers.max(), numbers.max() - 1}
        torn += len(set(numbers[:, 0])) > 1
        number = int(numbers.max())
    assert store.damaged == 0


def test_a_process_killed_outright_leaves_no_redis_behind() -> None:
    body = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from features.redis_server import RedisServer
server = RedisServer().start()
print(server.pid, flush=True)
time.sleep(60)
"""
    running = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE)
    assert running.stdout is not None
    pid = int(running.stdout.readline())
    os.kill(pid, 0)
    running.kill()
    running.wait()
    running.stdout.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# -- the server --------------------------------------------------------------------------------------------------------


def test_a_server_that_restarted_is_written_and_read_at_once(store: PackedStore, server: RedisServer) -> None:
    """Its connections are stale and it knows no script; both are mended within the call."""
    with ThreadPoolExecutor(4) as pool:  # several stale connections, not one
        list(pool.map(lambda _: store.write_segments("customer_id", IDS, both([1] * len(IDS))), range(8)))
    server.stop()
    with pytest.raises(Unavailable, match="KAIROS_REDIS_URL"):
        store.read_vectors(IDS, REFS)
    with pytest.raises(Unavailable, match="KAIROS_REDIS_URL"):
        store.write_segments("customer_id", IDS, both([2] * len(IDS)))
    server.start()
    assert store.write_segments("customer_id", IDS, both([3] * len(IDS))) == 2 * len(IDS)
    server.stop()
    server.start()
    assert not store.read_vectors(IDS, REFS).known.any(), "it keeps nothing on disk"


def test_a_server_that_hangs_is_given_up_and_its_late_replies_are_nobodys(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(wire.CONNECTION, "socket_timeout", 0.2)
    store = PackedStore(server.url, VIEWS)
    store.write_segments("customer_id", IDS, both(list(range(len(IDS)))))
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for call in (
            lambda: store.read_vectors(IDS[:1], REFS),
            lambda: store.write_segments("customer_id", IDS, both([400] * len(IDS))),
        ):
            started = time.monotonic()
            with pytest.raises(Unavailable, match="Timeout"):
                call()
            assert time.monotonic() - started < 2
    finally:
        os.kill(server.pid, signal.SIGCONT)
    for i in (5, 6):
        assert store.read_vectors([IDS[i]], REFS).numbers[0, 0] in (i, 400), "not the reply to another question"
    assert store.forget(IDS) == len(IDS)
    store.close()


def test_redis_that_is_full_says_so_and_what_was_there_stays(store: PackedStore, server: RedisServer) -> None:
    store.write_segments("customer_id", IDS, both([1] * len(IDS)))
    with redis.Redis.from_url(server.url) as raw:
        raw.config_set("maxmemory", "1")
        with pytest.raises(Unavailable, match="maxmemory"):
            store.write_segments("customer_id", IDS, both([2] * len(IDS)))
        raw.config_set("maxmemory", "0")
    assert (store.read_vectors(IDS, REFS).numbers == 1).all()


# -- a cluster that changes --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as running:
        yield running


def test_a_slot_that_moves_is_followed(cluster: RedisCluster) -> None:
    """While it moves a key may be on either node; afterwards it is on the other one."""
    store = PackedStore(cluster.url, VIEWS)
    store.write_segments("customer_id", IDS, both([1] * len(IDS)))
    clients: list[Any] = [redis.Redis.from_url(each.url) for each in cluster.nodes]
    moving = [each for each in IDS if key_slot(each.encode()) < 5_461][:1]
    slot = key_slot(moving[0].encode())
    names = [each.execute_command("CLUSTER MYID").decode() for each in clients]
    source, target = clients[0], clients[1]
    port = target.connection_pool.connection_kwargs["port"]
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
    assert (store.read_vectors(IDS, REFS).numbers == 1).all()
    source.execute_command("MIGRATE", "127.0.0.1", port, f"kairos:customer_id:{{{moving[0]}}}", 0, 5_000)
    assert (store.read_vectors(IDS, REFS).numbers == 1).all(), "asked again where it is moving to"
    assert store.write_segments("customer_id", moving, both([2])) == 2
    assert store.read_vectors(moving, REFS).numbers.tolist() == [[2.0, 2.0]]
    for client in clients:
        client.execute_command("CLUSTER SETSLOT", slot, "NODE", names[1])
    assert store.read_vectors(IDS, REFS).numbers.max() == 2
    assert store.write_segments("customer_id", IDS, both([3] * len(IDS))) == 2 * len(IDS)
    assert (store.read_vectors(IDS, REFS).numbers == 3).all()
    assert store.drop([("customer_id", "one")]) == len(IDS)
    for client in clients:
        client.close()
    store.close()


def test_a_cluster_without_one_of_its_nodes_is_unavailable_and_comes_back() -> None:
    with RedisCluster() as cluster:
        store = PackedStore(cluster.url, VIEWS)
        store.write_segments("customer_id", IDS, both([1] * len(IDS)))
        os.kill(cluster.nodes[2].pid, signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be reached"):
            for _ in range(3):
                store.read_vectors(IDS, REFS)
        assert time.monotonic() - started < 10
        store.close()


def test_several_threads_open_a_cluster_once(cluster: RedisCluster) -> None:
    store = PackedStore(cluster.url, VIEWS)
    gate = threading.Barrier(8)

    def write(number: int) -> int:
        gate.wait()
        return store.write_segments("customer_id", [f"new-{number}"], both([1]))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write, range(8))) == [2] * 8
    store.close()
