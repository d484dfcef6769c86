"""Calls to the running service, as a marketing system would make them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Self

import httpx
import msgspec

from features.kernel.errors import KairosError
from features.kernel.events import Event

__all__ = ["Service"]

_BATCH = 500


class Service:
    """A thin client of the `/v1` API; closes its connections at the end of a `with`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=60.0, headers={"content-type": "application/json"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, path: str, body: object) -> Any:
        """The JSON answer.

        Raises:
            KairosError: the service refused; the message carries its problem document.
        """
        while True:
            response = self._client.post(path, content=msgspec.json.encode(body))
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            time.sleep(float(response.headers.get("retry-after", 1)))
        if response.is_error:
            raise KairosError(f"{path} answered {response.status_code}: {response.text[:500]}")
        return response.json()

    def send_events(self, events: Iterable[Event]) -> Iterator[int]:
        """Send events in batches; yields how many have been acknowledged so far."""
        source, sent = iter(events), 0
        while batch := list(islice(source, _BATCH)):
            self.post("/v1/events", {"events": [_client_side(each) for each in batch]})
            sent += len(batch)
            yield sent

    def scores(self, problem: str, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Scores of customers (`{"customer_id": …}`) or of rows with their features."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(items), _BATCH):
            answer = self.post(f"/v1/scores/{problem}", {"items": items[start : start + _BATCH]})
            found.extend(answer["results"])
        return found

    def explanation(self, problem: str, item: dict[str, Any]) -> dict[str, Any]:
        """One score with its reasons."""
        answer: dict[str, Any] = self.post(f"/v1/scores/{problem}/explanation", {"items": [item]})["results"][0]
        return answer


def _client_side(event: Event) -> dict[str, Any]:
    row = {name: value for name, value in msgspec.structs.asdict(event).items() if value not in (None, {})}
    row.pop("received_at")
    return row
