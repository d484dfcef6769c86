"""Awaiting a group commit, and outcomes: checked against the journal and appended in one durable unit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from features.kernel import tables
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.records import Outcome, Receipt

__all__ = ["NOT_FOUND", "append_outcomes", "durable"]

T = TypeVar("T")
NOT_FOUND = "not_found"
"""Status of the receipt of an outcome whose decision is not in the journal."""


async def durable(submit: Callable[[], Future[T]]) -> T:
    """The result of what `submit` hands to a group commit, once it is durable.

    Raises:
        Busy: too much is waiting already.
        Unavailable: the ledger did not take it.
    """
    # Shielded: a caller that goes away must not cancel what its neighbours of the group wait for.
    try:
        return await asyncio.shield(asyncio.wrap_future(submit()))
    except IntegrityError:  # another process appended one of these ids since we looked: look again
        return await asyncio.shield(asyncio.wrap_future(submit()))


async def append_outcomes(ledger: Ledger, commit: GroupCommit, batch: Sequence[Outcome]) -> list[Receipt]:
    """Append outcomes of decisions in the journal; one receipt an outcome, in order.

    Raises:
        Busy, Unavailable: as `durable`.
    """
    wanted = sorted({each.decision_id for each in batch})

    def work(connection: Connection) -> list[Receipt]:
        table = tables.decisions
        query = select(table.c.decision_id).where(table.c.decision_id.in_(wanted))
        known = set(connection.execute(query).scalars())
        receipts = iter(ledger.append_outcomes([each for each in batch if each.decision_id in known], connection))
        reason = "its decision is not in the journal"
        return [
            next(receipts) if each.decision_id in known else Receipt(each.outcome_id, NOT_FOUND, reason)
            for each in batch
        ]

    return await durable(lambda: commit.submit(work))
