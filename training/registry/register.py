"""A fitted model into its place: on disk first, whole; then, if no gate refuses, champion; then MLflow.

The bundle's rename is the moment from which a version exists; MLflow is told afterwards, of what is written already.
So whoever is interrupted leaves no version without its files, here or there, and needs no MLflow to train.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.kernel.card import Card, save_card
from features.kernel.card import GateFinding as Finding
from features.kernel.errors import Unavailable
from features.kernel.settings import Settings
from training import cards
from training.evaluation.result import Evaluation
from training.fitted import Fitted, Progress
from training.pictures import draw_all
from training.registry import bundle, pending, promotion, record, track
from training.registry.environment import Environment, environment

__all__ = ["Trained", "register"]


_LATER = "everything is kept, and `kairos models send` sends it"


@dataclass(frozen=True, slots=True)
class Trained:
    """What training a problem came to."""

    card: Card
    bundle: Path
    run_id: str
    """MLflow's run; empty where MLflow could not be used."""
    promoted: bool
    gates: tuple[Finding, ...]
    evaluation: Evaluation
    unsent: str = ""
    """Why MLflow does not have it all yet, and what sends it; empty where it does."""


def register(found: Fitted, settings: Settings, progress: Progress) -> Trained:
    """Publish a model, promote it if no gate refuses, and tell MLflow.

    A refused model is published too, to be looked at; the champion stays who it was. Where MLflow cannot be used,
    everything it would be told is kept in `<home>/pending` for `kairos models send`.

    Raises:
        Unavailable: the ledger cannot be written; the model is published, but not promoted.
    """
    made_with = environment()
    with _run(found.card.problem, settings) as run, bundle.alone(settings.models, found.card.problem):
        version = bundle.free_name(settings.models, found.card.problem, found.card.trained_at, found.model.sha256)
        run_id, uri = (run.run_id, run.uri) if isinstance(run, track.Run) else ("", "")
        card = msgspec.structs.replace(found.card, version=version, run_id=run_id)
        with pending.stage(settings, card.problem) as files:
            progress("explain", 0.8)
            _write_files(found, card, made_with, files)
            progress("register", 0.95)
            told = msgspec.structs.replace(record.write(found, card, made_with, settings), uri=uri)
            kept = pending.keep(files, told, settings)
            place = bundle.publish(kept.folder / pending.FILES, settings.models, card, found.data.members)
        promoted = promotion.judge(card, settings)
    unsent = f"{run}; {_LATER}" if isinstance(run, Unavailable) else _send(kept, settings)
    progress("done", 1.0)
    return Trained(card, place, run_id, promoted, found.findings, found.evaluation, unsent)


@contextmanager
def _run(problem: str, settings: Settings) -> Iterator[track.Run | Unavailable]:
    """An MLflow run, or why there is none; ended as failed or killed where what happens in it does not succeed."""
    try:
        run = track.start(problem, settings)
    except Unavailable as away:
        yield away
        return
    try:
        yield run
    except BaseException as error:
        with suppress(Unavailable):
            run.close("FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _send(kept: pending.Kept, settings: Settings) -> str:
    """Why MLflow could not be told, or an empty text."""
    try:
        pending.send(kept, settings)
    except Unavailable as error:
        return f"{error}; {_LATER}"
    return promotion.tell(kept.problem, settings)


def _write_files(found: Fitted, card: Card, made_with: Environment, folder: Path) -> None:
    """The bundle's files and, beside them, what an analyst looks at."""
    (folder / "model.txt").write_text(found.model.text, encoding="utf-8", newline="")
    save_card(card, folder / "card.json")
    cards.reference(found.data).write_parquet(folder / "reference.parquet")
    told = {"environment.json": made_with, "evaluation.json": found.evaluation.tables, "origin.json": found.data.origin}
    shown = found.shown(card)
    for name, value in (told | {"importance.json": shown.explanation.importance}).items():
        if value is not None:
            (folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(value)))
    draw_all(shown, folder)
