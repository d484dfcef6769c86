"""What a caller does to get one probability for one customer: of Kairos, of a Feast and an MLflow server, of a floor.

The HTTP client is a few lines over a socket, the same for all: a client library would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

__all__ = ["Chain", "Client", "Connection", "Floor", "Kairos", "Plan", "probabilities"]


class Connection:
    """One kept-alive HTTP/1.1 connection; answers must carry their length."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.removeprefix("http://").partition(":")
        self._port = int(port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: object) -> Any:
        """POST a JSON body and read the JSON answer; RuntimeError for any status but 200."""
        content = msgspec.json.encode(body)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(head.encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = answer.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        text = await self._reader.readexactly(int(fields["content-length"]))
        if " 200 " not in f"{status} ":
            raise RuntimeError(f"{path} answered {status}: {text[:300].decode(errors='replace')}")
        if fields.get("connection") == "close":
            await self.close()
        return msgspec.json.decode(text)

    async def close(self) -> None:
        """Hang up; the next request connects again."""
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()
        self._reader = self._writer = None


class Client(Protocol):
    """One caller with connections of its own."""

    async def ask(self, customer: str) -> float:
        """The probability of one customer."""

    async def close(self) -> None:
        """Hang up."""


class Kairos(msgspec.Struct, tag=True, frozen=True):
    """How to ask Kairos: one request."""

    address: str
    problem: str

    def client(self) -> Client:
        """A caller."""
        return _KairosClient(self)


class _KairosClient:
    def __init__(self, plan: Kairos) -> None:
        self._plan, self._connection = plan, Connection(plan.address)

    async def ask(self, customer: str) -> float:
        answer = await self._connection.post(f"/v1/scores/{self._plan.problem}", {"items": [{"customer_id": customer}]})
        return float(answer["results"][0]["probability"])

    async def close(self) -> None:
        await self._connection.close()


class Chain(msgspec.Struct, tag=True, frozen=True):
    """How to ask a Feast feature server, then an MLflow model server: two requests, and the codes of the categories."""

    feast: str
    mlflow: str
    refs: tuple[str, ...]
    columns: tuple[str, ...]
    codes: dict[str, dict[str, int]]

    def client(self) -> Client:
        """A caller."""
        return _ChainClient(self)


class _ChainClient:
    def __init__(self, plan: Chain) -> None:
        self._plan = plan
        self._feast, self._mlflow = Connection(plan.feast), Connection(plan.mlflow)

    async def ask(self, customer: str) -> float:
        plan = self._plan
        query = {"features": plan.refs, "entities": {"customer_id": [customer]}, "full_feature_names": True}
        found = await self._feast.post("/get-online-features", query)
        names = found["metadata"]["feature_names"]
        values = {name: each["values"][0] for name, each in zip(names, found["results"], strict=True)}
        row = [_coded(values[column], plan.codes.get(column)) for column in plan.columns]
        answer = await self._mlflow.post("/invocations", {"dataframe_split": {"columns": plan.columns, "data": [row]}})
        return float(answer["predictions"][0])

    async def close(self) -> None:
        await self._feast.close()
        await self._mlflow.close()


class Floor(msgspec.Struct, tag=True, frozen=True):
    """How to ask `benchmarks.peers.floor`: one request."""

    address: str

    def client(self) -> Client:
        """A caller."""
        return _FloorClient(self)


class _FloorClient:
    def __init__(self, plan: Floor) -> None:
        self._connection = Connection(plan.address)

    async def ask(self, customer: str) -> float:
        answer = await self._connection.post("/", {"customer_id": customer})
        return float(answer["probability"])

    async def close(self) -> None:
        await self._connection.close()


Plan = Kairos | Chain | Floor


def _coded(value: float | str | None, codes: dict[str, int] | None) -> float | None:
    if isinstance(value, str):
        code = (codes or {}).get(value)
        return None if code is None else float(code)
    return None if value is None or math.isnan(value) else float(value)


async def probabilities(plan: Plan, customers: Sequence[str]) -> list[float]:
    """The probability of each customer, asked one after the other."""
    client = plan.client()
    try:
        return [await client.ask(each) for each in customers]
    finally:
        await client.close()
