"""Load from a process of its own: so many callers at once, each asking again when it was answered, for so long.

`python -m benchmarks.load` reads an `Order` as JSON from stdin and writes what it saw to stdout.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle

import msgspec
import uvloop

from benchmarks.clients import Client, Plan

__all__ = ["Order", "Seen", "generate"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. `warm_up` seconds come before the `seconds` that count."""

    plan: Plan
    customers: tuple[str, ...]
    callers: int
    seconds: float
    warm_up: float = 0.2


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured: answers in `seconds`, and how long one took, in milliseconds."""

    answers: int
    seconds: float
    p50: float
    p99: float

    @property
    def milliseconds_each(self) -> float:
        """Wall time over answers: what one costs when so many callers ask at once."""
        return 1_000 * self.seconds / self.answers


def generate(order: Order) -> Seen:
    """Make the load from a new process and wait for what it saw.

    Raises:
        subprocess.CalledProcessError: a request failed; the error was written to stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        check=True,
        timeout=order.seconds + order.warm_up + 120,
    )
    return msgspec.json.decode(done.stdout, type=Seen)


async def _measure(order: Order) -> Seen:
    customers, taken = cycle(order.customers), list[float]()
    clients = [order.plan.client() for _ in range(order.callers)]
    begin = time.perf_counter() + order.warm_up
    await asyncio.gather(*(_keep_asking(client, customers, begin, begin + order.seconds, taken) for client in clients))
    seconds = time.perf_counter() - begin
    for client in clients:
        await client.close()
    taken.sort()
    if not taken:
        raise RuntimeError(f"nothing was answered within {order.seconds} s")
    milliseconds = [1_000 * taken[int(share * (len(taken) - 1))] for share in (0.5, 0.99)]
    return Seen(answers=len(taken), seconds=seconds, p50=milliseconds[0], p99=milliseconds[1])


async def _keep_asking(client: Client, customers: Iterator[str], begin: float, end: float, taken: list[float]) -> None:
    while (started := time.perf_counter()) < end:
        await client.ask(next(customers))
        if started >= begin:
            taken.append(time.perf_counter() - started)


if __name__ == "__main__":
    _order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_measure(_order))))
