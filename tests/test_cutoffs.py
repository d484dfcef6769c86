"""Label cutoffs: never leaking, always matured, whatever history and horizon they are drawn up for."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.kernel.card import Cutoffs
from features.kernel.errors import InvalidInput, NotEnoughData
from training.problems import all_problems
from training.rows.cutoffs import LEAST_WARM_UP, check, for_problem, longest

START = datetime(2024, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)

histories = st.tuples(
    st.timedeltas(timedelta(0), 900 * DAY).map(lambda since: START + since),
    st.timedeltas(DAY, 2000 * DAY),
    st.timedeltas(timedelta(hours=1), 200 * DAY),
)


def plan(start: datetime, length: timedelta, horizon: timedelta) -> Cutoffs:
    try:
        return for_problem(start, start + length, horizon)
    except NotEnoughData:
        assume(False)
        raise


@given(histories)
def test_they_never_leak_and_have_matured(history: tuple[datetime, timedelta, timedelta]) -> None:
    start, length, horizon = history
    found = plan(start, length, horizon)
    check(found, horizon, start + length)
    everything = [*found.train, *found.validation, *found.test]
    assert everything == sorted(set(everything))
    assert found.train[-1] + horizon <= found.validation[0]
    assert found.validation[-1] + horizon <= found.test[0]
    assert found.test[-1] + horizon <= start + length
    assert found.train[0] - start >= LEAST_WARM_UP
    assert all(each.time().isoformat() == "00:00:00" for each in everything)
    for split in (found.train, found.validation, found.test):
        assert all(later - earlier >= 7 * DAY for earlier, later in pairwise(split))


@given(histories, st.integers(1, 400))
def test_a_longer_history_never_gives_fewer(history: tuple[datetime, timedelta, timedelta], more: int) -> None:
    start, length, horizon = history
    fewer, longer = plan(start, length, horizon), for_problem(start, start + length + more * DAY, horizon)
    for name in ("train", "validation", "test"):
        assert len(getattr(longer, name)) + 2 >= len(getattr(fewer, name))
    assert sum(map(len, msgspec.structs.astuple(longer))) >= sum(map(len, msgspec.structs.astuple(fewer)))
    assert longer.test[-1] >= fewer.test[-1]


@given(histories)
def test_too_short_a_history_says_how_much_is_needed(history: tuple[datetime, timedelta, timedelta]) -> None:
    start, _, horizon = history
    with pytest.raises(NotEnoughData, match="too short") as raised:
        for_problem(start, start + 3 * horizon + 20 * DAY, horizon)
    needed = int(str(raised.value.remedy).split(" days of events")[0].split()[-1])
    for_problem(start, start + (needed + 1) * DAY, horizon)  # one day more, for the start need not be a midnight


def test_the_default_market_gives_all_there_may_be() -> None:
    found = for_problem(START, datetime(2026, 11, 1, tzinfo=UTC), 90 * DAY)
    assert (len(found.train), len(found.validation), len(found.test)) == (12, 3, 3)
    assert found.test[-1] == datetime(2026, 11, 1, tzinfo=UTC) - 90 * DAY


@pytest.mark.parametrize(
    ("train", "validation", "test", "fault"),
    [
        ([0], [89], [200], "validation"),
        ([0], [90], [179], "test"),
        ([0, 5, 3], [100], [200], "train"),
        ([0], [], [200], "validation"),
        ([0], [90], [211], "not matured"),
    ],
)
def test_cutoffs_that_leak_are_refused_by_name(
    train: list[int], validation: list[int], test: list[int], fault: str
) -> None:
    splits = (tuple(START + day * DAY for day in days) for days in (train, validation, test))
    with pytest.raises(InvalidInput, match=fault):
        check(Cutoffs(**dict(zip(("train", "validation", "test"), splits, strict=True))), 90 * DAY, START + 300 * DAY)


@given(st.integers(60, 1_500))
def test_the_longest_horizon_that_fits_is_asked(days: int) -> None:
    """Never a shorter one than needed, never one that does not fit; the name stays."""
    asked = dataclasses.replace(all_problems()["churn"], horizon=365 * DAY, shorter=(180 * DAY, 90 * DAY, 30 * DAY))
    horizons = (asked.horizon, *asked.shorter)

    def fits(horizon: timedelta) -> bool:
        try:
            for_problem(START, START + days * DAY, horizon)
        except NotEnoughData:
            return False
        return True

    if not any(map(fits, horizons)):
        with pytest.raises(NotEnoughData, match="horizon of 30 days"):
            longest(asked, START, START + days * DAY)
        return
    found, plan = longest(asked, START, START + days * DAY)
    assert found.name == asked.name and found.horizon == next(filter(fits, horizons))
    assert found.intended == (None if found.horizon == asked.horizon else asked.horizon)
    check(plan, found.horizon, START + days * DAY)


def test_a_problem_without_shorter_horizons_falls_back_on_none() -> None:
    with pytest.raises(NotEnoughData, match="horizon of 90 days"):
        longest(all_problems()["churn"], START, START + 200 * DAY)


def test_a_horizon_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="horizon"):
        for_problem(START, START + 900 * DAY, timedelta(0))
