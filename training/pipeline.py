"""From a training set to a registered, gated model; reads as the sentence.

tune → calibrate → evaluate → judge → register → explain → promote → publish
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.kernel import clock
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from training import cards, small, tune
from training.booster import Model, Trainer
from training.calibration import calibrate
from training.evaluation import tables
from training.evaluation.judged import Judged
from training.evaluation.outcome import row_weights
from training.fitted import Fitted, Progress, Trial
from training.gate import Evidence
from training.gates import judge
from training.kind import Kind, Unseen
from training.kinds import kind_of
from training.plan import Plan
from training.registry.register import Trained, register
from training.trainingset import TrainingSet

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
        KeyboardInterrupt: passed on; nothing is registered, and with `Plan.storage` tuning goes on where it was.
    """
    kind = kind_of(data.problem)
    kind.check(data)
    name = data.problem.name
    tried: list[Trial] = []
    model, unseen = _learn(kind, data, plan, lambda share: progress("tune", 0.6 * share), tried)
    progress("calibrate", 0.6)
    calibration = kind.calibrate(unseen)
    interval = kind.interval(calibration, unseen)
    progress("evaluate", 0.75)
    answers = calibrate.apply(calibration, model.raw(data.test.x))
    simple = kind.baseline(data) if model.learner == "trees" else small.base_rate(data)
    evaluation = kind.evaluate(data, answers, simple, generator("bootstrap", name))
    chosen_on = calibrate.apply(calibration, model.raw(data.validation.x))
    judged = Judged(data, kind, evaluation.metric(evaluation.gain.name), answers, simple, chosen_on, interval)
    evaluation = tables.complete(evaluation, judged, generator("tables", name))
    calibration = msgspec.structs.replace(calibration, largest_error=evaluation.largest_error)
    findings = judge(Evidence(data, model, calibration, evaluation, settings))
    card = cards.write(data, model, calibration, evaluation, findings, clock.now())
    card = msgspec.structs.replace(card, interval=interval, link=kind.link)
    card = card if model.learner == "trees" else small.said(card, data)
    return Fitted(data, model, calibration, evaluation, answers, simple, findings, card, tuple(tried))


def _learn(
    kind: Kind, data: TrainingSet, plan: Plan, progress: Callable[[float], None], tried: list[Trial]
) -> tuple[Model, Unseen]:
    """The model that the data are enough for, and how it answers for people it was not fitted on."""
    learning = kind.learning(data)
    if kind.learner(data) == "logistic":
        few = small.Logistic(learning)
        model = few.fit()
        return model, _unseen(learning, few.out_of_fold(model), model)
    trainer = Trainer(learning, kind.objective, kind.defaults)
    model = tune.search(trainer, plan, progress, tried)
    return model, _unseen(learning, trainer.out_of_fold(model), model)


def _unseen(learning: TrainingSet, out_of_fold: Floats, model: Model) -> Unseen:
    train, validation = learning.train, learning.validation
    return Unseen(
        raw=np.concatenate([out_of_fold, model.raw(validation.x)]),
        y=np.concatenate([train.y, validation.y]),
        weight=np.concatenate([row_weights(train), row_weights(validation)]),
        person=np.concatenate([train.person, validation.person]),
        validation=np.arange(len(train) + len(validation)) >= len(train),
    )
