"""Tuning: a seeded search by Optuna's TPE (Bergstra et al., 2011) that starts from the defaults and distrusts itself.

A small budget finds little, and what it finds on one validation split may be chance. So a trial replaces the defaults
only if it is better beyond noise: the mean of the paired differences of validation loss, row by row, exceeds one
standard error, in which the rows of a person count together; of many trials the best is likelier so by chance, and must
exceed as many standard errors more as keeps that chance the same (Šidák, 1967).

Trials that go badly end early (the median rule of Google Vizier: Golovin et al., 2017). How far a trial has come is
counted in rounds × learning rate, or slow learners would be ended for being slow.

With `Plan.storage` the study is kept in SQLite, and one that was interrupted, killed even, goes on where it was: its
finished trials count, the one under way is tried again. The study's name holds problem, data and what is searched.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import NormalDist
from typing import Any

import numpy as np

from training import losses
from training.booster import Model, Trainer
from training.fitted import Trial
from training.plan import Plan

__all__ = ["search", "study_name"]

_SEED = 7
_STARTUP, _WARMUP = 4, 2
"""Before a trial may be ended: trials finished, so that the median means something; its own rounds × learning rate."""

_REAL: dict[str, tuple[float, float, bool]] = {
    "learning_rate": (0.02, 0.12, True),
    "feature_fraction": (0.3, 1.0, False),
    "lambda_l2": (0.1, 50.0, True),
    "cat_smooth": (5.0, 100.0, True),
}
_WHOLE: dict[str, tuple[int, int, bool]] = {"num_leaves": (4, 31, False), "min_data_in_leaf": (20, 300, True)}
"""The space: least, most, whether on a logarithmic scale."""


def search(trainer: Trainer, plan: Plan, progress: Callable[[float], None], tried: list[Trial] | None = None) -> Model:
    """The best parameter set of the plan if it is better than the defaults beyond noise, else the defaults.

    Args:
        progress: told the share done, never less than before.
        tried: gets what was tried, for the record.

    Raises:
        KeyboardInterrupt: passed on; with a storage the study can be resumed.
    """
    if plan.fixed:
        model = trainer.refit(plan.fixed, plan.rounds) if plan.rounds else trainer.fit(plan.fixed)
        progress(1.0)
        return model
    default = trainer.fit(trainer.defaults)
    progress(1 / (plan.trials + 1))
    best = default
    if plan.trials:
        with _storage(plan) as storage:
            study = _Study(trainer, plan, default, storage)
            best = study.best(progress)
            if tried is not None:
                tried.extend(study.tried())
    progress(1.0)
    return best if best is default or better(trainer, best, default, plan.trials) else default


def better(trainer: Trainer, model: Model, default: Model, trials: int) -> bool:
    """Whether the best of so many trials has a lower validation loss than the defaults beyond noise."""
    rows = trainer.data.validation
    gain = trainer.losses(default) - trainer.losses(model)
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    errors = NormalDist().inv_cdf(NormalDist().cdf(1.0) ** (1 / trials))
    return bool(np.average(gain, weights=weight) > errors * losses.noise(gain, weight, rows.person))


def study_name(trainer: Trainer) -> str:
    """Problem, beginning of the data hash, beginning of the hash of all else that a trial's loss hangs on."""
    space = repr((_REAL, _WHOLE, trainer.fixed, sorted(trainer.defaults.items())))
    settings = hashlib.sha256(space.encode()).hexdigest()
    return f"{trainer.data.problem.name}-{trainer.data.data_hash[:12]}-{settings[:8]}"


