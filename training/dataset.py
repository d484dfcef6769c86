"""Events to a training set: population → labels → features as they were known then → matrices in the card's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.compute import all_views
from features.kernel import clock
from features.kernel.card import Candidates, CardFeature, Cutoffs, column_name
from features.kernel.errors import InvalidInput, NotEnoughData
from features.refs import expand, resolve
from training import cutoffs as label_cutoffs
from training.families import families
from training.problem import Problem
from training.trainingset import Split, TrainingSet, encode

__all__ = ["Historical", "assemble", "build", "observed_until", "references", "spine"]

MOST_CATEGORIES = 100
_GROUP = "group:"
_KEYS = ["customer_id", "as_of"]
_INSTANT = pl.Datetime("us", "UTC")


class Historical(Protocol):
    """What a training set needs of the feature store."""

    def historical(self, spine: pl.DataFrame, refs: Sequence[str]) -> pl.DataFrame:
        """`customer_id`, `as_of` and `column_name(ref)` of each reference, as known then, in the spine's order."""


def build(problem: Problem, events: pl.DataFrame, store: Historical, cutoffs: Cutoffs) -> TrainingSet:
    """The training set of a problem.

    Args:
        events: columns `features.frames.EVENT_SCHEMA`, any order.
        store: holds features as of the cutoffs already: `store.backfill(events, spine(...))`.

    Raises:
        NotEnoughData: event types the problem needs are absent, no features are there, or a split lacks a class.
        InvalidInput: the cutoffs leak or have not matured.
    """
    _require_types(problem, events)
    until = observed_until(events)
    label_cutoffs.check(cutoffs, problem.horizon, until)
    splits = {"train": cutoffs.train, "validation": cutoffs.validation, "test": cutoffs.test}
    rows = pl.concat(
        _labelled(problem, events, cutoff).with_columns(pl.lit(name).alias("split"))
        for name, instants in splits.items()
        for cutoff in instants
    )
    wanted = list(dict.fromkeys([*references(problem), *_candidate_refs(problem.candidates)]))
    values = store.historical(rows.select(_KEYS).unique(maintain_order=True), wanted)
    _require_features(problem, values, wanted)
    rows = rows.join(values, on=_KEYS, how="left", maintain_order="left")
    described = _described(references(problem))
    return assemble(problem, rows, described, cutoffs, until)


def spine(problems: Iterable[Problem], events: pl.DataFrame, cutoffs: Iterable[Cutoffs]) -> pl.DataFrame:
    """Everyone any of the problems asks about, at each of its cutoffs: `customer_id`, `as_of`; for `store.backfill`."""
    parts = [
        problem.population(events, cutoff).select("customer_id", pl.lit(cutoff).cast(_INSTANT).alias("as_of"))
        for problem, plan in zip(problems, cutoffs, strict=True)
        for cutoff in (*plan.train, *plan.validation, *plan.test)
    ]
    return pl.concat(parts).unique().sort("as_of", "customer_id")


def observed_until(events: pl.DataFrame) -> datetime:
    """The midnight up to which everything was seen: it ends the last day of which anything was received, and is past.

    Today is not over, so it is not counted; nor is a day to come, which a mistaken import may name.
    """
    last = events.get_column("received_at").max()
    if not isinstance(last, datetime):
        raise NotEnoughData("there are no events", field="events", remedy="import some")
    day = _midnight(last)
    return min(day if day == last else day + timedelta(days=1), _midnight(clock.now()))


