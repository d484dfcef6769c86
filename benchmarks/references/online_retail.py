"""Online Retail: who buys, and for how much, in the 90 days from 10 September 2011.

The protocol of the known result: fitted on what was known by 10 September, whose last matured labels are those of 12
June. Kairos learns from six cutoffs, a fortnight apart, up to then; a fifth of the people are kept to stop early on.
The windows overlap, and train and validation are told apart by person, not by time: a history of nine months has no
room for more. The test cutoff is later than every label that was learnt from.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.cohorts import labelled, training_set
from benchmarks.reference import Claim, Progress, Reference
from features.kernel.card import Metric
from features.kernel.seeds import uniform
from features.recipe import load_recipe, read
from training import pipeline
from training.amounts.bounds import held
from training.evaluation.amounts import Ranked
from training.fitted import Fitted
from training.plan import Plan
from training.problem import Problem
from training.problems import all_problems

__all__ = ["fitted", "reference"]

TEST = datetime(2011, 9, 10, tzinfo=UTC)
HORIZON = timedelta(days=90)
LEARNT = tuple(TEST - HORIZON - i * timedelta(days=14) for i in reversed(range(6)))
VALIDATION = 0.2
AUC, GINI = 0.725, 0.76
_UNSEEN = "no bound: the first Christmas of these data"


def fitted(problem: Problem, events: pl.DataFrame) -> Fitted:
    """The problem over 90 days, learnt and judged by the protocol."""
    asked = problem.over(HORIZON)
    rows = labelled(asked, events, [*LEARNT, TEST])
    kept = pl.Series([uniform("online retail", each) < VALIDATION for each in rows["customer_id"].to_list()])
    last = rows["as_of"] == LEARNT[-1]
    split = pl.select(
        pl.when(rows["as_of"] == TEST)
        .then(pl.lit("test"))
        .when(~kept)
        .then(pl.lit("train"))
        .when(last)
        .then(pl.lit("validation"))
    ).to_series()
    return pipeline.fit(training_set(asked, rows, split), plan=Plan(trials=0))


def _run(folder: Path, progress: Progress) -> list[Claim]:
    events = read(load_recipe("online_retail"), folder / "online_retail" / "onlineretail.parquet").events
    progress("who buys", 0.2)
    buys = fitted(all_problems()["propensity"], events)
    progress("for how much", 0.6)
    spends = fitted(all_problems()["clv"], events)
    auc, gini = buys.evaluation.metric("auc"), spends.evaluation.metric("gini")
    test, recent = spends.data.test, spends.data.inputs.index("orders:revenue_90d")
    alone = Ranked(test.y, test.x[:, recent].astype(np.float64)).figures()["gini"]
    total = spends.evaluation.metric("total_ratio")
    return [
        _claim("AUC of buying within 90 days", auc, AUC, f"recency alone {auc.baseline:.3f}"),
        _claim("normalised Gini of revenue in 90 days", gini, GINI, f"BG/NBD × Gamma-Gamma {gini.baseline:.3f}"),
        Claim("normalised Gini of the past 90 days' spend alone", alone, "about .710", abs(alone - 0.71) < 0.005),
        Claim(
            "expected over observed total revenue",
            total.value,
            _UNSEEN,
            True,
            total.low,
            total.high,
            note="a naive total is 30 % too low",
        ),
        _coverage(spends, spends.answers),
    ]


def _claim(what: str, found: Metric, least: float, note: str) -> Claim:
    return Claim(what, found.value, f"at least {least}", found.value >= least, found.low, found.high, least, note)


def _coverage(spends: Fitted, answers: NDArray[np.float64]) -> Claim:
    interval = spends.card.interval
    share = float(held(interval, answers, spends.data.test.y).mean()) if interval else float("nan")
    return Claim("share of single revenues within the 80 % bounds", share, _UNSEEN, True)


reference = Reference(
    name="online_retail",
    about="Online Retail, the 90 days from 10 September 2011, trained point-in-time",
    needs="online_retail",
    run=_run,
)
