"""The training set: rows of three splits as one matrix each, whose columns stand exactly in the card's order.

A row is one (person, cutoff) pair, or one candidate taken by a person after a cutoff. A person may stand in several
splits, at different times; whatever is resampled is resampled by person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Candidates, CardFeature, Cutoffs, Refused, column_name
from training.origin import Origin
from training.problem import Problem

__all__ = ["Split", "TrainingSet", "decode", "encode"]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one split, in time order.

    `x` [n, k] float32, C-contiguous: features, then candidate columns; a category is its code, NaN is missing. The
    store holds no more digits, and LightGBM finds the same in it as in float64.
    `y` [n] float64: 0 or 1, of a regression the amount. `person` [n] str. `as_of` [n] datetime64[us], UTC.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float64]
    person: NDArray[np.str_]
    as_of: NDArray[np.datetime64]
    weight: NDArray[np.float64] | None = None
    """[n] of each row in fitting and judging; None is 1 each."""
    arm: NDArray[np.float64] | None = None
    """[n] of an uplift problem: 1 treated, 0 control."""
    propensity: NDArray[np.float64] | None = None
    """[n] of an uplift problem: the probability with which arm 1 was drawn, inside (0, 1)."""
    groups: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    """By sensitive attribute: [n] which group the row belongs to; "" where it is not known."""

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Three splits and all the card has to know of their columns."""

    problem: Problem
    features: tuple[CardFeature, ...]
    candidates: Candidates | None
    cutoffs: Cutoffs
    train: Split
    validation: Split
    test: Split
    observed_until: datetime
    """Labels were observed up to here."""
    defaults: dict[str, float | str | None]
    """Median or most frequent value in the training rows, by reference; candidate columns' references too."""
    source: Literal["store", "request"] = "store"
    split: Literal["time", "random"] = "time"
    """How the rows were split; `random` where they have no time."""
    limits: tuple[str, ...] = ()
    """What these data cannot support, a sentence each; the card repeats it."""
    refused: tuple[Refused, ...] = ()
    """Columns of the table that the leak guard spoke of."""
    origin: Origin | None = None
    """How to build it again; None where it was built by hand."""

    @property
    def columns(self) -> list[str]:
        """Names of the matrix's columns: features, then candidate columns."""
        extra = [each.name for each in self.candidates.columns] if self.candidates else []
        return [column_name(each.ref) for each in self.features] + extra

    @property
    def inputs(self) -> list[str]:
        """The same columns by reference: what a problem's `baseline` and `monotone` name."""
        extra = [each.name for each in self.candidates.columns] if self.candidates else []
        return [each.ref for each in self.features] + extra

    @property
    def categories(self) -> list[int]:
        """Positions of the categorical columns."""
        return [i for i, each in enumerate(self.features) if each.dtype == "category"]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name, in time order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def data_hash(self) -> str:
        """SHA-256 over columns, vocabularies and every row of every split."""
        digest = hashlib.sha256(repr((self.columns, [each.vocabulary for each in self.features])).encode())
        for split in self.splits.values():
            arrays = (split.x, split.y, split.as_of.astype("int64"), split.weight, split.arm, split.propensity)
            for array in arrays:
                if array is not None:
                    digest.update(np.ascontiguousarray(array).data)
            digest.update("\n".join(split.person.tolist()).encode())
        return digest.hexdigest()

    @property
    def members(self) -> list[str]:
        """Sorted ids of those whose rows fitted, tuned or calibrated the model."""
        return sorted({*self.train.person.tolist(), *self.validation.person.tolist()})

    @property
    def membership_hash(self) -> str:
        """SHA-256 over `members`."""
        return hashlib.sha256("\n".join(self.members).encode()).hexdigest()


def encode(values: Sequence[str | None], vocabulary: Sequence[str]) -> NDArray[np.float64]:
    """Codes of category values; NaN where missing or not in the vocabulary.

    >>> encode(["mail", None, "fax", "web"], ("mail", "web")).tolist()
    [0.0, nan, nan, 1.0]
    """
    codes = {value: float(i) for i, value in enumerate(vocabulary)}
    return np.array([codes.get(value, np.nan) if value is not None else np.nan for value in values], dtype=np.float64)


def decode(codes: NDArray[np.float64], vocabulary: Sequence[str]) -> list[str | None]:
    """The inverse of `encode`; None for NaN."""
    return [None if np.isnan(code) else vocabulary[int(code)] for code in codes]
