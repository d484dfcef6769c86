"""Label cutoffs: instants at which a problem's question is asked, rolling through history, split in time order.

    start ──warm-up──┤ train cutoffs ├─horizon─┤ validation ├─horizon─┤ test ├─horizon── end

Between two splits lies an embargo of one horizon, so that no label of a split was decided by events that the next
split's features already know; behind the last cutoff lies one more, so that every label has matured. A model chosen
on later time than it was fitted on, and judged on later time still, is judged as it will be used (Bergmeir & Benítez,
"On the use of cross-validation for time series predictor evaluation", 2012).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from features.kernel.card import Cutoffs
from features.kernel.errors import InvalidInput, NotEnoughData
from training.problem import Problem

__all__ = ["check", "for_problem", "longest"]

DAY = timedelta(days=1)
WARM_UP = 180 * DAY
"""History that features should have behind the first cutoff; less where the whole history is short."""
LEAST_WARM_UP = 28 * DAY
LEAST_STEP, MOST_STEP = 7 * DAY, 30 * DAY
FEW = 5
"""Cutoffs beyond one a split below which the steps shrink, to see people at more than a few instants."""
MOST_TRAIN, MOST_LATER = 12, 3
"""Most cutoffs of the train split, and of validation and test each."""


def for_problem(start: datetime, end: datetime, horizon: timedelta) -> Cutoffs:
    """Cutoffs at midnight UTC for events observed in [start, end) and labels that take `horizon` to mature.

    Steps between cutoffs are one horizon, but 30 days at most, and as little as 7 where a short history would give few:
    closer ones repeat the same labels.

    Raises:
        InvalidInput: `horizon` is not positive.
        NotEnoughData: the history is too short for three splits, two embargoes and a warm-up of 28 days.
    """
    if horizon <= timedelta(0):
        raise InvalidInput("must be positive", field="horizon", value=horizon)
    first, last = -(-_days(start) // 1), _days(end) // 1
    wait = -(-(horizon / DAY) // 1)
    free = last - first - 3 * wait
    warm_up = min(WARM_UP / DAY, free // 2)
    if warm_up < LEAST_WARM_UP / DAY:
        needed = 3 * wait + 2 * LEAST_WARM_UP / DAY
        raise NotEnoughData(
            f"history of {max(0, last - first):.0f} whole days is too short for a horizon of {wait:.0f} days",
            field="cutoffs",
            remedy=f"import at least {needed:.0f} days of events, or ask over a shorter horizon",
        )
    step = max(LEAST_STEP / DAY, min(wait, MOST_STEP / DAY, (free - warm_up) // FEW))
    extra = int((free - warm_up) // step)
    later = min(MOST_LATER - 1, extra // (FEW + 1))  # what is scarce goes to the train split
    train = min(MOST_TRAIN - 1, extra - 2 * later)
    test = _back(last - wait, step, later + 1)
    validation = _back(test[0] - wait, step, later + 1)
    fit = _back(validation[0] - wait, step, train + 1)
    return Cutoffs(train=_instants(fit), validation=_instants(validation), test=_instants(test))


def longest(problem: Problem, start: datetime, end: datetime) -> tuple[Problem, Cutoffs]:
    """The problem over its own horizon or, where the history is too short, over the longest of `shorter` that fits.

    A problem that falls back keeps its name; the card's `limits` say over how many days it was asked instead.

    Raises:
        NotEnoughData: the history is too short for the shortest of them.
    """
    for horizon in (problem.horizon, *problem.shorter):
        asked = problem if horizon == problem.horizon else problem.falling_back(horizon)
        try:
            return asked, for_problem(start, end, horizon)
        except NotEnoughData as short:
            lacking = short
    raise lacking


def check(cutoffs: Cutoffs, horizon: timedelta, end: datetime) -> None:
    """Refuse cutoffs that leak: out of order, without an embargo of the horizon, or not matured by `end`.

    Raises:
        InvalidInput: naming the split at fault and the instant.
    """
    splits = {"train": cutoffs.train, "validation": cutoffs.validation, "test": cutoffs.test}
    for name, instants in splits.items():
        if not instants or list(instants) != sorted(set(instants)):
            raise InvalidInput("must be ascending, one at least", field=f"cutoffs.{name}", value=instants)
    for (earlier, former), (name, latter) in zip(list(splits.items())[:-1], list(splits.items())[1:], strict=True):
        if former[-1] + horizon > latter[0]:
            raise InvalidInput(
                f"starts before the labels of {earlier} have matured",
                field=f"cutoffs.{name}",
                value=latter[0].isoformat(),
                remedy=f"leave {horizon} after {former[-1].isoformat()}",
            )
    if cutoffs.test[-1] + horizon > end:
        raise InvalidInput(
            "has a label that has not matured: its window reaches beyond the last event",
            field="cutoffs.test",
            value=cutoffs.test[-1].isoformat(),
            remedy=f"end at {(end - horizon).isoformat()} or earlier",
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _days(instant: datetime) -> float:
    return (instant - _EPOCH) / DAY


def _back(last: float, step: float, count: int) -> list[float]:
    """`count` ascending days, `step` apart, the last one given."""
    return [last - step * i for i in reversed(range(count))]


def _instants(days: list[float]) -> tuple[datetime, ...]:
    return tuple(_EPOCH + day * DAY for day in days)
