"""Nobody must be served worse for an attribute that was named sensitive.

A group is harmed if the model ranks its people surely worse than those of the other groups (AUC lower by more than .05,
the whole 95 % interval of the gap below that), or if its answers are surely off for them: mean answer less observed
mean beyond a margin of .05, or half the group's rarer class where that is rare; of amounts a quarter of the mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.gate import Answer, Evidence, Gate, does_not_apply, failed, passed

__all__ = ["gate"]

GAP, BIAS, SHARE = 0.05, 0.05, 0.25


def _check(evidence: Evidence) -> Answer:
    rows = evidence.evaluation.tables.get("groups", ())
    if not rows:
        return does_not_apply("0 attributes are named sensitive")
    kind = evidence.data.problem.kind
    harmed = [each for row in rows for each in _harms(row, kind)]
    if harmed:
        return failed("; ".join(harmed))
    widest = max(rows, key=lambda row: abs(row["bias"]))
    attributes = ", ".join(dict.fromkeys(row["attribute"] for row in rows))
    return passed(
        f"{len(rows)} groups of {attributes}: none surely worse off; mean answers off by {widest['bias']:+.3g} at most "
        f"({widest['group']})"
    )


def _harms(row: dict[str, Any], kind: str) -> Iterator[str]:
    who = f"{row['attribute']} {row['group']}"
    if kind in ("binary", "candidates") and row["gap_high"] < -GAP:
        interval = f"95 % {-row['gap_high']:.3f} to {-row['gap_low']:.3f}"
        yield f"{who}: AUC {-row['gap']:.3f} below that of the other groups ({interval})"
    margin = _margin(row, kind)
    if row["bias_low"] > margin or row["bias_high"] < -margin:
        yield (
            f"{who}: mean answer off by {row['bias']:+.3g} (95 % {row['bias_low']:+.3g} to {row['bias_high']:+.3g}, "
            f"{margin:.3g} allowed)"
        )


def _margin(row: dict[str, Any], kind: str) -> float:
    observed = float(row["observed"])
    if kind == "regression":
        return SHARE * abs(observed)
    return BIAS if kind == "uplift" else min(BIAS, max(min(observed, 1 - observed) / 2, BIAS / 10))


gate = Gate(code="KT106", title="harms no subgroup", severity="refuse", check=_check)
