"""From a training set to a registered, gated model; reads as the sentence.

tune → calibrate → evaluate → judge → register → explain → promote → publish
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.kernel import clock
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from training import calibrate, cards, tune
from training.booster import Model, Trainer
from training.evaluation import tables
from training.evaluation.judged import Judged
from training.fitted import Fitted, Progress, Trial
from training.gate import Evidence
from training.gates import judge
from training.kind import Unseen
from training.kinds import kind_of
from training.plan import Plan
from training.register import Trained, register
from training.trainingset import Split, TrainingSet

__all__ = ["Fitted", "Progress", "Trained", "fit", "train"]

Floats = NDArray[np.float64]


def _silent(what: str, share: float) -> None:
    """Tell nobody."""


def train(data: TrainingSet, settings: Settings, *, plan: Plan = Plan(), progress: Progress = _silent) -> Trained:
    """Train on a training set and hand the model to the registry; if every gate lets it pass, to serving.

    Raises:
        NotEnoughData: there is too little to learn from; names the split and its counts.
        Unavailable: MLflow cannot be used.
    """
    return register(fit(data, plan=plan, settings=settings, progress=progress), settings, progress)


def fit(
    data: TrainingSet, *, plan: Plan = Plan(), settings: Settings | None = None, progress: Progress = _silent
) -> Fitted:
    """Tune, calibrate, evaluate and judge; the same training set and plan give the same model and figures.

    Raises:
        NotEnoughData: there is too little to learn from; names the split and its counts.
    """
    kind = kind_of(data.problem)
    kind.check(data)
    name = data.problem.name
    learning = kind.learning(data)
    trainer = Trainer(learning, kind.objective, kind.defaults)
    tried: list[Trial] = []
    model = tune.search(trainer, plan, lambda share: progress("tune", 0.6 * share), tried)
    progress("calibrate", 0.6)
    unseen = _unseen(learning, trainer.out_of_fold(model), model)
    calibration = kind.calibrate(unseen)
    interval = kind.interval(calibration, unseen)
    progress("evaluate", 0.75)
    answers, simple = calibrate.apply(calibration, model.raw(data.test.x)), kind.baseline(data)
    evaluation = kind.evaluate(data, answers, simple, generator("bootstrap", name))
    chosen_on = calibrate.apply(calibration, model.raw(data.validation.x))
    judged = Judged(data, kind, evaluation.metric(evaluation.gain.name), answers, simple, chosen_on, interval)
    evaluation = tables.complete(evaluation, judged, generator("tables", name))
    calibration = msgspec.structs.replace(calibration, largest_error=evaluation.largest_error)
    findings = judge(Evidence(data, model, calibration, evaluation, settings))
    card = cards.write(data, model, calibration, evaluation, findings, clock.now())
    card = msgspec.structs.replace(card, interval=interval, link=kind.link)
    return Fitted(data, model, calibration, evaluation, answers, simple, findings, card, tuple(tried))


def _unseen(learning: TrainingSet, out_of_fold: Floats, model: Model) -> Unseen:
    train, validation = learning.train, learning.validation
    return Unseen(
        raw=np.concatenate([out_of_fold, model.raw(validation.x)]),
        y=np.concatenate([train.y, validation.y]),
        weight=np.concatenate([_weight(train), _weight(validation)]),
        person=np.concatenate([train.person, validation.person]),
        validation=np.arange(len(train) + len(validation)) >= len(train),
    )


def _weight(split: Split) -> Floats:
    return np.ones(len(split)) if split.weight is None else split.weight
