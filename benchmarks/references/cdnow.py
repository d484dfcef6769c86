"""CDNOW: who orders again, and how often, in the 39 weeks after the first 39.

One cohort, one calibration window: what followed it can be learnt only from other people of the cohort, which BG/NBD
does not need. So Kairos's answers are cross-validated by person, each by a pipeline fitted on others; BG/NBD's come
from the calibration window alone, as published.

Mean absolute error is least for the median of what may happen (Gneiting, "Making and evaluating point forecasts",
2011), and most people order nothing: an expected number that has the total right must lose by it against one that is
too low, and 0 for everyone reaches .798. It is therefore held against trees fitted to it; squared error and total
against the expected number. AUC is the mean over folds: scores of different models are not one ranking (Forman &
Scholz, "Apples-to-apples in cross-validation studies", 2010).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.cohorts import Judged, in_folds, labelled, training_set
from benchmarks.reference import Claim, Progress, Reference
from features.kernel.seeds import generator, uniform
from features.recipe import load_recipe, read
from training.amounts import bgnbd, buy_till_you_die
from training.amounts.bgnbd import BGNBD, History
from training.booster import Trainer
from training.evaluation.bootstrap import estimate
from training.problem import Problem
from training.problems import all_problems
from training.rows.labels import within

__all__ = ["History", "counting", "histories", "medians", "reference", "sample"]

Floats = NDArray[np.float64]

WEEK = timedelta(weeks=1)
WINDOW = 39 * WEEK
SHOP = ZoneInfo("America/New_York")
CUTOFF = datetime(1997, 10, 1, tzinfo=SHOP).astimezone(UTC)
PUBLISHED = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}
LOG_LIKELIHOOD, HOLDOUT = -9582.4, 0.786
AUC, LOG_LOSS = 0.772, 0.491


class Cohort(NamedTuple):
    """Customers in order of id, what was known of each by the cutoff in weeks, and what followed."""

    ids: list[str]
    known: History
    later: Floats
    """[n] days with an order in the 39 weeks after."""


def sample(folder: Path) -> set[str]:
    """Ids of the 1/10 sample that the published figures are of."""
    return {line.split()[0] for line in (folder / "CDNOW_sample.txt").read_text().splitlines() if line.strip()}


def histories(events: pl.DataFrame) -> Cohort:
    """Repeat purchases, when the last was and how old the customer is, counted in days as published; in weeks."""
    day = pl.col("occurred_at").dt.convert_time_zone(str(SHOP)).dt.date()
    orders = events.filter(pl.col("type") == "order").select("customer_id", day.alias("day")).unique()
    today = CUTOFF.astimezone(SHOP).date()
    last, end = today - timedelta(days=1), today + WINDOW
    past = orders.filter(pl.col("day") <= last).group_by("customer_id")
    known = past.agg(pl.len().alias("n"), pl.col("day").min().alias("first"), pl.col("day").max().alias("recent"))
    after = orders.filter(pl.col("day").is_between(last, end, closed="none")).group_by("customer_id")
    found = known.join(after.agg(pl.len().alias("later")), on="customer_id", how="left").sort("customer_id")
    weeks = found.select(
        (pl.col("n") - 1).cast(pl.Float64).alias("x"),
        ((pl.col("recent") - pl.col("first")).dt.total_days() / 7).alias("t_x"),
        ((pl.lit(last) - pl.col("first")).dt.total_days() / 7).alias("T"),
    )
    later = found["later"].fill_null(0).to_numpy().astype(np.float64)
    return Cohort(found["customer_id"].to_list(), History(*(each.to_numpy() for each in weeks)), later)


def _orders(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    counts = within(events, cutoff, horizon, "order").group_by("customer_id").agg(pl.len().alias("label"))
    found = population.select("customer_id").join(counts, on="customer_id", how="left", maintain_order="left")
    return found.with_columns(pl.col("label").fill_null(0))


def counting() -> Problem:
    """How many orders in 39 weeks; a regression beside BG/NBD."""
    return replace(
        all_problems()["clv"],
        name="cdnow_orders",
        question="How many orders will this customer place within {days} days?",
        label=_orders,
        horizon=WINDOW,
        unit="orders",
        simple=buy_till_you_die.orders,
        features=("orders:*",),
    )


def _run(folder: Path, progress: Progress) -> list[Claim]:
    events = read(load_recipe("cdnow"), folder / "cdnow" / "CDNOW_master.txt").events
    chosen = sample(folder / "cdnow")
    cohort = histories(events.filter(pl.col("customer_id").is_in(sorted(chosen))))
    model = bgnbd.fit(cohort.known)
    progress("orders of each", 0.1)
    rows = labelled(counting(), events, [CUTOFF])
    counted = in_folds(counting(), rows, lambda share: progress("orders of each", 0.1 + 0.4 * share))
    progress("medians", 0.5)
    middle = medians(rows)
    buys = replace(all_problems()["propensity"], name="cdnow_buys", horizon=WINDOW, features=("orders:*",))
    yes = labelled(buys, events, [CUTOFF])
    judged = in_folds(buys, yes, lambda share: progress("who orders again", 0.6 + 0.4 * share))
    return [*_published(cohort, model), *_counts(cohort, model, counted, middle), *_buyers(events, judged)]


def _published(cohort: Cohort, model: BGNBD) -> list[Claim]:
    found = model._asdict()
    parameters = [
        Claim(f"BG/NBD {name}", found[name], f"{value} as published", abs(found[name] / value - 1) < 0.005, peer=value)
        for name, value in PUBLISHED.items()
    ]
    total = float(model.log_likelihood(cohort.known).sum())
    error = float(np.abs(model.expected(cohort.known, 39.0) - cohort.later).mean())
    return [
        *parameters,
        Claim("BG/NBD log-likelihood", total, f"{LOG_LIKELIHOOD} as published", abs(total - LOG_LIKELIHOOD) < 0.1),
        Claim("BG/NBD, mean absolute error on the sample", error, f"at most {HOLDOUT}", error <= HOLDOUT),
    ]


def _counts(cohort: Cohort, model: BGNBD, counted: Judged, middle: dict[str, float]) -> list[Claim]:
    answers = dict(zip(counted.rows.person.tolist(), counted.answers.tolist(), strict=True))
    mean, median = (np.array([each[one] for one in cohort.ids]) for each in (answers, middle))
    y, peer = cohort.later, model.expected(cohort.known, 39.0)

    def errors(weights: Floats | None) -> Floats:
        w = np.ones(len(y)) if weights is None else weights
        squared = np.sqrt([np.average((each - y) ** 2, weights=w) for each in (mean, peer)])
        return np.array([np.average(np.abs(median - y), weights=w), *squared, w @ mean / (w @ y), w @ peer / (w @ y)])

    value, low, high = (each.tolist() for each in estimate(errors, np.array(cohort.ids), generator("cdnow")))
    plain = float(np.abs(mean - y).mean())
    note = (
        f"expected numbers: {plain:.3f}; 0 for everyone: {np.abs(y).mean():.3f}; "
        f"BG/NBD rounded to whole orders: {np.abs(np.round(peer) - y).mean():.3f}"
    )
    absolute, squared, squared_peer, total, total_peer = zip(value, low, high, strict=True)
    return [
        _claim(_MEDIANS, absolute, HOLDOUT, f"at most {HOLDOUT}", float(np.abs(peer - y).mean()), note),
        _claim(_SQUARED, squared, squared_peer[0], "at most BG/NBD's", squared_peer[0]),
        Claim(
            "expected over observed orders of the sample",
            total[0],
            "nearer to 1 than BG/NBD's",
            abs(total[0] - 1) <= abs(total_peer[0] - 1),
            *total[1:],
            total_peer[0],
        ),
    ]


_MEDIANS = "mean absolute error on the sample, trees fitted to it"
_SQUARED = "root mean squared error of the expected number"


def _claim(
    what: str, found: tuple[float, float, float], most: float, target: str, peer: float, note: str = ""
) -> Claim:
    value, low, high = found
    return Claim(what, value, target, value <= most, low, high, peer, note)


def medians(rows: pl.DataFrame, folds: int = 5) -> dict[str, float]:
    """What trees fitted to the absolute error say of each customer, fitted on others; they stop early on yet others."""
    problem = replace(counting(), monotone={})  # LightGBM has no directions for an absolute error
    fold = pl.Series([int(folds * uniform("cohort", each)) for each in rows["customer_id"].to_list()])
    found: dict[str, float] = {}
    for held_out in range(folds):
        names = {held_out: "test", (held_out + 1) % folds: "validation"}
        data = training_set(problem, rows, fold.replace_strict(names, default="train", return_dtype=pl.String))
        trainer = Trainer(data, {"objective": "regression_l1", "metric": "l1"})
        answers = trainer.fit(trainer.defaults).raw(data.test.x)
        found |= dict(zip(data.test.person.tolist(), answers.tolist(), strict=True))
    return found


def _buyers(events: pl.DataFrame, judged: Judged) -> list[Claim]:
    y, p, folds = judged.rows.y, judged.answers, [judged.fold == each for each in np.unique(judged.fold)]
    everyone = histories(events)
    none = bgnbd.fit(everyone.known).none(everyone.known, 39.0)
    bought = everyone.later > 0

    def figures(weights: Floats | None) -> Floats:
        w = np.ones(len(y)) if weights is None else weights
        auc = [roc_auc_score(y[each], p[each], sample_weight=w[each]) for each in folds]
        return np.array([np.mean(auc), log_loss(y, p, sample_weight=w)])

    value, low, high = (each.tolist() for each in estimate(figures, judged.rows.person, generator("cdnow buyers")))
    pooled = roc_auc_score(y, p)
    peers = float(roc_auc_score(bought, 1 - none)), float(log_loss(bought, 1 - none))
    return [
        Claim(
            "AUC of ordering within 39 weeks, all customers",
            value[0],
            f"at least {AUC}",
            bool(value[0] >= AUC),
            low[0],
            high[0],
            AUC,
            f"mean over folds (all folds as one list: {pooled:.4f}); BG/NBD {peers[0]:.3f}",
        ),
        Claim(
            "log-loss of ordering within 39 weeks, all customers",
            value[1],
            f"at most {LOG_LOSS}",
            bool(value[1] <= LOG_LOSS),
            low[1],
            high[1],
            LOG_LOSS,
            f"BG/NBD {peers[1]:.3f}",
        ),
    ]


reference = Reference(
    name="cdnow",
    about="CDNOW, 39 weeks after the first 39, cross-validated by person beside BG/NBD",
    needs="cdnow",
    run=_run,
)
