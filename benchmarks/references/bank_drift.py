"""Bank Marketing played forward month by month: who says yes changes, and so does how many.

From the third month on, each month is answered by trees fitted on all earlier months. Day by day their probabilities
are recalibrated on the outcomes known by then (`training.calibration.prior_shift`). Held against the share of yes of
the last 2,000 calls, which knows nobody but follows every turn of the base rate.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from benchmarks.reference import Claim, Progress, Reference
from benchmarks.references.bank import training_set
from features.importing.imported import Imported
from features.kernel.card import Calibration
from features.recipe import load_recipe, read
from training import tune
from training.booster import Trainer
from training.calibration import calibrate
from training.calibration.prior_shift import recalibrate
from training.kinds import binary
from training.plan import Plan

__all__ = ["reference"]

Floats = NDArray[np.float64]

FIRST = 2
"""Months that are only learnt from."""
WINDOW = 2_000
_VALIDATION = 0.9
"""Share of the earlier rows that is fitted; the later tenth stops the fitting."""
_KNOTS = np.linspace(-12.0, 12.0, 49)
_UNMOVED = Calibration(
    method="none", raw=tuple(_KNOTS.tolist()), value=tuple(expit(_KNOTS).tolist()), largest_error=float("nan")
)


def _run(folder: Path, progress: Progress) -> list[Claim]:
    imported = read(load_recipe("bank_marketing"), folder / "bank_marketing" / "bank-full.csv")
    rows = imported.table
    y = rows["label"].to_numpy().astype(np.float64)
    month = rows["as_of"].dt.strftime("%Y-%m").rank("dense").to_numpy().astype(np.intp) - 1
    raw = _forward(imported, month, progress)
    judged = np.flatnonzero(month >= FIRST)
    days = rows["as_of"].dt.date().rank("dense").to_numpy()
    recalibrated, left = _daily(raw, y, days, judged), expit(raw[judged])
    rolling = np.array([y[max(0, i - WINDOW) : i].mean() for i in judged])
    ours, theirs, alone = (_log_loss(each, y[judged]) for each in (recalibrated, rolling, left))
    drawn = _difference(recalibrated, rolling, y[judged], days[judged])
    return [
        Claim(
            what="log-loss, recalibrated day by day",
            value=ours,
            target="below that of the rolling share of yes",
            holds=ours < theirs,
            peer=theirs,
            note=f"{len(judged):,} calls in {len(np.unique(month[judged]))} months; without recalibration {alone:.4f}",
        ),
        Claim(
            what="log-loss saved against the rolling share",
            value=theirs - ours,
            target="its interval above 0",
            holds=drawn[0] > 0,
            low=drawn[0],
            high=drawn[1],
            note="bootstrap over days",
        ),
        Claim(
            what="AUC",
            value=float(roc_auc_score(y[judged], recalibrated)),
            target="above that of the rolling share",
            holds=roc_auc_score(y[judged], recalibrated) > roc_auc_score(y[judged], rolling),
            peer=float(roc_auc_score(y[judged], rolling)),
        ),
    ]


def _forward(imported: Imported, month: NDArray[np.intp], progress: Progress) -> Floats:
    """Raw log-odds [n] of every row by trees fitted on the months before its own; NaN in the first months."""
    raw, months = np.full(len(month), np.nan), int(month.max()) + 1
    for now in range(FIRST, months):
        before = int(np.searchsorted(month, now))
        split = np.where(month < now, np.where(np.arange(len(month)) < _VALIDATION * before, "train", "validation"), "")
        split[month == now] = "test"
        named = pl.Series(split).replace("", None)
        data = training_set(imported, lambda rows, named=named: named)  # type: ignore[misc]
        trainer = Trainer(data, binary.kind.objective)
        raw[month == now] = tune.search(trainer, Plan(trials=0), lambda share: None).raw(data.test.x)
        progress(f"month {now + 1} of {months}", (now + 1) / months)
    return raw


def _daily(raw: Floats, y: Floats, days: NDArray[np.int64], judged: NDArray[np.intp]) -> Floats:
    """Probabilities [judged]: each day's rows by knots that know the outcomes of the days before."""
    answers, first = np.empty(len(raw)), judged[0]
    for day in np.unique(days[judged]):
        today = np.flatnonzero(days == day)
        known = slice(first, today[0])
        answers[today] = calibrate.apply(recalibrate(raw[known], y[known], _UNMOVED, memory=WINDOW), raw[today])
    return answers[judged]


def _log_loss(p: Floats, y: Floats) -> float:
    return float(_losses(p, y).mean())


def _losses(p: Floats, y: Floats) -> Floats:
    safe = np.clip(p, 1e-4, 1 - 1e-4)
    return -np.where(y > 0, np.log(safe), np.log1p(-safe))


def _difference(ours: Floats, theirs: Floats, y: Floats, days: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of the mean loss saved, whole days drawn: calls of one day are of one mood."""
    saved, codes = _losses(theirs, y) - _losses(ours, y), np.unique(days, return_inverse=True)[1]
    rng, count = np.random.default_rng(7), int(codes.max()) + 1
    totals, rows = np.bincount(codes, weights=saved), np.bincount(codes).astype(np.float64)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=2_000).astype(np.float64)
    low, high = np.percentile(drawn @ totals / (drawn @ rows), [2.5, 97.5])
    return float(low), float(high)


reference = Reference(
    name="bank_drift",
    about="Bank Marketing played forward month by month, recalibrated on the outcomes known by then",
    needs="bank_marketing",
    run=_run,
)
