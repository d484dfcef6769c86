"""Events to a training set: population → labels → features as they were known then → matrices in the card's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.compute import all_views
from features.kernel import clock
from features.kernel.card import Candidates, CardFeature, Cutoffs, column_name
from features.kernel.errors import NotEnoughData
from features.refs import expand, resolve
from training.amounts.currency import in_currency
from training.explanation.families import families
from training.origin import Origin
from training.problem import Problem
from training.rows import cutoffs as label_cutoffs
from training.rows.groups import grouped
from training.rows.labelled import INSTANT, labelled
from training.rows.matrices import Values, filled, typical, with_vocabulary
from training.trainingset import Split, TrainingSet

__all__ = ["Historical", "assemble", "build", "observed_until", "references", "spine"]

_GROUP = "group:"
_KEYS = ["customer_id", "as_of"]
_SPLITS = ("train", "validation", "test")


class Historical(Protocol):
    """What a training set needs of the feature store."""

    def historical(self, spine: pl.DataFrame, refs: Sequence[str]) -> pl.DataFrame:
        """`customer_id`, `as_of` and `column_name(ref)` of each reference, as known then, in the spine's order."""


def build(problem: Problem, events: pl.DataFrame, store: Historical, cutoffs: Cutoffs, *, seq: int = 0) -> TrainingSet:
    """The training set of a problem.

    Args:
        events: columns `features.frames.EVENT_SCHEMA`, any order.
        store: holds features as of the cutoffs already: `store.backfill(events, spine(...))`.
        seq: the ledger's last sequence among the events (`features.history.last`), for who builds it again.

    Raises:
        NotEnoughData: event types the problem needs are absent, or no features are there.
        InvalidInput: the cutoffs leak or have not matured, or a label is none that the problem's kind can have.
    """
    _require_types(problem, events)
    until = observed_until(events)
    label_cutoffs.check(cutoffs, problem.horizon, until)
    limits, problem = _limits(problem, events, cutoffs), in_currency(problem, events)
    rows = pl.concat(labelled(problem, events, getattr(cutoffs, split), split) for split in _SPLITS)
    people = rows.select(_KEYS).unique(maintain_order=True)
    place = rows.select(_KEYS).join(people.with_row_index("place"), on=_KEYS, how="left", maintain_order="left")
    wanted = list(dict.fromkeys([*references(problem), *_candidate_refs(problem.candidates), *problem.sensitive]))
    values = Values(store.historical(people, wanted), place.get_column("place").to_numpy().astype(np.intp))
    _require_features(problem, values.frame, wanted)
    rows = _with_groups(problem, _weighted(rows), values)
    data = _assembled(problem, rows, values, _described(references(problem)), cutoffs, until)
    origin = Origin(
        kind="events",
        problem=problem.file,
        horizon_days=problem.horizon.days,
        intended_days=problem.intended.days if problem.intended else 0,
        variant=problem.part,
        cutoffs=cutoffs,
        seq=seq,
        options={"events": len(events)},
    )
    return replace(data, limits=limits, origin=origin)


def spine(problems: Iterable[Problem], events: pl.DataFrame, cutoffs: Iterable[Cutoffs]) -> pl.DataFrame:
    """Everyone any of the problems asks about, at each of its cutoffs: `customer_id`, `as_of`; for `store.backfill`."""
    parts = [
        problem.population(events, cutoff).select("customer_id", pl.lit(cutoff).cast(INSTANT).alias("as_of"))
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
    return _assembled(problem, rows, Values(rows, np.arange(len(rows))), features, cutoffs, until)


def _assembled(
    problem: Problem,
    rows: pl.DataFrame,
    values: Values,
    features: tuple[CardFeature, ...],
    cutoffs: Cutoffs,
    until: datetime,
) -> TrainingSet:
    which = {name: np.flatnonzero((rows.get_column("split") == name).to_numpy()) for name in _SPLITS}
    coded = tuple(with_vocabulary(each, values, which["train"]) for each in features)
    taken = rows.get_column("candidate").to_numpy().astype(np.intp) if problem.candidates else np.zeros(0, np.intp)
    splits = {
        name: _split(problem, rows[at], filled(values, at, coded, problem.candidates, taken))
        for name, at in which.items()
    }
    read = dict.fromkeys([*(each.ref for each in coded), *_candidate_refs(problem.candidates)])
    return TrainingSet(
        problem=problem,
        features=coded,
        candidates=problem.candidates,
        cutoffs=cutoffs,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        observed_until=until,
        defaults={ref: typical(values.column(ref, which["train"])) for ref in read},
    )


def _split(problem: Problem, rows: pl.DataFrame, x: NDArray[np.float32]) -> Split:
    return Split(
        x=x,
        y=_floats(rows, "label"),
        person=rows.get_column("customer_id").to_numpy().astype(np.str_),
        as_of=rows.get_column("as_of").dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
        **{name: _floats(rows, name) for name in ("weight", "arm", "propensity") if name in rows.columns},
        groups={
            name: rows.get_column(_GROUP + name).fill_null("").to_numpy().astype(np.str_)
            for name in problem.sensitive
            if _GROUP + name in rows.columns
        },
    )


def _floats(rows: pl.DataFrame, name: str) -> Any:
    return rows.get_column(name).to_numpy().astype(np.float64)


def _with_groups(problem: Problem, rows: pl.DataFrame, values: Values) -> pl.DataFrame:
    """The rows with the groups of people they belong to, as these were known at the cutoff."""
    everyone, train = np.arange(len(rows)), rows.get_column("split") == "train"
    return rows.with_columns(
        grouped(values.column(ref, everyone), train).alias(_GROUP + ref) for ref in problem.sensitive
    )


def _weighted(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without weights, where they are 1 each."""
    even = "weight" in rows.columns and bool((rows.get_column("weight") == 1).all())
    return rows.drop("weight") if even else rows


def _limits(problem: Problem, events: pl.DataFrame, cutoffs: Cutoffs) -> tuple[str, ...]:
    """What these events cannot support."""
    said = problem.caution(events, cutoffs) if problem.caution else ()
    if problem.intended is None:
        return said
    asked = f"The history is too short to ask over {problem.intended.days} days, so this model looks "
    return (f"{asked}{problem.horizon.days} days ahead.", *said)


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


def _candidate_refs(candidates: Candidates | None) -> Iterator[str]:
    for column in candidates.columns if candidates else ():
        yield from dict.fromkeys(column.refs)


def _midnight(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
