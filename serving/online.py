"""The online store as a worker holds it: read on every request, looked at now and then to say whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from features.compute import all_views
from features.kernel.errors import NotFound, Unavailable
from features.vectors import VectorReader, Vectors

__all__ = ["OnlineStore", "Store"]


class Store(VectorReader, Protocol):
    """What a service needs of an online store: `features.packed.store.PackedStore` is one."""

    def close(self) -> None:
        """Give back its connections."""


class OnlineStore:
    """A `Store` and whether it could be reached when last looked at."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ref = next(ref for view in all_views().values() for ref in view.refs)
        self.fault = "it has not been looked at yet"
        """Why it cannot be reached; empty when it can."""

    def look(self) -> None:
        """Read of nobody, and remember whether that was answered.

        Raises:
            Unavailable: it was not.
        """
        try:
            self._store.read_vectors(["(nobody)"], [self._ref])
        except NotFound:  # it is there, with other views than ours
            self.fault = ""
        except Unavailable as error:
            self.fault = str(error)
            raise
        else:
            self.fault = ""

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """See `VectorReader`."""
        return self._store.read_vectors(ids, refs)

    def close(self) -> None:
        """Close it."""
        self._store.close()
