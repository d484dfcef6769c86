"""The leak guard: one check a file; `guard()` asks them all, on raw columns, before any feature is made of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.card import Refused
from features.kernel.discover import discover
from features.kernel.seeds import generator
from training.leak import ROW_ORDER, Leak, Sheet

__all__ = ["all_leaks", "guard"]

MOST_ROWS = 50_000
"""Rows that are judged; of a larger table as many are drawn, in their order."""
_ORDER = ("recorded_after", "identifier", "comes_with_label", "near_copy", "too_good_alone", "row_order")


def all_leaks() -> dict[str, Leak]:
    """Every check by name, in the order they are asked: the plainer sentence speaks first.

    >>> list(all_leaks())[0]
    'recorded_after'
    """
    found = discover(sys.modules[__name__], "leak", Leak)
    return {name: found[name] for name in sorted(found, key=lambda each: (each not in _ORDER, *_place(each)))}


def guard(
    rows: pl.DataFrame,
    target: pl.Series,
    *,
    time: pl.Series | None = None,
    allow: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Refused, ...]:
    """The columns that could not have been known when the decision was made, each with one sentence why.

    A column that one check refused is out of sight of the next: a strong leak would hide a weaker one.

    Args:
        rows: the training rows' raw columns, without label, id and time.
        target: [n] 0 or 1; of an amount, anything: its upper half counts as yes.
        time: [n] when each row was decided on, where the table says so.
        allow: columns to keep whatever is said of them; on the record.
        progress: told (checks done, of how many).
    """
    checks = all_leaks()
    y = _yes_or_no(target)
    if not 0 < y.sum() < len(y):
        return ()
    if rows.height > MOST_ROWS:
        drawn = np.sort(generator("leak rows").permutation(rows.height)[:MOST_ROWS])
        rows, y, time = rows[drawn], y[drawn], None if time is None else time[drawn]
    found: list[Refused] = []
    for done, (code, leak) in enumerate(checks.items()):
        gone = [each.column for each in found if each.column != ROW_ORDER]
        for column, sentence in leak.look(Sheet(rows.drop(gone), y, time)):
            kept = leak.severity == "warn" or column in allow
            found.append(Refused(column=column, code=code, reason=sentence, kept=kept, allowed=column in allow))
        progress(done + 1, len(checks))
    return tuple(found)


def _yes_or_no(target: pl.Series) -> NDArray[np.float64]:
    values = target.cast(pl.Float64).to_numpy()
    least = np.median(values) if len(np.unique(values)) > 2 else values.min()
    return np.asarray(values > least, dtype=np.float64)


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)
