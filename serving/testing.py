"""Small real parts for tests and benchmarks, so that nobody patches: a store in memory, a bundle from a model."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import uvicorn
from fastapi import FastAPI

from features.kernel.card import Calibration, Card, CardFeature, Cutoffs, save_card
from features.kernel.champion import point
from features.kernel.clock import now
from features.kernel.errors import Unavailable
from features.vectors import Status, Vectors

__all__ = ["MemoryStore", "listening", "publish", "simple_card"]

_PATIENCE = 20.0


class MemoryStore:
    """A `serving.online.Store` in a dictionary; `away` makes it unreachable, `delay` (seconds) slow."""

    def __init__(self) -> None:
        self._views: dict[str, dict[str, tuple[datetime, dict[str, Any]]]] = {}
        self.away = False
        self.delay = 0.0

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Keep the rows of each view's frame; the greater `as_of` wins."""
        self._reach()
        for view, frame in frames.items():
            rows, key = self._views.setdefault(view, {}), frame.columns[0]
            for row in frame.iter_rows(named=True):
                entity, as_of = row.pop(key), row.pop("as_of")
                if entity not in rows or rows[entity][0] <= as_of:
                    rows[entity] = as_of, row

    def forget(self, ids: Sequence[str]) -> None:
        """Keep nothing of some customers."""
        for rows in self._views.values():
            for each in ids:
                rows.pop(each, None)

    def put(self, customer: str, values: Mapping[str, float | str | None], as_of: datetime | None = None) -> None:
        """Keep values of one customer by reference `view:feature`."""
        for ref, value in values.items():
            view, _, name = ref.partition(":")
            _, row = self._views.setdefault(view, {}).get(customer, (None, {}))
            self._views[view][customer] = as_of or now(), row | {name: value}

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """See `features.vectors.VectorReader`. Nothing expires here."""
        self._reach()
        views = tuple(dict.fromkeys(ref.partition(":")[0] for ref in refs))
        instant = now()
        numbers = np.full((len(ids), len(refs)), np.nan)
        strings: dict[int, list[str | None]] = {}
        ages = np.full((len(ids), len(views)), np.nan)
        status = np.zeros((len(ids), len(views)), np.int8)
        for i, customer in enumerate(ids):
            for j, (view, _, name) in enumerate(map(_split, refs)):
                value = self._views.get(view, {}).get(customer, (None, {}))[1].get(name)
                if isinstance(value, str):
                    strings.setdefault(j, [None] * len(ids))[i] = value
                elif value is not None:
                    numbers[i, j] = value
            for v, view in enumerate(views):
                as_of, _ = self._views.get(view, {}).get(customer, (None, {}))
                if as_of is not None:
                    ages[i, v], status[i, v] = (instant - as_of).total_seconds(), Status.FRESH
        return Vectors(numbers, strings, views, ages, status)

    def close(self) -> None:
        """Nothing to give back."""

    def _reach(self) -> None:
        if self.delay:
            time.sleep(self.delay)
        if self.away:
            raise Unavailable("the store is away")


def simple_card(problem: str, refs: Sequence[str], text: bytes, **other: Any) -> Card:
    """A card with little in it for a model's text; `other` replaces any of its fields.

    Args:
        problem: its name.
        refs: features, in the model's order, each a number.
        text: the bytes of `model.txt`.
    """
    instant = now()
    card = Card(
        problem=problem,
        version="1",
        kind="binary",
        source="store",
        question=f"{problem}?",
        headline="made for a test",
        horizon_days=30,
        features=tuple(CardFeature(ref=ref, dtype="float32") for ref in refs),
        calibration=Calibration(method="logistic", raw=(-4.0, 0.0, 4.0), value=(0.02, 0.4, 0.95), largest_error=0.01),
        prior=0.3,
        default_features=dict.fromkeys(refs, 0.0),
        metrics=(),
        baseline="none",
        cutoffs=Cutoffs(train=(instant,), validation=(instant,), test=(instant,)),
        rows={"train": 0},
        data_hash="",
        membership_hash="",
        model_sha256=hashlib.sha256(text).hexdigest(),
        trained_at=instant,
    )
    return msgspec.structs.replace(card, **other)


def publish(models: Path, card: Card, text: bytes) -> Path:
    """Write a bundle and point `champion.json` to it, as training does; its folder."""
    folder = models / card.problem / card.version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.txt").write_bytes(text)
    save_card(card, folder / "card.json")
    point(models / card.problem, card.version)
    return folder


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve an app by uvicorn on a thread and a free loopback port; its base URL.

    Raises:
        Unavailable: it did not start.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, args=([taken],), name="listening")
        thread.start()
        deadline = time.monotonic() + _PATIENCE
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            if not server.started:
                raise Unavailable("the service did not start")
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _split(ref: str) -> tuple[str, str, str]:
    return ref.partition(":")
