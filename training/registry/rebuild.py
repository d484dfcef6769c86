"""Where the rows of a training set came from, and the same rows once more.

From the events of the ledger up to a sequence, at recorded cutoffs; or from a file whose SHA-256 is recorded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from features.frames import EVENT_SCHEMA, events_frame
from features.kernel.cursors import events_after
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.recipe import load_recipe, read
from training.origin import Origin
from training.problem import Problem
from training.problems import asked
from training.rows import dataset
from training.rows.snapshot import from_snapshot
from training.table.build import rebuild
from training.testing import Computed
from training.trainingset import TrainingSet

__all__ = ["of_recipe", "rows_again"]

_AT_ONCE = 50_000


def of_recipe(problem: Problem, recipe: str, path: Path) -> Origin:
    """Where a set comes from that a recipe reads from a labelled table."""
    return Origin(
        kind="recipe",
        problem=problem.name,
        horizon_days=problem.horizon.days,
        path=str(path.resolve()),
        sha256=_sha256(path),
        options={"recipe": recipe},
    )


def rows_again(origin: Origin, settings: Settings) -> TrainingSet:
    """The training set of an origin, built again.

    Raises:
        NotFound: the table is no longer there, or nobody knows the problem.
        InvalidInput: the table is another one now.
        NotEnoughData: what is left of the rows is too little.
        Unavailable: the ledger cannot be read.
    """
    if origin.kind == "events":
        return _from_events(origin, settings)
    path = Path(origin.path)
    if not path.exists():
        raise NotFound("is no longer there", field="table", value=origin.path, remedy="put it back")
    if (now := _sha256(path)) != origin.sha256:
        raise InvalidInput(
            "is not the file that the model was trained on: its SHA-256 differs",
            field=origin.path,
            value=now,
            remedy="put the file of that time there",
        )
    if origin.kind == "table":
        return rebuild(origin)
    return from_snapshot(read(load_recipe(str(origin.options["recipe"])), path))[1]


def _from_events(origin: Origin, settings: Settings) -> TrainingSet:
    """Features are computed, not read: the offline store may have seen later corrections."""
    assert origin.cutoffs is not None
    with Ledger.of(settings) as ledger:
        events = _events(ledger, origin.seq)
    return dataset.build(asked(origin), events, Computed(events), origin.cutoffs, seq=origin.seq)


def _events(ledger: Ledger, upto: int) -> pl.DataFrame:
    """Events of the ledger up to a sequence, in its order."""
    frames, seq = [pl.DataFrame(schema=EVENT_SCHEMA)], 0
    while seq < upto and (rows := events_after(ledger, seq, _AT_ONCE)):
        frames.append(events_frame(row[1:] for row in rows if row[0] <= upto))
        seq = rows[-1][0]
    return pl.concat(frames)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
