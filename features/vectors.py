"""Feature vectors as serving reads them: values in the order asked for, their age, whether the customer is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["VectorReader", "Vectors"]


class Vectors(NamedTuple):
    """Online features of n customers, k references each; rows in the order of the ids, columns of the references."""

    values: list[list[float | str | None]]
    """[n][k]: a number, a string, or None where nothing is known."""
    age_seconds: NDArray[np.float64]
    """[n]: age of the oldest view read, by the process's clock; NaN where the customer is unknown."""
    known: NDArray[np.bool_]
    """[n]: whether any view read holds this customer."""


class VectorReader(Protocol):
    """What serving needs of an online store."""

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """The vectors of these customers.

        Raises:
            NotFound: a reference names no feature.
            Unavailable: the online store cannot be reached.
        """
