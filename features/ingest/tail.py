"""All events in memory, so that some customers' histories are found without asking the ledger for each.

Rows lie in runs, each sorted by its key with an index of where a key begins; the newest wait unsorted until there are
enough for a run. A run that has grown to half the size of the one before it is merged with it (up to `MERGED` rows), so
there are few runs, and no merge holds the reader up for longer than a second.

Memory: about 250 bytes an event, and more while the ledger is read at the start (a merge needs its rows twice); ten
million events need about three gigabytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.frames import EVENT_SCHEMA

__all__ = ["Tail"]

UNSORTED = 16_384
"""Newest rows, which are searched one by one."""
MERGED = 2_000_000
"""Rows of a run beyond which it is merged no more."""

_NAMED = {"account_id": pl.String, "customer_id": pl.String}


class Tail:
    """Every event once, found by customer. Not for several threads.

    >>> tail = Tail()
    >>> tail.append(pl.DataFrame([{"event_id": "e1", "customer_id": "ann"}], schema=EVENT_SCHEMA))
    >>> len(tail), tail.of(["ann", "bob"])["event_id"].to_list()
    (1, ['e1'])
    """

    def __init__(self) -> None:
        self._events = _Sorted("customer_id", EVENT_SCHEMA)
        self._named = _Sorted("account_id", _NAMED, distinct=True)

    def __len__(self) -> int:
        """How many events it holds."""
        return len(self._events)

    def append(self, events: pl.DataFrame) -> None:
        """Add events, columns `features.frames.EVENT_SCHEMA` among them; none of them may be there already."""
        self._events.append(events)
        self._named.append(events.filter(pl.col("account_id").is_not_null()))

    def of(self, customers: Collection[str]) -> pl.DataFrame:
        """The events of some customers, and of all others who ever named one of their accounts; rows in any order."""
        found = self._events.find(customers)
        accounts = found["account_id"].drop_nulls().unique()
        if accounts.is_empty():
            return found
        colleagues = set(self._named.find(accounts.to_list())["customer_id"]) - set(customers)
        return pl.concat([found, self._events.find(colleagues)])

    def all(self) -> pl.DataFrame:
        """Every event, rows in any order; nothing is copied."""
        return self._events.all()


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows sorted by a key: those of `keys[i]` are numbers `starts[i]` to `starts[i + 1]`."""

    rows: pl.DataFrame
    keys: pl.Series
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pl.DataFrame, key: str) -> _Run:
        rows = rows.sort(key, maintain_order=True)
        lengths = rows[key].rle().struct.unnest()
        ends = np.cumsum(lengths["len"].to_numpy(), dtype=np.int64)
        return cls(rows, lengths["value"], np.concatenate([np.zeros(1, np.int64), ends]))

    def find(self, sought: pl.Series) -> pl.DataFrame:
        at = self.keys.search_sorted(sought).to_numpy()
        there = self.keys.gather(np.minimum(at, len(self.keys) - 1)) == sought
        at = at[there.to_numpy()]
        first, size = self.starts[at], self.starts[at + 1] - self.starts[at]
        # The numbers of all ranges one after the other: the first of each, and a count from it.
        count = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        return self.rows.select(pl.all().gather(np.repeat(first, size) + count))


class _Sorted:
    """Rows found by a key that is never null; with `distinct`, equal rows are kept once a run."""

    def __init__(self, key: str, schema: Mapping[str, Any], *, distinct: bool = False) -> None:
        self._key, self._columns, self._distinct = key, list(schema), distinct
        self._runs: list[_Run] = []
        self._newest = pl.DataFrame(schema=schema)

    def __len__(self) -> int:
        return self._newest.height + sum(run.rows.height for run in self._runs)

    def append(self, rows: pl.DataFrame) -> None:
        self._newest = pl.concat([self._newest, rows.select(self._columns)], rechunk=True)
        if self._newest.height < UNSORTED:
            return
        self._runs.append(self._run(self._newest))
        self._newest = self._newest.clear()
        while len(self._runs) > 1 and self._alike():
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(self._run(pl.concat([before.rows, last.rows])))

    def find(self, keys: Collection[str]) -> pl.DataFrame:
        sought = pl.Series(list(keys), dtype=pl.String).unique()
        newest = self._newest.filter(pl.col(self._key).is_in(sought.implode()))
        return pl.concat([*(run.find(sought) for run in self._runs), newest])

    def all(self) -> pl.DataFrame:
        return pl.concat([*(run.rows for run in self._runs), self._newest], rechunk=False)

    def _run(self, rows: pl.DataFrame) -> _Run:
        return _Run.of(rows.unique() if self._distinct else rows, self._key)

    def _alike(self) -> bool:
        before, last = (run.rows.height for run in self._runs[-2:])
        return before + last <= MERGED and 2 * last >= before
