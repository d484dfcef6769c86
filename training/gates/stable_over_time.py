"""A model must hold in each stretch of the test split, not on the average of a good month and a bad one.

Refused: a stretch in which it is surely worse than its baseline. Warned of: one in which the judged figure is worse by
more than a tenth of what it is over the whole, its interval apart from that of the whole.
"""

from __future__ import annotations

from typing import Any

from features.kernel.card import Metric
from training.gate import Answer, Evidence, Gate, does_not_apply, failed, passed, warned

__all__ = ["gate"]

DROP = 0.1


def _check(evidence: Evidence) -> Answer:
    rows = evidence.evaluation.tables.get("over_time", ())
    known = [each for each in rows if each["gain"] == each["gain"]]  # NaN: one class only
    if len(known) < 2:
        return does_not_apply(f"{len(known)} stretches of time can be judged, and it takes two")
    whole = evidence.evaluation.metric(evidence.evaluation.gain.name)
    values = [each["value"] for each in known]
    figure = f"{whole.name} {min(values):.3f} to {max(values):.3f} over {len(known)} stretches of the test split"
    worse = [each for each in known if each["gain_high"] < 0]
    if worse:
        return failed(f"{figure}, surely worse than the baseline from {_stretches(worse)}")
    fallen = [each for each in known if _has_fallen(each, whole)]
    if fallen:
        return warned(f"{figure}, surely lower than the whole from {_stretches(fallen)}")
    return passed(figure)


def _has_fallen(row: dict[str, Any], whole: Metric) -> bool:
    if whole.higher_is_better:
        return bool(row["value_high"] < whole.low and row["value"] < whole.value - DROP * abs(whole.value))
    return bool(row["value_low"] > whole.high and row["value"] > whole.value + DROP * abs(whole.value))


def _stretches(rows: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['as_of'][:10]} to {each['until'][:10]}" for each in rows)


gate = Gate(code="KT105", title="holds over time", severity="refuse", check=_check)
