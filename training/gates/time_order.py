"""Every split must lie later than the labels of the one before had matured: read from the rows, not from the plan."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from training.gate import Answer, Evidence, Gate, does_not_apply, failed, passed

__all__ = ["gate"]


def _check(evidence: Evidence) -> Answer:
    data = evidence.data
    if data.split == "random":
        rows = sum(map(len, data.splits.values()))
        return does_not_apply(f"{rows} rows without time were split at random: they say nothing of tomorrow")
    horizon = np.timedelta64(data.problem.horizon)
    for (earlier, former), (name, latter) in pairwise(data.splits.items()):
        matured, starts = former.as_of.max() + horizon, latter.as_of.min()
        if matured > starts or former.as_of.max() >= starts:
            return failed(f"{name} starts at {starts}, but the labels of {earlier} mature until {matured}")
    matured, end = data.test.as_of.max() + horizon, np.datetime64(data.observed_until.replace(tzinfo=None))
    if matured > end:
        return failed(f"labels of test mature at {matured}, but events end at {end}")
    days = data.problem.horizon.days
    return passed(f"train < validation < test, {days} day{'s' * (days != 1)} of embargo between them")


gate = Gate(code="KT103", title="is judged on later time than it learnt from", severity="refuse", check=_check)
