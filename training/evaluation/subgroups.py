"""Subgroup gaps: does a model serve those worse who share a sensitive attribute? The one door to Fairlearn.

Figures by group are those of Fairlearn's `MetricFrame` (Bird et al., 2020); their intervals are bootstraps by person,
which it does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import estimate
from training.evaluation.figures import Sorted
from training.evaluation.judged import Judged
from training.evaluation.outcome import outcome, row_weights
from training.evaluation.over_time import part
from training.evaluation.result import Rows

__all__ = ["MOST", "UNKNOWN", "table"]

Floats = NDArray[np.float64]
Score = Callable[[Floats | None], float]

MOST = 10
"""Groups of an attribute that are told apart; the others are one group."""
OTHERS, UNKNOWN = "others", "unknown"
NAMES = ("value", "gap", "selection_rate", "predicted", "observed", "bias", "ece")
TOP = 0.1
"""`selection_rate`: the share of a group that is among the tenth of all with the highest answers."""


def table(judged: Judged, rng: np.random.Generator) -> Rows:
    """A row a group of each sensitive attribute of the test split.

    `rows`, `positives`, and with intervals `selection_rate`, `predicted`, `observed`, `bias` (mean answer less observed
    mean), the `figure` that is told (`value`; AUC of a yes-or-no question) and its `gap` to that of the other groups,
    and of yes-or-no questions `ece`. NaN where a group has not what a figure needs.
    """
    found: list[dict[str, Any]] = []
    for attribute, groups in judged.data.test.groups.items():
        found += _by_group(judged, attribute, _folded(groups), rng)
    return tuple(found)


def _folded(groups: NDArray[np.str_]) -> NDArray[np.str_]:
    """The most frequent groups by name, those unknown and the others each together."""
    names, counts = np.unique(groups[groups != ""], return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")][:MOST]
    return np.where(groups == "", UNKNOWN, np.where(np.isin(groups, kept), groups, OTHERS))


def _by_group(
    judged: Judged, attribute: str, groups: NDArray[np.str_], rng: np.random.Generator
) -> list[dict[str, Any]]:
    figure = "auc" if judged.kind.name == "binary" else judged.figure.name
    framed = _framed(judged, groups, figure)
    value, low, high = (
        each.reshape(len(framed), -1)
        for each in estimate(_figures(judged, groups, figure), judged.data.test.person, rng)
    )
    found = []
    for k, (group, told) in enumerate(framed.items()):
        row: dict[str, Any] = {"attribute": attribute, "group": group, "figure": figure, **told}
        for i, name in enumerate(NAMES[: value.shape[1]]):
            point = told.get(name, float(value[k, i]))
            row |= {name: point, f"{name}_low": float(low[k, i]), f"{name}_high": float(high[k, i])}
        found.append(row)
    return found


def _framed(judged: Judged, groups: NDArray[np.str_], figure: str) -> dict[str, dict[str, Any]]:
    """Figures of each group, sorted by name, by Fairlearn."""
    from fairlearn.metrics import MetricFrame, mean_prediction, selection_rate  # noqa: PLC0415

    test, own, top, truth = judged.data.test, row_weights(judged.data.test), _top(judged), outcome(judged.data.test)

    def figures(happened: Floats, rows: NDArray[np.intp]) -> dict[str, Any]:
        return {
            "rows": len(rows),
            "positives": int((test.y[rows] > 0).sum()),
            "value": judged.kind.score(part(test, rows), judged.answers[rows], figure)(None),
            "selection_rate": float(selection_rate(happened, top[rows], sample_weight=own[rows])),
            "predicted": float(mean_prediction(happened, judged.answers[rows], sample_weight=own[rows])),
            "observed": float(mean_prediction(happened, happened, sample_weight=own[rows])),
        }

    # Places of rows stand for predictions and all figures are one metric: it copies each array for each metric, slowly.
    frame = MetricFrame(metrics=figures, y_true=truth, y_pred=np.arange(len(test)), sensitive_features=groups)
    return {str(group): told for group, told in frame.by_group.items()}


def _figures(judged: Judged, groups: NDArray[np.str_], figure: str) -> Callable[[Floats | None], Floats]:
    """Under row weights: `NAMES` of each group, sorted by name, one group after the other."""
    test, own, top, truth = judged.data.test, row_weights(judged.data.test), _top(judged), outcome(judged.data.test)
    places = [np.flatnonzero(groups == each) for each in np.unique(groups)]
    scores = [judged.kind.score(part(test, rows), judged.answers[rows], figure) for rows in places]
    curves = [_curve(judged, rows) for rows in places] if judged.kind.name == "binary" else []

    def figures(drawn: Floats | None) -> Floats:
        weight, inside = own if drawn is None else own * drawn, [None if drawn is None else drawn[at] for at in places]
        totals = np.array([weight[at].sum() for at in places])
        there = totals > 0  # a draw may leave a small group empty
        values = np.array(
            [score(each) if ok else np.nan for score, each, ok in zip(scores, inside, there, strict=True)]
        )
        with np.errstate(invalid="ignore"):
            means = [
                np.array([(weight[at] * each[at]).sum() for at in places]) / totals
                for each in (top, judged.answers, truth)
            ]
        errors = [np.array([curve(each) for curve, each in zip(curves, inside, strict=True)])] if curves else []
        columns = [values, _gap(values, totals), *means, means[1] - means[2], *errors]
        return np.stack(columns, axis=1).ravel()

    return figures


def _gap(values: Floats, totals: Floats) -> Floats:
    """Each group's figure less the mean of the other groups': that of all rows holds telling the groups apart, too."""
    known = ~np.isnan(values)
    weight, filled = np.where(known, totals, 0.0), np.where(known, values, 0.0)
    rest, others = weight.sum() - weight, (weight * filled).sum() - weight * filled
    mean: Floats = np.divide(others, rest, out=np.full(len(values), np.nan), where=rest > 0)
    return values - mean


def _curve(judged: Judged, rows: NDArray[np.intp]) -> Score:
    """The calibration error of some rows under further weights."""
    test = judged.data.test
    sorted_rows = Sorted(test.y[rows], judged.answers[rows], None if test.weight is None else test.weight[rows])

    def error(drawn: Floats | None) -> float:
        bins = sorted_rows.bins(drawn)
        return float(np.abs(bins.predicted - bins.observed).mean())

    return error


def _top(judged: Judged) -> Floats:
    """[n] 1 of the tenth with the highest answers, those equal to the last of it included."""
    order = np.argsort(-judged.answers, kind="stable")
    taken = np.cumsum(row_weights(judged.data.test)[order])
    last = order[np.searchsorted(taken, TOP * taken[-1])]
    return np.where(judged.answers >= judged.answers[last], 1.0, 0.0)
