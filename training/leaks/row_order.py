"""The order of the rows tells the label: the table is sorted by time or by outcome. A warning, for it is no column."""

from __future__ import annotations

import math
from collections.abc import Iterator

from training.leak import ROW_ORDER, Leak, Sheet, Suspect

__all__ = ["leak"]

TELLS = 0.55
_ERRORS = 4


def _look(sheet: Sheet) -> Iterator[Suspect]:
    alone, yes = sheet.order.alone, sheet.y.sum()
    noise = _ERRORS * math.sqrt(1 / (12 * min(yes, len(sheet.y) - yes)))
    if sheet.time is None and alone > max(TELLS, 0.5 + noise):
        yield Suspect(
            ROW_ORDER,
            f"the order of the rows tells the label (AUC {alone:.2f}): they may stand in order of time or be "
            "sorted, and a random split then flatters; name the column of their time if there is one",
        )


leak = Leak(code="row_order", title="the order of the rows predicts", severity="warn", look=_look)
