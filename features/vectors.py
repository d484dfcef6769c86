"""Feature vectors as serving reads them: values in the order asked for, and of each view its age and its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Status", "Value", "VectorReader", "Vectors"]

Value = float | str | None


class Status(IntEnum):
    """What the online store holds of one view of one customer."""

    MISSING = 0
    FRESH = 1
    EXPIRED = 2
    """Older than the view's TTL; its values are given with their age."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Online features of n customers, k references of v views; rows in the order of the ids, columns of the references.

    A reference is one value: `view:feature`, or `view:feature[i]` of a list.
    """

    numbers: NDArray[np.float64]
    """[n, k]: float32, integer and boolean (0, 1) features; NaN where missing, and in the columns of strings."""
    strings: Mapping[int, Sequence[str | None]] = field(default_factory=dict)
    """Of each column that holds strings, n values."""
    views: tuple[str, ...] = ()
    """The views that were read, in the order of their first reference."""
    ages: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    """[n, v] in seconds, by the process's clock; NaN where a view holds nothing of the customer."""
    status: NDArray[np.int8] = field(default_factory=lambda: np.empty((0, 0), np.int8))
    """[n, v]: a `Status` each."""

    @property
    def values(self) -> list[list[Value]]:
        """[n][k]: a number, a string, or None where nothing is known."""
        rows: list[list[Value]] = self.numbers.astype(object).tolist()
        for i, j in np.argwhere(np.isnan(self.numbers)).tolist():
            rows[i][j] = None
        for j, column in self.strings.items():
            for row, value in zip(rows, column, strict=True):
                row[j] = value
        return rows

    @property
    def known(self) -> NDArray[np.bool_]:
        """[n]: whether any view read holds this customer."""
        return np.asarray((self.status != Status.MISSING).any(axis=1))

    @property
    def expired(self) -> NDArray[np.bool_]:
        """[n]: whether any view read has expired."""
        return np.asarray((self.status == Status.EXPIRED).any(axis=1))

    @property
    def age_seconds(self) -> NDArray[np.float64]:
        """[n]: age of the oldest view read; NaN where the customer is unknown."""
        return np.asarray(np.fmax.reduce(self.ages, axis=1, initial=np.nan))


class VectorReader(Protocol):
    """What serving needs of an online store."""

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """The vectors of these customers.

        Raises:
            NotFound: a reference names no feature.
            Unavailable: the online store cannot be reached.
        """