class _Study:
    """An Optuna study of a trainer's parameters within a plan's budget."""

    def __init__(self, trainer: Trainer, plan: Plan, default: Model, storage: Any) -> None:
        import optuna  # noqa: PLC0415

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._trainer, self._plan = optuna, trainer, plan
        self._space = _space(optuna, trainer.defaults)
        self._models = {0: default}
        self._study = optuna.create_study(
            study_name=study_name(trainer) if storage else "in memory", storage=storage, load_if_exists=True
        )
        if self._study.trials:
            self._take_up_again()
        else:
            self._begin(default)
        # A study that goes on must not draw the numbers it began with.
        self._study.sampler = optuna.samplers.TPESampler(
            seed=_SEED + len(self._study.trials), n_startup_trials=max(_STARTUP, min(10, plan.trials // 2))
        )
        self._study.pruner = optuna.pruners.MedianPruner(_STARTUP, _WARMUP)

    def best(self, progress: Callable[[float], None]) -> Model:
        """The model of the least validation loss, when trials or time are used up."""
        started, before, share = time.monotonic(), self._spent(), 0.0
        while (done := self._done()) < self._plan.trials:
            used = (before + time.monotonic() - started) / (60 * self._plan.minutes) if self._plan.minutes else 0.0
            if used >= 1:
                break
            share = max(share, (done + 1) / (self._plan.trials + 1), used)
            progress(share)
            self._try(self._study.ask(self._space))
        best = self._study.best_trial
        return self._models.get(best.number) or self._trainer.fit(_parameters(self._trainer, best.params))

    def tried(self) -> Iterator[Trial]:
        """Every trial of the study, the defaults first, those of a process before this one among them."""
        for each in self._study.get_trials(deepcopy=False):
            loss = each.value if each.value is None or np.isfinite(each.value) else None
            yield Trial(number=each.number, parameters=dict(each.params), loss=loss, state=each.state.name.lower())

    def _begin(self, default: Model) -> None:
        """The defaults are trial 0, already told; what the last champion had comes next."""
        told = {name: default.parameters[name] for name in self._space}
        self._study.add_trial(
            self._optuna.trial.create_trial(params=told, distributions=self._space, value=default.validation_loss)
        )
        warm = _within(self._plan.warm)
        if warm and told | warm != told:
            self._study.enqueue_trial(told | warm)

    def _take_up_again(self) -> None:
        """What was under way when its process ended is tried again with the same parameters."""
        states = self._optuna.trial.TrialState
        for each in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self._study.tell(each.number, state=states.FAIL)
            self._study.enqueue_trial(each.params)

    def _try(self, trial: Any) -> None:
        told = -1

        def watch(rounds: int, loss: float) -> None:
            nonlocal told
            step = int(rounds * trial.params["learning_rate"])
            if step > told:
                told = step
                trial.report(loss, step)
                if trial.should_prune():
                    raise self._optuna.TrialPruned

        try:
            model = self._trainer.fit(_parameters(self._trainer, trial.params), watch=watch)
        except self._optuna.TrialPruned:
            self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
            return
        self._study.tell(trial, model.validation_loss)
        if self._study.best_trial.number == trial.number:
            self._models = {0: self._models[0], trial.number: model}

    def _finished(self) -> list[Any]:
        states = self._optuna.trial.TrialState
        return list(self._study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))

    def _done(self) -> int:
        """Trials finished beyond the defaults, by this process or one before it."""
        return len(self._finished()) - 1

    def _spent(self) -> float:
        """Seconds that the finished trials took."""
        return float(sum(each.duration.total_seconds() for each in self._finished()[1:]))


@contextmanager
def _storage(plan: Plan) -> Iterator[Any]:
    """Where the study is kept; None is memory."""
    if plan.storage is None:
        yield None
        return
    import optuna  # noqa: PLC0415

    plan.storage.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{plan.storage}")
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _parameters(trainer: Trainer, found: Mapping[str, float | int]) -> dict[str, float | int | str]:
    return {**trainer.defaults, **found}


def _within(warm: Mapping[str, float | int | str]) -> dict[str, float | int]:
    """A champion's parameters that are searched, brought inside the space."""
    real = {name: min(max(float(warm[name]), low), high) for name, (low, high, _) in _REAL.items() if name in warm}
    whole = {name: min(max(int(warm[name]), low), high) for name, (low, high, _) in _WHOLE.items() if name in warm}
    return {**real, **whole}


def _space(optuna: Any, defaults: Mapping[str, float | int | str]) -> dict[str, Any]:
    """What is searched, widened where a kind's defaults lie outside."""
    of, space = optuna.distributions, {}
    for distribution, ranges in ((of.FloatDistribution, _REAL), (of.IntDistribution, _WHOLE)):
        for name, (low, high, log) in ranges.items():
            space[name] = distribution(min(low, defaults[name]), max(high, defaults[name]), log=log)
    return space
