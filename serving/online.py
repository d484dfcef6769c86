"""The feature store as a worker holds it: opened behind the first answers, opened again when that failed.

Importing Feast costs seconds. A worker is up before; until its store is open it answers on the rung `prior`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import polars as pl

from features.kernel.errors import Unavailable
from features.vectors import VectorReader, Vectors

__all__ = ["OnlineStore", "Store"]

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 5.0


class Store(VectorReader, Protocol):
    """What a service needs of a feature store: `features.store.FeatureStore` is one."""

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Write computed features online.

        Raises:
            Unavailable: the online store cannot be reached.
        """

    def close(self) -> None:
        """Give back its connections."""


class OnlineStore:
    """A `Store` that is opened on a thread of its own; `Unavailable` until it is.

    Args:
        make: opens the real store; may be slow, may fail, is tried again.
    """

    def __init__(self, make: Callable[[], Store]) -> None:
        self._make = make
        self._store: Store | None = None
        self._closing = threading.Event()
        self.fault = "it is being opened"
        """Why it is not open; empty when it is."""

    def start(self) -> None:
        """Begin to open it."""
        threading.Thread(target=self._open, name="open-store", daemon=True).start()

    def close(self) -> None:
        """Stop trying to open it, or close it."""
        self._closing.set()
        if self._store is not None:
            self._store.close()

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """See `VectorReader`; raises Unavailable while the store is not open."""
        return self._opened().read_vectors(ids, refs)

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """See `Store`; raises Unavailable while the store is not open."""
        self._opened().push(frames)

    def _opened(self) -> Store:
        if self._store is None:
            raise Unavailable(f"the feature store is not open: {self.fault}")
        return self._store

    def _open(self) -> None:
        while not self._closing.is_set():
            try:
                self._store = self._make()
            except Exception as error:  # noqa: BLE001  the edge of this thread: shown by /readyz, tried again
                self.fault = f"{type(error).__name__}: {error}"
                _log.warning("the feature store could not be opened: %s", self.fault)
                self._closing.wait(_AGAIN_SECONDS)
            else:
                self.fault = ""
                return
