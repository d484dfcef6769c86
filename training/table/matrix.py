"""From inputs to the matrices of the three splits, filled column by column: nothing is held twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.table.features import Feature, encoded
from training.table.rows import NO_TIME, Placed
from training.table.used import Used
from training.trainingset import Split

__all__ = ["splits"]


def splits(
    inputs: Sequence[Feature], used: Used, placed: Placed, groups: Mapping[str, NDArray[np.str_]]
) -> dict[str, Split]:
    """The splits by name.

    Args:
        inputs: with their vocabularies.
        groups: [n] by sensitive attribute.
    """
    x = {name: np.empty((len(rows), len(inputs)), dtype=np.float32) for name, rows in placed.rows.items()}
    for i, each in enumerate(inputs):
        column = encoded(each.values, each.card)
        for name, rows in placed.rows.items():
            x[name][:, i] = column[rows]
    y = used.y.to_numpy()
    arm = None if used.arm is None else used.arm.to_numpy()
    treated = 0.0 if arm is None else float(arm.mean())
    return {
        name: Split(
            x=x[name],
            y=y[rows],
            person=used.person.gather(rows).to_numpy().astype(np.str_),
            as_of=_instants(used.as_of, rows),
            arm=None if arm is None else arm[rows],
            propensity=None if arm is None else np.full(len(rows), treated),
            groups={attribute: group[rows] for attribute, group in groups.items()},
        )
        for name, rows in placed.rows.items()
    }


def _instants(as_of: pl.Series | None, rows: NDArray[np.intp]) -> NDArray[np.datetime64]:
    if as_of is None:
        return np.full(len(rows), NO_TIME)
    return as_of.gather(rows).dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
