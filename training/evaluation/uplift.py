"""Evaluation of a predicted effect on the test split: does ranking by it beat ranking by chance, and how surely.

An effect is never seen: nobody is both treated and not. What can be judged is the ranking (Qini, AUUC), and whether
groups with equal answers answer the treatment as they were said to. Intervals are bootstraps by person. Beside them
stands the null: 200 random rankings of the same people. Its mean and standard deviation say how large a Qini
chance gives on these very data, and the claim is told in those standard deviations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric
from training.evaluation.bootstrap import DRAWS, metric, weights
from training.evaluation.ranked import Parts, Ranked, Sums
from training.evaluation.result import Bins, Evaluation, Rows

__all__ = ["Null", "evaluate", "null"]

Floats = NDArray[np.float64]

_DECILES, _QUINTILES, _GROUPS = 10, 5, 500
_GRID = np.linspace(0.0, 1.0, 21)
_EXPECTED_ABSOLUTE = float(np.sqrt(2 / np.pi))
"""Mean absolute value of a standard normal."""


class Null(NamedTuple):
    """What random rankings of the same people come to."""

    mean: float
    sd: float
    low: Floats
    """[21] 2.5 % and 97.5 % bounds of the curve at shares 0, .05, … 1."""
    high: Floats


class _Drawn(NamedTuple):
    """Figures of one bootstrap draw."""

    qini: float
    baseline: float
    auuc: float
    effect: float
    tenths: Parts
    fifths: Parts


def evaluate(
    y: Floats,
    arm: Floats,
    propensity: Floats,
    model: Floats,
    baseline: Floats,
    person: NDArray[np.str_],
    rng: np.random.Generator,
) -> Evaluation:
    """Figures of the test split: [n] outcomes, arms, P(arm = 1), effects by model and baseline, and whose row it is.

    Tables: `qini` (the curve beside the random line and the null's band), `deciles` and `quintiles` by predicted
    effect, `null` (mean and sd of the Qini of random rankings).
    """
    ours, theirs = Ranked(y, arm, propensity, model), Ranked(y, arm, propensity, baseline)
    found = _figures(ours, theirs)
    draws = [_figures(ours, theirs, each) for each in weights(person, rng, DRAWS)]
    chance, simple = null(ours, person, rng), theirs.under()
    return Evaluation(
        metrics=_metrics(found, draws, chance, simple.auuc),
        gain=metric("qini", found.qini - found.baseline, [each.qini - each.baseline for each in draws]),
        bins=Bins(found.tenths.predicted, found.tenths.effect),
        baseline_bins=Bins(simple.parts(_DECILES).predicted, simple.parts(_DECILES).effect),
        mean=found.effect,
        rows=len(y),
        people=len(np.unique(person)),
        positives=int((y > 0).sum()),
        tables={
            "qini": _curve(ours.under(), chance),
            "deciles": _parts(found.tenths, [each.tenths for each in draws], len(y)),
            "quintiles": _parts(found.fifths, [each.fifths for each in draws], len(y)),
            "null": ({"mean": chance.mean, "sd": chance.sd, "rankings": DRAWS},),
        },
    )


def null(ranked: Ranked, person: NDArray[np.str_], rng: np.random.Generator, draws: int = DRAWS) -> Null:
    """What `draws` random rankings of the persons come to; rows of one person rank together.

    A random ranking is drawn as the order of 500 groups of people: inside them the curve is a straight line, as it is
    on average, and no sorting is needed.
    """
    codes = np.unique(person, return_inverse=True)[1]
    people = int(codes.max()) + 1
    qini, curves = np.empty(draws), np.empty((draws, len(_GRID)))
    for i in range(draws):
        sums = ranked.reranked(rng.integers(0, _GROUPS, people)[codes])
        qini[i], curves[i] = sums.qini, np.interp(_GRID, *sums.curve())
    low, high = np.percentile(curves, [2.5, 97.5], axis=0)
    return Null(float(qini.mean()), float(qini.std(ddof=1)), low, high)


def _figures(ours: Ranked, theirs: Ranked, drawn: Floats | None = None) -> _Drawn:
    sums = ours.under(drawn)
    return _Drawn(
        sums.qini,
        theirs.under(drawn).qini,
        sums.auuc,
        sums.average_effect,
        sums.parts(_DECILES),
        sums.parts(_QUINTILES),
    )


def _metrics(found: _Drawn, draws: list[_Drawn], chance: Null, baseline_auuc: float) -> tuple[Metric, ...]:
    gaps = np.stack([_gap(each.fifths) for each in draws])
    allowed = float(np.nanstd(gaps, axis=0, ddof=1).mean()) * _EXPECTED_ABSOLUTE
    qini = [each.qini for each in draws]
    return (
        metric("qini", found.qini, qini, round(found.baseline, 12) + 0.0),  # not -0.0, for a constant answer
        metric("qini_in_null_sds", _sds(found.qini, chance), [_sds(each, chance) for each in qini], 0.0),
        metric("auuc", found.auuc, [each.auuc for each in draws], baseline_auuc),
        metric("average_effect", found.effect, [each.effect for each in draws]),
        metric(
            "effect_error",
            float(np.nanmean(np.abs(_gap(found.fifths)))),
            [float(np.nanmean(np.abs(each))) for each in gaps],
            higher_is_better=False,
        ),
        metric("effect_error_by_chance", allowed, [allowed], higher_is_better=False),
    )


def _gap(parts: Parts) -> Floats:
    """[k] observed less predicted effect."""
    return parts.effect - parts.predicted


def _sds(qini: float, chance: Null) -> float:
    return (qini - chance.mean) / chance.sd if chance.sd > 0 else 0.0


def _curve(sums: Sums, chance: Null) -> Rows:
    gained = np.interp(_GRID, *sums.curve())
    return tuple(
        {
            "share": round(float(share), 2),
            "gained": float(gained[i]),
            "at_random": float(share * gained[-1]),
            "low": float(chance.low[i]),
            "high": float(chance.high[i]),
        }
        for i, share in enumerate(_GRID)
    )


def _parts(parts: Parts, drawn: list[Parts], rows: int) -> Rows:
    """A row a part, highest answers first, each with the 95 % interval of its effect."""
    low, high = np.nanpercentile(np.stack([each.effect for each in drawn]), [2.5, 97.5], axis=0)
    count = len(parts.predicted)
    return tuple(
        {
            "part": count - k,
            "rows": round(rows / count),
            "predicted": float(parts.predicted[k]),
            "treated": float(parts.treated[k]),
            "control": float(parts.control[k]),
            "effect": float(parts.effect[k]),
            "low": float(low[k]),
            "high": float(high[k]),
        }
        for k in reversed(range(count))
    )
