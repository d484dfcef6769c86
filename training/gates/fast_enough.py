"""An answer must not keep a visitor waiting: trees for one person, all candidates at once, in this process.

LightGBM's own `predict`, the best of several calls, so that a busy machine is not taken for a slow model. It takes
microseconds a row; the limit is two orders above that, and only a monstrous model reaches it.
"""

from __future__ import annotations

import time

import numpy as np

from training.booster import load
from training.gate import Answer, Evidence, Gate, passed, warned

__all__ = ["gate"]

LIMIT_MS, A_CANDIDATE_MS = 10.0, 1.0
_CALLS = 7


def _check(evidence: Evidence) -> Answer:
    candidates = evidence.data.candidates
    count = 1 if candidates is None else candidates.count
    limit = LIMIT_MS + A_CANDIDATE_MS * (count - 1)
    rows = np.ascontiguousarray(np.resize(evidence.data.test.x, (count, evidence.data.test.x.shape[1])), np.float64)
    booster = load(evidence.model.text)
    taken = []
    for _ in range(_CALLS):
        started = time.perf_counter()
        booster.predict(rows, raw_score=True, num_threads=1)
        taken.append(1000 * (time.perf_counter() - started))
    of = "one person" if count == 1 else f"one person's {count} candidates"
    if min(taken) > limit:
        return warned(f"the answer of {of} takes {min(taken):.0f} ms, more than {limit:.0f} ms")
    return passed(f"the answer of {of} takes less than {limit:.0f} ms")


gate = Gate(code="KT107", title="is fast enough to answer online", severity="warn", check=_check)
