"""Which account a customer belongs to: the one that the latest event known of them names, as of any instant."""

from __future__ import annotations

import polars as pl

from features.windows import known_from

__all__ = ["accounts_named", "named"]

_READ = ("customer_id", "account_id", "occurred_at", "received_at", "event_id")


def named(events: pl.DataFrame) -> pl.DataFrame:
    """The events that name an account, as few of them as say the same: `customer_id`, `account_id`, times, `event_id`.

    Who never named but one account is told by one row, that of the first instant as of which it was known.
    """
    naming = events.filter(pl.col("account_id").is_not_null())
    since = naming.group_by("customer_id", "account_id").agg(known_from().min().alias("received_at"))
    moved = since.filter(pl.col("customer_id").is_duplicated()).select("customer_id").unique()
    stayed = since.join(moved, on="customer_id", how="anti").select(
        "customer_id",
        "account_id",
        occurred_at=pl.col("received_at") - pl.duration(microseconds=1),
        received_at="received_at",
        event_id=pl.lit(None, pl.String),
    )
    return pl.concat([stayed, naming.join(moved, on="customer_id", how="semi").select(_READ)])


def accounts_named(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """Every account that a customer of the spine was known to name by its instant: `account_id`, `as_of`, each once.

    Those a person has left are among them: they have lost a contact, and their features change as well.
    """
    people = spine.select("customer_id", "as_of").unique()
    naming = events.filter(pl.col("account_id").is_not_null()).select(_READ)
    said = named(naming.join(people, on="customer_id", how="semi"))
    pairs = (
        said.group_by("customer_id", "account_id")
        .agg(known_from().min().alias("since"))
        .join(people, on="customer_id", how="inner")
    )
    return pairs.filter(pl.col("since") <= pl.col("as_of")).select("account_id", "as_of").unique()
