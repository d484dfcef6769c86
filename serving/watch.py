"""Watching a served model: do today's customers still look like those it learnt from?

Reference are the training rows kept in the model's bundle; current are the feature vectors that the service logged with
its scores, the newest of each customer, so that nobody counts for being asked about often. Answers on the rungs
`default` and `prior` are left out: they hold typical values or none, not a customer's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import polars as pl

from features.drift.evidently_report import FEW, DriftReport, drift_report
from features.kernel.card import Card, load_card
from features.kernel.champion import POINTER, read_champion
from features.kernel.clock import now
from features.kernel.errors import InvalidInput, NotEnoughData, NotFound
from features.kernel.ledger import Ledger
from features.kernel.records import Score

__all__ = ["champion_folder", "logged_features", "watch"]

_READ = ("fresh", "stale")


def watch(models: Path, reports: Path, ledger: Ledger, problem: str, since: datetime | None = None) -> DriftReport:
    """Report the drift of one problem's features and write it to `<reports>/<problem>-<time>.html` and `.json`.

    Args:
        models: `settings.models`.
        reports: `settings.reports`.
        ledger: whose logged scores are looked at.
        problem: its champion's training rows are the reference.
        since: only scores from then on; all, if None.

    Raises:
        NotFound: the problem has no champion.
        NotEnoughData: too few customers were scored since.
    """
    folder = champion_folder(models, problem)
    reference = _reference(folder, load_card(folder / "card.json"))
    current = logged_features(ledger.scores(problem, since=since), reference.schema)
    if current.height < FEW:
        raise NotEnoughData(
            f"too few customers were scored{f' since {since.isoformat()}' if since else ''}",
            field=problem,
            value=current.height,
            remedy=f"score {FEW} or more whose features are known, or look further back with --since",
        )
    return drift_report(reference, current, reports, f"{problem}-{now():%Y%m%dT%H%M%SZ}")


def champion_folder(models: Path, problem: str) -> Path:
    """The bundle that the problem's `champion.json` names.

    Raises:
        NotFound: it has none; the message names the problems that have one.
    """
    found = read_champion(models / problem)
    if found is None:
        served = sorted(each.parent.name for each in models.glob(f"*/{POINTER}"))
        raise NotFound(
            "has no served model",
            field="problem",
            value=problem,
            remedy=f"choose one of {', '.join(served)}" if served else f"train it first: kairos train {problem}",
        )
    return models / problem / found.version


def _reference(folder: Path, card: Card) -> pl.DataFrame:
    """The training rows of a bundle, one column per feature reference the model reads, in the card's order."""
    path = folder / "reference.parquet"
    if not path.is_file():
        raise InvalidInput("keeps no training rows", field=str(path), remedy="train the problem again")
    frame = pl.read_parquet(path)
    columns = card.candidates.columns if card.candidates else ()
    refs = [each.ref for each in card.features] + [ref for column in columns for ref in column.refs]
    return frame.select(ref for ref in dict.fromkeys(refs) if ref in frame.columns)


def logged_features(scores: Iterable[Score], schema: pl.Schema) -> pl.DataFrame:
    """The newest logged vector of each customer, one row each, columns and types as in `schema`; absent is null."""
    newest = {each.customer_id: each.features for each in scores if each.rung in _READ}
    rows = [{ref: features.get(ref) for ref in schema} for features in newest.values()]
    return pl.DataFrame(rows, schema=schema, strict=False)
