"""Answers must mean what they say, or thresholds and expected values built on them are wrong.

Of probabilities: expected calibration error (ten equal-count bins; Naeini et al., 2015) counts sampling noise as error.
With n rows even a perfect model shows about sqrt(2 · 10 · p(1 − p) / (π n)); what exceeds that must stay under .05, and
under half the base rate where positives are rare. Of amounts: the total must not surely be off by more than a quarter.
Of effects: the error over fifths of the people must be within twice what chance alone makes of it.
"""

from __future__ import annotations

import math

from training.evaluation.outcome import row_weights
from training.gate import Answer, Evidence, Gate, failed, passed

__all__ = ["gate"]

MOST, MOST_TOTAL, TIMES_CHANCE = 0.05, 1.25, 2.0
_BINS = 10


def _probabilities(evidence: Evidence) -> Answer:
    found, weight = evidence.evaluation, row_weights(evidence.data.test)
    rows = float(weight.sum() ** 2 / (weight**2).sum())  # as many as they are worth (Kish, 1965)
    rarer = min(found.mean, 1 - found.mean)
    noise = math.sqrt(2 * _BINS * rarer * (1 - rarer) / (math.pi * rows))
    limit = min(MOST, rarer / 2) + noise
    error = found.metric("ece").value
    figure = f"calibration error {error:.4f}, at most {limit:.4f} allowed ({noise:.4f} of it noise of {rows:.0f} rows)"
    return passed(figure) if error <= limit else failed(figure)


def _amounts(evidence: Evidence) -> Answer:
    total = evidence.evaluation.metric("total_ratio")
    figure = (
        f"answers add up to {total.value:.2f} of the true total (95 % {total.low:.2f} to {total.high:.2f}), "
        f"{1 / MOST_TOTAL:.2f} to {MOST_TOTAL:.2f} allowed"
    )
    return passed(figure) if total.low <= MOST_TOTAL and total.high >= 1 / MOST_TOTAL else failed(figure)


def _effects(evidence: Evidence) -> Answer:
    error, chance = (evidence.evaluation.metric(name).value for name in ("effect_error", "effect_error_by_chance"))
    figure = (
        f"effects of fifths are off by {error:.4f}, chance alone makes {chance:.4f}, {TIMES_CHANCE:.0f} times allowed"
    )
    return passed(figure) if error <= TIMES_CHANCE * chance else failed(figure)


_BY_KIND = {"binary": _probabilities, "candidates": _probabilities, "regression": _amounts, "uplift": _effects}


def _check(evidence: Evidence) -> Answer:
    return _BY_KIND[evidence.data.problem.kind](evidence)


gate = Gate(code="KT102", title="is calibrated", severity="refuse", check=_check)
