"""Nobody must be served worse for an attribute that was named sensitive.

A group is harmed if the model ranks its people surely worse than those of the other groups (AUC lower by more than
.05), or if its answers are surely off for them, more than for everybody (that all are off is the matter of KT102): by a
margin of .05, or half the group's rarer class where that is rare; of amounts a quarter of the mean. Surely: the whole
interval lies beyond the margin, at 95 % for all groups together (Bonferroni), so that among many groups none is harmed
by chance. Groups of fewer than 100 rows are not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

from training.gate import Answer, Evidence, Gate, does_not_apply, failed, passed

__all__ = ["gate"]

GAP, BIAS, SHARE = 0.05, 0.05, 0.25
LEAST = 100
"""Rows of a group below which a bootstrap of it says little."""


def _check(evidence: Evidence) -> Answer:
    told = evidence.evaluation.tables.get("groups", ())
    if not told:
        return does_not_apply("0 attributes are named sensitive")
    rows = [each for each in told if each["rows"] >= LEAST]
    if len(rows) < 2:
        return does_not_apply(f"{len(rows)} of {len(told)} groups have {LEAST} rows")
    kind, width = evidence.data.problem.kind, _widening(len(rows))
    everybody = sum(each["rows"] * each["bias"] for each in told) / sum(each["rows"] for each in told)
    harmed = [each for row in rows for each in _harms(row, kind, everybody, width)]
    if harmed:
        return failed("; ".join(harmed))
    widest = max(rows, key=lambda row: abs(row["bias"] - everybody))
    attributes = ", ".join(dict.fromkeys(row["attribute"] for row in rows))
    return passed(
        f"{len(rows)} groups of {attributes}: none surely worse off; mean answers off by "
        f"{widest['bias'] - everybody:+.3g} at most, beside everybody's ({widest['group']})"
    )


def _widening(groups: int) -> float:
    """How much wider an interval is that holds at 95 % for so many groups together."""
    normal = NormalDist()
    return normal.inv_cdf(1 - 0.025 / groups) / normal.inv_cdf(0.975)


def _harms(row: dict[str, Any], kind: str, everybody: float, width: float) -> Iterator[str]:
    who = f"{row['attribute']} {row['group']}"
    low, high = (row["gap"] + width * (row[f"gap_{each}"] - row["gap"]) for each in ("low", "high"))
    if kind in ("binary", "candidates") and high < -GAP:
        yield f"{who}: AUC {-row['gap']:.3f} below that of the other groups ({-high:.3f} to {-low:.3f})"
    off, margin = row["bias"] - everybody, _margin(row, kind)
    low, high = (off + width * (row[f"bias_{each}"] - row["bias"]) for each in ("low", "high"))
    if low > margin or high < -margin:
        yield f"{who}: mean answer {off:+.3g} off beside everybody's ({low:+.3g} to {high:+.3g}, {margin:.3g} allowed)"


def _margin(row: dict[str, Any], kind: str) -> float:
    observed = float(row["observed"])
    if kind == "regression":
        return SHARE * abs(observed)
    return BIAS if kind == "uplift" else min(BIAS, max(min(observed, 1 - observed) / 2, BIAS / 10))


gate = Gate(code="KT106", title="harms no subgroup", severity="refuse", check=_check)