def _midnight(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def references(problem: Problem) -> tuple[str, ...]:
    """The problem's features with `view:*` written out: every single value of the view that is no identifier.

    Raises:
        NotFound: a reference names no feature of any view.
    """
    return tuple(dict.fromkeys(each for ref in problem.features for each in expand(ref, all_views())))


def assemble(
    problem: Problem, rows: pl.DataFrame, features: tuple[CardFeature, ...], cutoffs: Cutoffs, until: datetime
) -> TrainingSet:
    """Matrices from labelled rows: `split`, `customer_id`, `as_of`, `label`, feature columns by `column_name`.

    Where the problem has them, further `candidate`, `weight`, `arm`, `propensity`, and `group:<attribute>` (text) of
    each sensitive attribute.
    """
    train = rows.filter(pl.col("split") == "train")
    coded = tuple(_with_vocabulary(each, train) for each in features)
    names = [each.ref for each in coded] + [
        ref for ref in _candidate_refs(problem.candidates) if ref not in {each.ref for each in coded}
    ]
    splits = {
        name: _matrices(problem, rows.filter(pl.col("split") == name), coded)
        for name in ("train", "validation", "test")
    }
    return TrainingSet(
        problem=problem,
        features=coded,
        candidates=problem.candidates,
        cutoffs=cutoffs,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        observed_until=until,
        defaults={name: _typical(train.get_column(column_name(name))) for name in names},
    )


def _matrices(problem: Problem, rows: pl.DataFrame, features: tuple[CardFeature, ...]) -> Split:
    """Rows of one split as matrices, filled column by column: beside them stands never more than one column."""
    inputs = chain((_column(rows, each) for each in features), _candidate_columns(problem.candidates, rows))
    width = len(features) + (len(problem.candidates.columns) if problem.candidates else 0)
    x = np.empty((len(rows), width), dtype=np.float32)
    for i, column in enumerate(inputs):
        x[:, i] = column
    return Split(
        x=x,
        y=rows.get_column("label").to_numpy().astype(np.float64),
        person=rows.get_column("customer_id").to_numpy().astype(np.str_),
        as_of=rows.get_column("as_of").dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
        **{
            name: rows.get_column(name).to_numpy().astype(np.float64)
            for name in ("weight", "arm", "propensity")
            if name in rows.columns
        },
        groups={
            name: rows.get_column(_GROUP + name).fill_null("").to_numpy().astype(np.str_)
            for name in problem.sensitive
            if _GROUP + name in rows.columns
        },
    )


def _require_types(problem: Problem, events: pl.DataFrame) -> None:
    present = set(events.get_column("type").unique().to_list())
    absent = [each for each in problem.needs if each not in present]
    if absent:
        raise NotEnoughData(
            f"needs events of type {' and '.join(absent)}, and there are none",
            field=problem.name,
            remedy="import them, or leave this problem out",
        )


def _require_features(problem: Problem, values: pl.DataFrame, wanted: list[str]) -> None:
    if values.height and all(values.get_column(column_name(ref)).null_count() == values.height for ref in wanted):
        raise NotEnoughData(
            "the offline store holds no features as of its cutoffs", field=problem.name, remedy="run `kairos features`"
        )


def _labelled(problem: Problem, events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    population = problem.population(events, cutoff)
    labels = problem.label(events, population, cutoff, problem.horizon)
    if problem.kind != "regression" and not labels.get_column("label").is_in([0, 1]).all():
        raise InvalidInput("holds labels other than 0 and 1", field=problem.name, value=cutoff.isoformat())
    beside = [each for each in ("candidate", "weight", "arm", "propensity") if each in labels.columns]
    stamped = labels.select(
        "customer_id", pl.lit(cutoff).cast(_INSTANT).alias("as_of"), pl.col("label").cast(pl.Float64), *beside
    )
    return stamped.sort("customer_id", maintain_order=True)


def _described(refs: Sequence[str]) -> tuple[CardFeature, ...]:
    families_of = families(refs)
    return tuple(
        CardFeature(
            ref=ref,
            dtype="category" if feature.dtype == "string" else "float32",
            unit=feature.unit,
            phrase=feature.phrase,
            absent=feature.absent,
            group=families_of[ref],
        )
        for ref, (_, _, feature) in resolve(refs, all_views()).items()
    )


def _with_vocabulary(feature: CardFeature, train: pl.DataFrame) -> CardFeature:
    """A category with the values of the training rows as its vocabulary: the 100 most frequent, sorted."""
    if feature.dtype != "category":
        return feature
    counts = train.get_column(column_name(feature.ref)).drop_nulls().value_counts(sort=False, name="rows")
    ranked = counts.sort(["rows", counts.columns[0]], descending=[True, False])
    vocabulary = tuple(sorted(ranked.get_column(counts.columns[0]).head(MOST_CATEGORIES).to_list()))
    return msgspec.structs.replace(feature, vocabulary=vocabulary)


def _column(rows: pl.DataFrame, feature: CardFeature) -> NDArray[np.float64]:
    values = rows.get_column(column_name(feature.ref))
    if feature.dtype == "category":
        return encode(values.to_list(), feature.vocabulary)
    return _numbers(values)


def _numbers(values: pl.Series) -> NDArray[np.float64]:
    """As float32 would hold them: what the store serves online has no more digits."""
    return values.cast(pl.Float32).cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _candidate_refs(candidates: Candidates | None) -> Iterator[str]:
    for column in candidates.columns if candidates else ():
        yield from dict.fromkeys(column.refs)


def _candidate_columns(candidates: Candidates | None, rows: pl.DataFrame) -> Iterator[NDArray[np.float64]]:
    """Of each candidate column the value at the row's own candidate, [n] each."""
    if candidates is None:
        return
    taken = rows.get_column("candidate").to_numpy().astype(np.intp)
    for column in candidates.columns:
        if column.values:
            yield np.asarray(column.values, dtype=np.float32).astype(np.float64)[taken]
            continue
        distinct = list(dict.fromkeys(column.refs))
        table = np.column_stack([_numbers(rows.get_column(column_name(ref))) for ref in distinct])
        place = np.array([distinct.index(ref) for ref in column.refs])
        yield table[np.arange(len(taken)), place[taken]]


def _typical(values: pl.Series) -> float | str | None:
    """Median of numbers, most frequent of strings (the first of equals); None where all is missing."""
    known = values.drop_nulls()
    if known.is_empty():
        return None
    if values.dtype == pl.String:
        counts = known.value_counts(name="rows")
        return str(counts.sort(["rows", counts.columns[0]], descending=[True, False]).item(0, 0))
    return float(np.median(known.cast(pl.Float32).to_numpy()))
