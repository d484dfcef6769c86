"""Tuning: a small, seeded search by Optuna's TPE (Bergstra et al., 2011), that starts from the defaults.

A small budget finds little, and what it finds on one validation split may be chance: a trial replaces the defaults
only if it is better by more than a thousandth of their log-loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.booster import DEFAULTS, Model, Trainer
from training.plan import Plan

__all__ = ["search"]

_SEED = 7
_MARGIN = 1e-3


def search(trainer: Trainer, plan: Plan, progress: Callable[[int, int], None]) -> Model:
    """The best of the defaults and the plan's further parameter sets by validation loss.

    Args:
        progress: told (models fitted, models to fit) after each.
    """
    trials = plan.trials
    best = default = trainer.fit(DEFAULTS)
    progress(1, trials + 1)
    if not trials:
        return default
    import optuna  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=_SEED, n_startup_trials=max(2, trials // 2)))
    study.add_trial(
        optuna.trial.create_trial(params=DEFAULTS, distributions=_space(optuna), value=default.validation_loss)
    )
    for done in range(trials):
        trial = study.ask(_space(optuna))
        model = trainer.fit(trial.params)
        study.tell(trial, model.validation_loss)
        if model.validation_loss < min(best.validation_loss, default.validation_loss * (1 - _MARGIN)):
            best = model
        progress(done + 2, trials + 1)
    return best


def _space(optuna: Any) -> dict[str, Any]:
    of = optuna.distributions
    return {
        "learning_rate": of.FloatDistribution(0.02, 0.12, log=True),
        "num_leaves": of.IntDistribution(4, 31),
        "min_data_in_leaf": of.IntDistribution(20, 300, log=True),
        "feature_fraction": of.FloatDistribution(0.3, 1.0),
        "lambda_l2": of.FloatDistribution(0.1, 50.0, log=True),
        "cat_smooth": of.FloatDistribution(5.0, 100.0, log=True),
    }
