"""From a labelled table to a training set, and all that was decided on the way.

read → outcome → rows → columns → split → leak guard → inputs → baseline
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.card import Cutoffs, Refused
from features.kernel.errors import NotEnoughData
from training.leaks import guard
from training.origin import Origin
from training.table.asked import Asked, asked_of
from training.table.columns import Column, duplicates, settle
from training.table.features import Feature, bands, features_of, latest, typical, with_vocabulary
from training.table.matrix import splits
from training.table.problem import problem_of, strongest
from training.table.read import read
from training.table.rows import Placed, at_random, in_time
from training.table.target import Target, find
from training.table.used import Used, used
from training.trainingset import TrainingSet

__all__ = ["Built", "build", "rebuild"]

Progress = Callable[[str, float], None]


def _silent(what: str, share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Built:
    """A training set made of a table.

    Attributes:
        said: how the table was read, its outcome found, its rows split: a sentence each.
        example: a row of the test split as a request sends it.
    """

    data: TrainingSet
    said: tuple[str, ...]
    example: dict[str, float | str | None]


def build(asked: Asked, progress: Progress = _silent) -> Built:
    """Read a labelled table and make a training set of it.

    Args:
        progress: told (what is being done, share done in [0, 1]).

    Raises:
        NotFound: there is no such file.
        InvalidInput: a column or value that was named is not there, or what was asked is unclear; says what to add.
        NotEnoughData: the outcome has one value, no column is left to learn from, or the rows cannot be split.
    """
    source = read(Path(asked.path), asked.target, lambda done, of: progress("read", 0.4 * done / max(of, 1)))
    asked.check_columns(source.frame.columns)
    target = find(source.frame.get_column(asked.target), asked)
    rows = used(source, target, asked)
    columns, refused = _columns(source.frame, rows, asked, progress)
    placed = _placed(rows, asked)
    told = {(each.column, each.code) for each in refused}
    spoken = [each for each in _guarded(columns, rows, placed, asked, progress) if (each.column, each.code) not in told]
    gone = {each.column for each in spoken if not each.kept}
    left = {name: column for name, column in columns.items() if name not in gone}
    if not left:
        raise _nothing_left((*refused, *spoken), asked)
    inputs, said = features_of(left, latest(left.values()) if rows.as_of is None else rows.as_of)
    found = _TableSet(asked, target, rows, placed, tuple(inputs), columns)
    data = found.assembled(source.sha256, (*refused, *spoken, *said))
    progress("inputs", 1.0)
    return Built(data, (*source.said, *target.said, *rows.said, *placed.said), _example(inputs, placed))


def rebuild(origin: Origin) -> TrainingSet:
    """The training set of a run once more, from its record; of another file it is another set."""
    return build(asked_of(origin)).data


@dataclass(frozen=True, slots=True)
class _TableSet:
    """All that a training set is assembled from."""

    asked: Asked
    target: Target
    rows: Used
    placed: Placed
    inputs: tuple[Feature, ...]
    columns: Mapping[str, Column]

    def assembled(self, sha256: str, said: tuple[Refused, ...]) -> TrainingSet:
        train = self.placed.rows["train"]
        inputs = [replace(each, card=with_vocabulary(each.card, each.values.gather(train))) for each in self.inputs]
        problem = problem_of(self.asked, self.target, inputs, strongest(inputs, train, self.rows.y))
        found = splits(inputs, self.rows, self.placed, self._groups(train))
        return TrainingSet(
            problem=problem,
            features=tuple(each.card for each in inputs),
            candidates=None,
            cutoffs=Cutoffs(**{name: self._instants(name) for name in found}),
            train=found["train"],
            validation=found["validation"],
            test=found["test"],
            observed_until=self._until(),
            defaults={each.card.ref: typical(each.values.gather(train)) for each in inputs},
            source="request",
            split=self.placed.split,
            limits=self.placed.limits,
            refused=said,
            origin=self.asked.origin(sha256),
        )

    def _groups(self, train: NDArray[np.intp]) -> dict[str, NDArray[np.str_]]:
        refs = {each.column: each.card.ref for each in self.inputs}
        known = [name for name in self.asked.sensitive if name in self.columns]
        return {refs.get(name, name): bands(self.columns[name].values, train) for name in known}

    def _instants(self, split: str) -> tuple[datetime, ...]:
        """First and last instant of a split; none where rows have no time."""
        rows = self.placed.rows[split]
        if self.rows.as_of is None or not len(rows):
            return ()
        return tuple(self.rows.as_of[int(each)].astimezone(UTC) for each in (rows[0], rows[-1]))

    def _until(self) -> datetime:
        last = self._instants("test")
        return last[-1] + timedelta(days=self.asked.days) if last else datetime(1970, 1, 1, tzinfo=UTC)


def _columns(
    frame: pl.DataFrame, rows: Used, asked: Asked, progress: Progress
) -> tuple[dict[str, Column], tuple[Refused, ...]]:
    """Every column that can be learnt from; the frame gives each up as it is settled."""
    names = [name for name in frame.columns if name not in asked.roles.values()]
    found, refused = dict[str, Column](), list[Refused]()
    for done, name in enumerate(names):
        progress(f"column {name}", 0.4 + 0.4 * done / len(names))
        settled = settle(rows.only(frame.drop_in_place(name)), allowed=name in asked.allow)
        if isinstance(settled, Refused):
            refused.append(settled)
        else:
            found[name] = settled
            refused += settled.said
    for each in tuple(duplicates(found)):
        del found[each.column]
        refused.append(each)
    return found, tuple(refused)


def _placed(rows: Used, asked: Asked) -> Placed:
    if rows.as_of is not None:
        return in_time(rows.as_of, timedelta(days=asked.days))
    strata = rows.y if asked.treatment or rows.y.n_unique() == 2 else rows.y * 0
    return at_random(rows.person, (strata + 2 * rows.arm if rows.arm is not None else strata).cast(pl.Int8))


def _guarded(
    columns: Mapping[str, Column], rows: Used, placed: Placed, asked: Asked, progress: Progress
) -> tuple[Refused, ...]:
    """What the leak guard says of the columns, from the training rows in the file's order."""
    train = np.sort(placed.rows["train"])
    if not columns or not len(train):
        return ()
    return guard(
        pl.DataFrame([each.values.gather(train).alias(name) for name, each in columns.items()]),
        rows.y.gather(train),
        time=None if rows.as_of is None else rows.as_of.gather(train),
        allow=asked.allow,
        progress=lambda done, of: progress("leak guard", 0.8 + 0.15 * done / of),
    )


def _nothing_left(refused: Iterable[Refused], asked: Asked) -> NotEnoughData:
    why = {each.column: each.reason for each in refused if not each.kept}
    told = "; ".join(f"{column}: {reason}" for column, reason in why.items())
    return NotEnoughData(
        f"no column is left to learn {asked.target} from. {told}" if why else "there is no column beside the outcome",
        field=asked.path,
        remedy="keep one on the record with --allow COL, or add columns that were known before the outcome",
    )


def _example(inputs: Iterable[Feature], placed: Placed) -> dict[str, float | str | None]:
    row = next((int(rows[0]) for rows in reversed(placed.rows.values()) if len(rows)), 0)
    return {each.card.ref: _sent(each.values[row]) for each in inputs}


def _sent(value: float | str | None) -> float | str | None:
    """A Float32 without the digits it does not hold."""
    return float(f"{value:.7g}") if isinstance(value, float) else value
