"""A model must be better than the simple one, and surely so: the whole interval of the gain lies above zero.

The simple one of an uplift problem ranks nobody, so there the question is whether targeting gains anything.
"""

from __future__ import annotations

from training.gate import Answer, Evidence, Gate, failed, passed

__all__ = ["gate"]


def _check(evidence: Evidence) -> Answer:
    gain = evidence.evaluation.gain
    figure = f"{gain.name} {gain.value:+.4f} against the baseline (95 % {gain.low:+.4f} to {gain.high:+.4f})"
    return passed(figure) if gain.low > 0 else failed(figure)


gate = Gate(code="KT101", title="beats its baseline", severity="refuse", check=_check)
