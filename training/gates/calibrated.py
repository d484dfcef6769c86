"""Probabilities must mean what they say, or thresholds and expected values built on them are wrong.

Expected calibration error (ten equal-count bins; Naeini et al., 2015) counts sampling noise as error: with n rows even
a perfect model shows about sqrt(2 · 10 · p(1 − p) / (π n)). What exceeds that must stay under .05, and under half the
base rate where positives are rare.
"""

from __future__ import annotations

import math

from training.gate import Answer, Evidence, Gate, failed, passed

__all__ = ["gate"]

MOST = 0.05
_BINS = 10


def _check(evidence: Evidence) -> Answer:
    found = evidence.evaluation
    rarer = min(found.mean, 1 - found.mean)
    noise = math.sqrt(2 * _BINS * rarer * (1 - rarer) / (math.pi * found.rows))
    limit = min(MOST, rarer / 2) + noise
    error = found.metric("ece").value
    figure = (
        f"calibration error {error:.4f}, at most {limit:.4f} allowed ({noise:.4f} of it noise of {found.rows} rows)"
    )
    return passed(figure) if error <= limit else failed(figure)


gate = Gate(code="KT102", title="is calibrated", severity="refuse", check=_check)
