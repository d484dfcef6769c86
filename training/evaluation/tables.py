"""What is judged alike whatever the kind: over time, by segment, by group, by profit, by slot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.evaluation import coverage, over_time, profit, reliability, segments, slots, subgroups
from training.evaluation.judged import Judged
from training.evaluation.result import Evaluation, Rows

__all__ = ["complete"]


def complete(evaluation: Evaluation, judged: Judged, rng: np.random.Generator) -> Evaluation:
    """The evaluation with the tables that these data and this kind allow; an empty table is left out."""
    data, test = judged.data, judged.data.test
    parts = segments.segments(data, judged.answers)
    metrics = evaluation.metrics
    tables: dict[str, Rows] = {
        "over_time": over_time.table(judged, rng),
        "by_segment": segments.table(test, judged.answers, parts, rng),
        "groups": subgroups.table(judged, rng),
    }
    if judged.kind.name == "binary":
        curves = reliability.by_segment(test, judged.answers, parts, rng)
        tables["reliability"] = evaluation.tables.get("reliability", ()) + curves
        hits, found = slots.judge(judged, rng)
        metrics, tables = metrics + hits, tables | found
        if data.problem.costs is not None:
            earned, tables["profit"] = profit.judge(judged, data.problem.costs, rng)
            metrics += earned
    if judged.interval is not None and judged.interval.kind == "prediction":
        held, found = coverage.judge(judged.interval, test, judged.answers, rng)
        metrics, tables = metrics + held, tables | found
    kept = {name: rows for name, rows in tables.items() if rows}
    return replace(evaluation, metrics=metrics, tables={**evaluation.tables, **kept})
