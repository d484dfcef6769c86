"""Sends, opens and clicks put together: which opens were a person's, and from when on it was known of each send.

Privacy proxies fetch a message's images as soon as it is delivered. An open counts as a machine's when the sender says
so (`properties.machine`) or when it occurred less than 10 s after its send. What is put together here stays a matter
of "known when": every link carries the first instant as of which it was known, so that no row sees a later one.
"""

from __future__ import annotations

import polars as pl

from features.windows import known_from, text

__all__ = ["CHANNELS", "MACHINE_SECONDS", "channel", "openable", "opens", "sends"]

CHANNELS = ("email", "sms", "push")
"""Those whose answers are counted apart."""

MACHINE_SECONDS = 10
_NEVER_REPORTS_OPENS = ("sms",)
_BASE = ("customer_id", "message_id", "type", "occurred_at", "received_at")


def channel() -> pl.Expr:
    """A message's channel: e-mail, the oldest of them, where it names none."""
    return pl.col("channel").fill_null("email")


def openable() -> pl.Expr:
    """Of a send: whether its channel could report an open at all; a text message counts in no open rate."""
    return ~pl.col("channel").is_in(_NEVER_REPORTS_OPENS).fill_null(False)


def sends(events: pl.DataFrame) -> pl.DataFrame:
    """One row per send: its times, `channel`, `openable`, and since when known as opened by a person, as clicked."""
    sent = events.filter(pl.col("type") == "send").select(*_BASE, "event_id", channel(), openable=openable())
    sent = sent.with_row_index("number")
    # In two steps: JSON is read of opens alone.
    opened = _responses(sent, events.filter(pl.col("type") == "open").filter(~_flagged())).filter(~_too_fast())
    clicked = _responses(sent, events.filter(pl.col("type") == "click"))
    return (
        sent.join(_earliest(opened, "opened_from"), on="number", how="left")
        .join(_earliest(clicked, "clicked_from"), on="number", how="left")
        .drop("number")
    )


def opens(events: pl.DataFrame) -> pl.DataFrame:
    """One row per open: its times, `channel`, `machine` (the sender says so), `machine_from` (known as one's since)."""
    sent = events.filter(pl.col("type") == "send").select(*_BASE)
    found = events.filter(pl.col("type") == "open").select(*_BASE, "event_id", channel(), machine=_flagged())
    found = found.with_row_index("number")
    linked = found.select("customer_id", "message_id", "number", response_at="occurred_at")
    fast = sent.join(linked, on=["customer_id", "message_id"], how="inner").filter(_too_fast())
    since = _earliest(fast.with_columns(known_from=known_from()), "machine_from")
    return found.join(since, on="number", how="left").drop("number")


def _responses(sent: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Sends with what answered them: `number` of the send, `occurred_at`, `response_at`, `known_from`."""
    answered = answers.select("customer_id", "message_id", response_at="occurred_at", known_from=known_from())
    links = sent.select("customer_id", "message_id", "number", "occurred_at")
    return links.join(answered, on=["customer_id", "message_id"], how="inner")


def _earliest(linked: pl.DataFrame, name: str) -> pl.DataFrame:
    return linked.group_by("number").agg(pl.col("known_from").min().alias(name))


def _flagged() -> pl.Expr:
    return (text("machine") == "true").fill_null(False)


def _too_fast() -> pl.Expr:
    """Of a send's row with the `response_at` of an open."""
    return pl.col("response_at") < pl.col("occurred_at") + pl.duration(seconds=MACHINE_SECONDS)
