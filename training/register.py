"""A fitted model into the registry and, if every gate lets it pass, into the place serving answers from."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.kernel.card import Card, save_card
from features.kernel.card import GateFinding as Finding
from features.kernel.settings import Settings
from training import bundle, cards, track
from training.evaluation.result import Evaluation
from training.fitted import Fitted, Progress
from training.pictures import draw_all

__all__ = ["Trained", "register"]


@dataclass(frozen=True, slots=True)
class Trained:
    """What training a problem came to."""

    card: Card
    bundle: Path
    run_id: str
    promoted: bool
    gates: tuple[Finding, ...]
    evaluation: Evaluation


def register(found: Fitted, settings: Settings, progress: Progress) -> Trained:
    """Register a model and write its bundle; promote it if no gate refuses.

    A refused model is registered and its bundle written too, to be looked at; the champion stays who it was.

    Raises:
        Unavailable: MLflow cannot be used.
    """
    run = track.start(found.card.problem, settings)
    status = "FAILED"
    try:
        trained = _register(found, run, settings, progress)
        status = "FINISHED"
    finally:
        run.close(status)
    return trained


def _register(found: Fitted, run: track.Run, settings: Settings, progress: Progress) -> Trained:
    version = f"{run.number}-{found.model.sha256[:8]}"
    card = msgspec.structs.replace(found.card, version=version, run_id=run.run_id)
    run.log(
        {"problem": card.problem, "rounds": found.model.rounds, **found.model.parameters},
        _figures(found.evaluation),
        {"data_hash": card.data_hash, "headline": card.headline, "version": version}
        | {f"gate.{each.code}": f"{each.outcome}: {each.figure}" for each in found.findings},
    )
    run.log_dataset(found.data)
    with tempfile.TemporaryDirectory(prefix="kairos-") as scratch:
        folder = Path(scratch)
        progress("explain", 0.8)
        _write_files(found, card, folder)
        progress("register", 0.95)
        run.log_files(folder, card)
        place = bundle.publish(folder, settings.models, card, found.data.members)
    promoted = not any(each.refuses for each in found.findings)
    if promoted:
        run.promote(found.findings)
        bundle.point(settings.models, card.problem, version)
    progress("done", 1.0)
    return Trained(card, place, run.run_id, promoted, found.findings, found.evaluation)


def _write_files(found: Fitted, card: Card, folder: Path) -> None:
    """The bundle's three files and, beside them, what an analyst looks at."""
    (folder / "model.txt").write_text(found.model.text, encoding="utf-8", newline="")
    save_card(card, folder / "card.json")
    cards.reference(found.data).write_parquet(folder / "reference.parquet")
    shown = found.shown(card)
    (folder / "importance.json").write_bytes(msgspec.json.format(msgspec.json.encode(shown.explanation.importance)))
    (folder / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(found.evaluation.tables)))
    draw_all(shown, folder)


def _figures(evaluation: Evaluation) -> dict[str, float]:
    figures = {"gain": evaluation.gain.value, "gain.low": evaluation.gain.low, "gain.high": evaluation.gain.high}
    for metric in evaluation.metrics:
        figures |= {metric.name: metric.value, f"{metric.name}.low": metric.low, f"{metric.name}.high": metric.high}
        if metric.baseline is not None:
            figures[f"{metric.name}.baseline"] = metric.baseline
    return figures
