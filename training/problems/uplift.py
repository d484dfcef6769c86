"""Uplift: how much likelier a treatment makes an order, learnt from a test that drew who gets it.

A test is told by events of type `assignment`: who was drawn for which arm, with which probability. `control` means no
treatment, the other arm is one. A row is a person drawn in the window, with the features known at its start, and the
label says whether they ordered within two weeks of the draw: what is ordered anyway cancels out between the arms.

`uplift_win_back` asks about the test called "win_back" alone.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from features.kernel.card import Cutoffs
from features.kernel.errors import NotEnoughData
from features.kernel.events import EVENT_TYPES
from features.windows import number, text
from training.effects.treatment import UNIT
from training.problem import Problem
from training.rows.labels import before, within

__all__ = ["CONTROL", "problem"]

CONTROL = "control"
PATIENCE = timedelta(days=14)
"""What is ordered later than this after the draw does not count."""


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    """Everybody known; nobody before the first test, when there is nothing to learn."""
    people = before(events, cutoff, *EVENT_TYPES).select("customer_id").unique().sort("customer_id")
    return people.clear() if before(events, cutoff, "assignment").is_empty() else people


def _label(
    test: str, events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta
) -> pl.DataFrame:
    """The first draw of each person that leaves time to order inside the window, and whether they did in that time."""
    patience = min(PATIENCE, horizon / 2)
    drawn = _drawn(within(events, cutoff, horizon - patience, "assignment"), test).filter(_usable())
    first = drawn.sort("drawn_at", "event_id").unique("customer_id", keep="first", maintain_order=True)
    orders = within(events, cutoff, horizon, "order").select("customer_id", pl.col("occurred_at").alias("ordered_at"))
    waited = pl.col("ordered_at") - pl.col("drawn_at")
    bought = first.join(orders, on="customer_id").filter((waited >= timedelta(0)) & (waited < patience))
    people = first.join(population.select("customer_id"), on="customer_id", how="semi").sort("customer_id")
    return people.select(
        "customer_id",
        pl.col("customer_id").is_in(bought.get_column("customer_id").unique().implode()).cast(pl.Int8).alias("label"),
        (pl.col("given") != CONTROL).cast(pl.Int8).alias("arm"),
        pl.when(pl.col("given") == CONTROL).then(1 - pl.col("chance")).otherwise("chance").alias("propensity"),
    )


def _drawn(assignments: pl.DataFrame, test: str) -> pl.DataFrame:
    """`customer_id`, `event_id`, `drawn_at`, `test`, the arm `given`, and its `chance`; of one test, or of all."""
    found = assignments.select(
        "customer_id",
        "event_id",
        pl.col("occurred_at").alias("drawn_at"),
        text("test").alias("test"),
        text("arm").alias("given"),
        number("propensity").alias("chance"),
    )
    return found.filter(pl.col("test") == test) if test else found


def _usable() -> pl.Expr:
    """Whether the draw names its arm, and a probability of it that leaves it open."""
    return pl.col("given").is_not_null() & (pl.col("chance") > 0) & (pl.col("chance") < 1)


def _cautious(test: str, events: pl.DataFrame, cutoffs: Cutoffs) -> tuple[str, ...]:
    drawn = _drawn(events.filter(pl.col("type") == "assignment"), test)
    usable = drawn.filter(_usable())
    if usable.is_empty():
        raise NotEnoughData(
            "no assignment names its arm and a propensity inside (0, 1)",
            field=f"test {test}" if test else "assignments",
            remedy="send `properties.arm` and `properties.propensity`, the probability of that arm",
        )
    tests = usable.get_column("test").drop_nulls().unique().sort().to_list()
    arms = usable.filter(pl.col("given") != CONTROL).group_by("test").agg(pl.col("given").unique().sort()).sort("test")
    for name, given in arms.iter_rows():
        if len(given) > 1:
            raise NotEnoughData(
                f"has several treatments ({', '.join(given)})",
                field=f"test {name}",
                remedy="record each of them against its control as a test of its own",
            )
    left = len(drawn) - len(usable)
    said = [f"{left:,} of {len(drawn):,} assignments name no arm or no propensity and are left out."] if left else []
    if len(tests) > 1:
        said.append(f"The treatments of {len(tests)} tests ({', '.join(tests)}) are taken as one.")
    return tuple(said)


def _about(test: str) -> Problem:
    question = f"By how much does the test {test} of the next {{days}} days change the probability of an order?"
    return replace(problem, question=question, label=partial(_label, test), caution=partial(_cautious, test))


problem = Problem(
    name="uplift",
    question="By how much does the treatment of a test of the next {days} days change the probability of an order?",
    population=_population,
    label=partial(_label, ""),
    horizon=timedelta(days=44),  # draws of 30 days, which is how far apart cutoffs lie, and two weeks to order
    features=("orders:*", "profile:*", "engagement:*", "web:*"),
    baseline=("orders:days_since_last",),
    needs=("assignment", "order"),
    kind="uplift",
    unit=UNIT,
    shorter=(timedelta(days=28),),
    variant=_about,
    caution=partial(_cautious, ""),
)
