"""Columns that a model of a label must not see: what can only be known once the label is."""

from __future__ import annotations

import polars as pl

from features.importing.infer.facts import Facts

__all__ = ["auc", "leak"]

_LATE = {"duration", "outcome", "result", "closed", "conversion", "converted", "spend", "spent", "visit", "visited"}
_LATE |= {"cancelled", "canceled", "refunded", "reason", "clicked", "opened", "response", "final"}
"""Words of what happens with or after the label."""
_TELLING, _OF_LATE = 0.9, 0.6
"""Areas under the curve from which on a column tells too much: any, and one whose name is of `_LATE`."""
_SURE, _ROWS = 0.999, 20


def leak(each: Facts, label: pl.Series) -> str:
    """Why a column is thought to be known only with the label; empty where it is not.

    Args:
        label: 0 or 1, null where it is not known.
    """
    base = float(label.mean() or 0.0)  # type: ignore[arg-type]
    if each.numeric == 1.0:
        some = each.numbers != 0
        rows, yes = int((some & label.is_not_null()).sum()), int((some & (label == 1)).sum())
        if rows >= _ROWS and yes >= _SURE * rows and base < _TELLING and not some.all():
            return f"whenever it is not 0 the label is positive ({yes:,} of {rows:,} rows): it comes with the label"
    area = auc(each, label)
    if area >= _TELLING:
        return f"it alone tells the label apart (AUC {area:.3f}): known only with the label, most likely"
    if each.words & _LATE and area >= _OF_LATE:
        return f"by its name it is known only afterwards, and it tells much (AUC {area:.3f} alone)"
    return ""


def auc(each: Facts, label: pl.Series) -> float:
    """How well a column alone orders the label, in whichever direction: .5 (not at all) to 1.

    A number is taken as it is, a text of at most 50 values by the rate of each value.
    """
    if each.numeric == 1.0:
        score = each.numbers
    elif each.distinct <= 50:
        rates = pl.DataFrame([each.values.alias("value"), label.alias("label")])
        score = rates.select(pl.col("label").mean().over("value")).to_series()
    else:
        return 0.5
    known = pl.DataFrame([score.alias("score"), label.alias("label")]).drop_nulls()
    positives = int((known["label"] == 1).sum())
    negatives = known.height - positives
    if not positives or not negatives:
        return 0.5
    ranks = known.select(pl.col("score").rank("average").filter(pl.col("label") == 1).sum()).item()
    area = (ranks - positives * (positives + 1) / 2) / (positives * negatives)
    return float(max(area, 1 - area))
