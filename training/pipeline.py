"""From a training set to a registered, gated model; reads as the sentence.

tune → calibrate → evaluate → explain → judge → register → promote → publish
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from features.kernel import clock
from features.kernel.card import Calibration, Card, save_card
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from training import baseline, bundle, calibrate, cards, explain, track, tune
from training.booster import Model, Trainer
from training.evaluate import Evaluation, evaluate
from training.gate import Evidence, Finding
from training.gates import judge
from training.problem import Problem
from training.trainingset import TrainingSet

__all__ = ["Fitted", "Progress", "Trained", "fit", "train"]

Progress = Callable[[str, float], None]
"""Told (what is being done, share done in [0, 1])."""

TRIALS = 8


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model with all that was found out about it, before anything is written anywhere."""

    data: TrainingSet
    model: Model
    calibration: Calibration
    evaluation: Evaluation
    findings: tuple[Finding, ...]
    card: Card
    """Without version and run, which the registry gives."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training a problem came to."""

    card: Card
    bundle: Path
    run_id: str
    promoted: bool
    gates: tuple[Finding, ...]
    evaluation: Evaluation


def train(
    problem: Problem,
    training_set: TrainingSet,
    settings: Settings,
    *,
    trials: int = TRIALS,
    progress: Progress = lambda what, share: None,
) -> Trained:
    """Train a problem and hand it to the registry; if every gate lets it pass, to serving as the champion.

    A refused model is registered and its bundle written too, to be looked at; the champion stays who it was.

    Raises:
        NotEnoughData: a split lacks a class.
        Unavailable: MLflow cannot be used.
    """
    found = fit(training_set, trials=trials, progress=progress)
    run = track.start(problem.name, settings)
    status = "FAILED"
    try:
        trained = _register(found, run, settings, progress)
        status = "FINISHED"
    finally:
        run.close(status)
    return trained


def fit(data: TrainingSet, *, trials: int = TRIALS, progress: Progress = lambda what, share: None) -> Fitted:
    """Tune, calibrate, evaluate and judge; the same training set gives the same model and figures."""
    data.check()
    name = data.problem.name
    trainer = Trainer(data)
    model = tune.search(trainer, trials, lambda done, of: progress("tune", 0.6 * done / of))
    progress("calibrate", 0.6)
    unseen = np.concatenate([trainer.out_of_fold(model), model.raw(data.validation.x)])
    calibration = calibrate.fit(unseen, np.concatenate([data.train.y, data.validation.y]))
    progress("evaluate", 0.75)
    evaluation = evaluate(
        data.test.y,
        calibrate.apply(calibration, model.raw(data.test.x)),
        baseline.predict(data),
        data.test.person,
        generator("bootstrap", name),
        metric=data.problem.metric,
    )
    calibration = msgspec.structs.replace(calibration, largest_error=evaluation.largest_error)
    card = cards.write(data, model, calibration, evaluation, clock.now())
    return Fitted(data, model, calibration, evaluation, judge(Evidence(data, evaluation)), card)


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
    data, evaluation = found.data, found.evaluation
    (folder / "model.txt").write_text(found.model.text, encoding="utf-8", newline="")
    save_card(card, folder / "card.json")
    cards.reference(data).write_parquet(folder / "reference.parquet")
    told = explain.explain(found.model, data.test.x, data.inputs, generator("explain", card.problem))
    (folder / "importance.json").write_bytes(msgspec.json.format(msgspec.json.encode(told.importance)))
    explain.beeswarm(told, folder / "shap_summary.png")
    explain.calibration_plot(evaluation.bins, evaluation.baseline_bins, folder / "calibration.png")
    model = calibrate.apply(card.calibration, found.model.raw(data.test.x))
    explain.gain_plot(data.test.y, model, baseline.predict(data), folder / "gain.png")


def _figures(evaluation: Evaluation) -> dict[str, float]:
    figures = {"gain": evaluation.gain.value, "gain.low": evaluation.gain.low, "gain.high": evaluation.gain.high}
    for metric in evaluation.metrics:
        figures |= {metric.name: metric.value, f"{metric.name}.low": metric.low, f"{metric.name}.high": metric.high}
        if metric.baseline is not None:
            figures[f"{metric.name}.baseline"] = metric.baseline
    return figures
