"""The training set: rows of three splits as one matrix each, whose columns stand exactly in the card's order.

A row is one (person, cutoff) pair, or one candidate taken by a person after a cutoff. A person may stand in several
splits, at different times; whatever is resampled is resampled by person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Candidates, CardFeature, Cutoffs, column_name
from features.kernel.errors import NotEnoughData
from training.problem import Problem

__all__ = ["LEAST_FITTED", "LEAST_LATER", "Split", "TrainingSet", "decode", "encode"]

LEAST_FITTED, LEAST_LATER = 40, 15
"""Least rows of the rarer class in the train split, and in validation and test each."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one split, in time order.

    `x` [n, k] float64, C-contiguous: features, then candidate columns; a category is its code, NaN is missing.
    `y` [n] float64: 0 or 1. `person` [n] str. `as_of` [n] datetime64[us], UTC.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    person: NDArray[np.str_]
    as_of: NDArray[np.datetime64]

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
            for array in (split.x, split.y, split.as_of.astype("int64")):
                digest.update(np.ascontiguousarray(array).tobytes())
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

    def check(self) -> TrainingSet:
        """Itself, if every split holds enough of both classes.

        Raises:
            NotEnoughData: naming the problem, the split and its counts.
        """
        for name, split in self.splits.items():
            positives = int(split.y.sum())
            negatives = len(split) - positives
            least = LEAST_FITTED if name == "train" else LEAST_LATER
            if min(positives, negatives) < least:
                raise NotEnoughData(
                    f"the {name} split holds {positives} positive and {negatives} negative rows, "
                    f"and needs {least} of each",
                    field=self.problem.name,
                    remedy="import more history or more people",
                )
        return self


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
