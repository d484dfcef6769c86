"""The rows of a table that are used: whose they are, when they were known, what came of them, what was done to them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from features.importing.table import as_text
from features.kernel.errors import InvalidInput, NotEnoughData
from training.table.asked import Asked, did_you_mean
from training.table.missing import plain_text
from training.table.read import Source
from training.table.rows import persons, times
from training.table.target import Target

__all__ = ["Used", "used"]


@dataclass(frozen=True, slots=True)
class Used:
    """Rows whose outcome, and where asked for time and treatment, are known; in the file's order.

    Attributes:
        keep: [rows of the file] which they are.
        person, y: [n] whose, and the outcome.
        as_of: [n] UTC instants; None where the table has no times.
        arm: [n] 1 treated, 0 control; None where nothing was done to anybody.
        said: what was left out and why, a sentence each.
    """

    keep: pl.Series
    person: pl.Series
    y: pl.Series
    as_of: pl.Series | None
    arm: pl.Series | None
    said: tuple[str, ...]

    def only(self, column: pl.Series) -> pl.Series:
        """A column of the file in these rows alone."""
        return column if len(column) == len(self.y) else column.filter(self.keep)


def used(source: Source, target: Target, asked: Asked) -> Used:
    """Choose the rows.

    Raises:
        InvalidInput: the times cannot be read, or a value of the treatment is not there.
        NotEnoughData: no row is left.
    """
    person, repeats, said = persons(source.frame, source.numbers, asked.id)
    keep, more = target.values.is_not_null() & ~repeats, list(said)
    as_of = arm = None
    if asked.time:
        as_of = times(source.frame.get_column(asked.time))
        more += _left_out(as_of, f"{asked.time} is no time that can be read")
        keep &= as_of.is_not_null()
    if asked.treatment:
        arm = _arm(source.frame.get_column(asked.treatment), target, asked)
        more += _left_out(arm, f"{asked.treatment} is neither {asked.treated!r} nor {asked.control!r}")
        keep &= arm.is_not_null()
    if not keep.any():
        raise NotEnoughData("no row has all that is needed", field=asked.path, remedy="; ".join(more) or None)
    return Used(
        keep=keep,
        person=person.filter(keep),
        y=target.values.filter(keep),
        as_of=None if as_of is None else as_of.filter(keep),
        arm=None if arm is None else arm.filter(keep),
        said=tuple(more),
    )


def _arm(given: pl.Series, target: Target, asked: Asked) -> pl.Series:
    if target.kind != "binary":
        raise InvalidInput(
            "asks what a treatment adds to a yes, and the outcome is an amount",
            field="--treatment",
            value=asked.treatment,
            remedy="name a target of yes and no, or say which value is yes with --positive",
        )
    text = plain_text(as_text(given))
    there = text.drop_nulls().unique().sort().to_list()
    for option, value in (("--treated", asked.treated), ("--control", asked.control)):
        if value not in there:
            remedy = did_you_mean(value, there)
            raise InvalidInput(f"is no value of {given.name}", field=option, value=value, remedy=remedy)
    if asked.treated == asked.control:
        raise InvalidInput("is the value of --control, too", field="--treated", value=asked.treated)
    treated = (text == asked.treated).cast(pl.Float64)
    return pl.select(pl.when(text.is_in([asked.treated, asked.control])).then(treated).alias(given.name)).to_series()


def _left_out(values: pl.Series, why: str) -> list[str]:
    gone = values.null_count()
    return [f"{gone:,} rows left out: {why}."] if gone else []
