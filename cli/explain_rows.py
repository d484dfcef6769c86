"""SHAP values of many customers: read, scored and explained a block at a time, tallied, and written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.compare import rows_of_run, run_at
from features.compute import all_views
from features.kernel.card import column_name
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from features.store import FeatureStore
from serving.bundles import Bundle, load_bundle
from serving.known import Known
from serving.score import candidate_label, compute
from training.explanation.bulk import ROWS_AT_ONCE, BulkShap
from training.explanation.importance import Importance, Tally, inputs, worth

__all__ = ["Explained", "customers", "explain_rows", "training_rows"]

CUSTOMER = "customer_id"
_READ_AT_ONCE = 25_000
"""Customers whose features are looked up at a time."""
_SCORED_AT_ONCE = 5_000
_INPUTS_AT_ONCE = 500_000
"""Customers, and rows of the model's input, that are scored at a time: of a problem with candidates, one row each."""


class Explained(NamedTuple):
    """What came of explaining many rows."""

    importance: Importance
    path: str
    """`woodelf` or `pred_contrib`."""
    why: str
    """Why not WOODELF."""
    expected: float


class Scores(NamedTuple):
    """What the model was given for m rows and what it said."""

    rows: NDArray[np.float32]
    """[m, k]"""
    raw: NDArray[np.float64]
    answers: NDArray[np.float64]
    best: list[str]
    """The best candidate of each, where there are candidates."""


def customers(
    settings: Settings, bundle: Bundle, as_of: datetime, rows: int | None
) -> tuple[int, Iterator[pl.DataFrame]]:
    """How many customers the newest offline run knows (at most `rows`), and their features by reference, in blocks.

    Raises:
        NotFound: there is no run at or before the instant.
    """
    views = all_views()
    run = run_at(settings.offline, views, as_of)
    profile = rows_of_run(settings.offline, views["profile"], run).select(CUSTOMER).collect()
    ids = profile.get_column(CUSTOMER).unique().sort()
    if rows is not None and rows < len(ids):
        ids = ids.sample(rows, seed=7).sort()
    names = {column_name(ref): ref for ref in bundle.refs}

    def blocks() -> Iterator[pl.DataFrame]:
        store = FeatureStore(settings)
        for part in ids.to_frame().iter_slices(_READ_AT_ONCE):
            spine = part.with_columns(pl.lit(run).cast(pl.Datetime("us", "UTC")).alias("as_of"))
            yield store.historical(spine, bundle.refs).rename(names).drop("as_of")
        store.close()

    return len(ids), blocks()


def training_rows(folder: Path, rows: int | None) -> tuple[int, Iterator[pl.DataFrame]]:
    """The training rows that the model's bundle keeps, at most `rows`: without ids.

    Raises:
        InvalidInput: the bundle keeps none.
    """
    path = folder / "reference.parquet"
    if not path.is_file():
        raise InvalidInput("keeps no training rows", field=str(path), remedy="train the problem again")
    frame = pl.read_parquet(path)
    if rows is not None and rows < frame.height:
        frame = frame.sample(rows, seed=7)
    return frame.height, iter([frame])


def explain_rows(
    folder: Path, blocks: Iterator[pl.DataFrame], out: Path | None, progress: Callable[[int], object]
) -> Explained:
    """Explain every row of the blocks by a bundle's model; write score and SHAP values to a Parquet file.

    Raises:
        InvalidInput: there is no row.
    """
    bundle, text = load_bundle(folder), (folder / "model.txt").read_text(encoding="utf-8")
    tally, bulk, done = Tally(bundle.card), None, 0
    with _parquet(out) as write:
        for part in _gathered(blocks):
            found = _computed(bundle, part)
            bulk = bulk or BulkShap(text, found.rows)
            values = bulk.values(found.rows)
            tally.add(values, worth(bundle.card, values, bulk.expected))
            write(_table(bundle, part, found, values, bulk.expected))
            done += part.height
            progress(done)
    if bulk is None:
        raise InvalidInput("there is no row to explain", field=bundle.card.problem, remedy="run kairos features build")
    return Explained(tally.importance(), bulk.path, bulk.why, bulk.expected)


def _gathered(blocks: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in blocks as large as WOODELF likes them."""
    waiting: list[pl.DataFrame] = []
    for block in blocks:
        waiting.append(block)
        if sum(each.height for each in waiting) >= ROWS_AT_ONCE:
            yield from pl.concat(waiting).iter_slices(ROWS_AT_ONCE)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _computed(bundle: Bundle, part: pl.DataFrame) -> Scores:
    """Inputs and answers of every row: of a problem with candidates those of the best."""
    candidates = bundle.card.candidates.count if bundle.card.candidates else 1
    values = part.drop(CUSTOMER, strict=False).fill_nan(None)
    found = []
    for some in values.iter_slices(max(1, min(_SCORED_AT_ONCE, _INPUTS_AT_ONCE // candidates))):
        computed = compute(bundle, [Known("fresh", row) for row in some.iter_rows(named=True)])
        if computed is not None:  # it never is: the bundle was verified, and every row is `fresh`
            found.append(computed)
    rows, raw, answers = (np.concatenate([getattr(each, name) for each in found]) for name in ("rows", "raw", "values"))
    best = [candidate_label(bundle.card, which) for each in found for which in each.best if which is not None]
    return Scores(rows, raw, answers, best)


def _table(
    bundle: Bundle, part: pl.DataFrame, found: Scores, values: np.ndarray[Any, Any], expected: float
) -> pl.DataFrame:
    columns: dict[str, Any] = {CUSTOMER: part[CUSTOMER]} if CUSTOMER in part.columns else {}
    columns |= {"value": found.answers, "raw": found.raw, "base": np.full(part.height, expected)}
    if bundle.card.candidates is not None:
        columns["best"] = found.best
    columns |= {each.name: values[:, i] for i, each in enumerate(inputs(bundle.card))}
    return pl.DataFrame(columns)


@contextmanager
def _parquet(out: Path | None) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Writes frames into one file, which is there when all of them are; nowhere if there is no path."""
    if out is None:
        yield lambda frame: None
        return
    part, open_files = out.with_name(f".{out.name}.part"), list[Any]()

    def write(frame: pl.DataFrame) -> None:
        table = frame.to_arrow()
        if not open_files:
            open_files.append(pq.ParquetWriter(part, table.schema))
        open_files[0].write_table(table)

    try:
        yield write
        for each in open_files:
            each.close()
            part.replace(out)
    finally:
        part.unlink(missing_ok=True)
