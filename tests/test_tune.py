"""Tuning: it finds what is there to be found, keeps the defaults where there is nothing, and survives being killed."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest

from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator
from training import losses, tune
from training.booster import DEFAULTS, Trainer
from training.kinds import binary
from training.plan import Plan
from training.synthetic import draw
from training.trainingset import TrainingSet

OBJECTIVE = binary.kind.objective


def planted(data: TrainingSet) -> TrainingSet:
    """Labels that only trees of several leaves at a high rate learn in time: three signs must be multiplied."""

    def relabelled(split: object) -> object:
        assert dataclasses.is_dataclass(split)
        x, rng = split.x, generator("planted", len(split.y))  # type: ignore[attr-defined]
        sign = np.sign(x[:, 0]) * np.sign(x[:, 3]) * np.sign(x[:, 4])
        y = (rng.random(len(x)) < np.where(sign > 0, 0.95, 0.05)).astype(float)
        return dataclasses.replace(split, y=y)  # type: ignore[type-var]

    parts = {name: relabelled(split) for name, split in data.splits.items()}
    return dataclasses.replace(data, **parts)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(draw(generator("tune"), 500).data, OBJECTIVE)


@pytest.fixture(scope="module")
def hard() -> Trainer:
    return Trainer(planted(draw(generator("hard"), 600).data), OBJECTIVE, {"num_leaves": 4, "learning_rate": 0.02})


def silent(share: float) -> None:
    assert 0 <= share <= 1


# -- what it chooses ---------------------------------------------------------------------------------------------------


def test_defaults_that_are_surely_worse_are_replaced(hard: Trainer) -> None:
    """Four leaves at a slow rate do not find a product of three signs; more leaves do."""
    default, found = hard.fit(hard.defaults), tune.search(hard, Plan(trials=10), silent)
    assert found.validation_loss < 0.9 * default.validation_loss and tune.better(hard, found, default, 10)
    assert found.parameters["num_leaves"] != 4


def test_where_nothing_can_be_learnt_the_defaults_stay() -> None:
    """Of eight trials on noise some are better by chance; they are believed as seldom as one alone would be."""
    replaced = 0
    for number in range(10):
        noise = Trainer(draw(generator("noise", number), 200, signal=0.0).data, OBJECTIVE)
        replaced += tune.search(noise, Plan(trials=8), silent) != noise.fit(DEFAULTS)
    assert replaced <= 3


def test_what_replaces_the_defaults_is_better_on_validation(trainer: Trainer) -> None:
    default, best = trainer.fit(DEFAULTS), tune.search(trainer, Plan(trials=6), silent)
    assert best == default or best.validation_loss < default.validation_loss


def test_noise_counts_people_not_rows() -> None:
    rng = generator("clusters")
    gain, people = rng.normal(size=400), np.array([f"p{i}" for i in range(400)])
    alone = losses.noise(gain, np.ones(400), people)
    assert alone == pytest.approx(gain.std(ddof=1) / 20, rel=1e-3)
    copied = losses.noise(np.repeat(gain, 9), np.ones(3600), np.repeat(people, 9))
    assert copied == pytest.approx(alone), "rows said nine times over say no more"


@pytest.mark.parametrize("objective", ["binary", "regression", "regression_l1", "poisson", "gamma", "tweedie"])
def test_losses_by_row_are_lightgbms_own(objective: str, trainer: Trainer) -> None:
    """Their mean is what LightGBM says of the whole split."""
    metric = {"binary": "binary_logloss", "regression": "l2", "regression_l1": "l1"}.get(objective, objective)
    data = trainer.data
    if objective != "binary":
        parts = {name: dataclasses.replace(each, y=1 + each.y) for name, each in data.splits.items()}
        data = dataclasses.replace(data, **parts)  # type: ignore[arg-type]
    other = Trainer(data, {"objective": objective, "metric": metric})
    model = other.fit(DEFAULTS, rounds=20)
    assert other.losses(model).mean() == pytest.approx(model.validation_loss, rel=1e-6)


def test_a_metric_without_a_loss_by_row_is_refused(trainer: Trainer) -> None:
    with pytest.raises(InvalidInput, match=r"metric: is no known loss.*use one of binary_logloss"):
        losses.by_row({"metric": "auc"}, np.zeros(2), np.zeros(2))


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_the_same_plan_gives_the_same_model(trainer: Trainer) -> None:
    again = Trainer(draw(generator("tune"), 500).data, OBJECTIVE)
    assert tune.search(trainer, Plan(trials=5), silent) == tune.search(again, Plan(trials=5), silent)


def test_without_trials_it_is_the_defaults(trainer: Trainer) -> None:
    assert tune.search(trainer, Plan(trials=0), silent) == trainer.fit(DEFAULTS)


def test_progress_only_goes_forward(trainer: Trainer) -> None:
    told: list[float] = []
    tune.search(trainer, Plan(trials=6), told.append)
    assert told == sorted(told) and 0 < told[0] < 0.5 and told[-1] == 1 and len(set(told)) >= 6


def test_the_last_champions_parameters_are_tried_first(trainer: Trainer, tmp_path: Path) -> None:
    """What is not searched is left out, and what lies outside the space is brought inside."""
    warm = {"num_leaves": 99, "learning_rate": 0.09, "lambda_l2": 3.5, "something_else": 1.0, "objective": "binary"}
    tune.search(trainer, Plan(trials=1, warm=warm, storage=tmp_path / "studies.sqlite"), silent)
    default, first = studied(tmp_path / "studies.sqlite").trials
    assert default.params == DEFAULTS
    assert first.params == DEFAULTS | {"num_leaves": 31, "learning_rate": 0.09, "lambda_l2": 3.5}


def test_fixed_parameters_and_rounds_give_the_very_model_of_a_search(hard: Trainer) -> None:
    found = tune.search(hard, Plan(trials=3), silent)
    again = tune.search(hard, Plan(fixed=found.parameters, rounds=found.rounds), silent)
    assert again.sha256 == found.sha256 and again.rounds == found.rounds
    assert again.validation_loss == pytest.approx(found.validation_loss, rel=1e-9)


def test_defaults_of_a_kind_may_lie_outside_the_space(trainer: Trainer, tmp_path: Path) -> None:
    wide = Trainer(trainer.data, OBJECTIVE, {"min_data_in_leaf": 700, "lambda_l2": 300.0})
    tune.search(wide, Plan(trials=2, storage=tmp_path / "s.sqlite"), silent)
    assert studied(tmp_path / "s.sqlite").trials[0].params["min_data_in_leaf"] == 700


# -- going on ----------------------------------------------------------------------------------------------------------


def studied(file: Path) -> optuna.Study:
    [study] = optuna.get_all_study_summaries(f"sqlite:///{file}")
    return optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{file}")


def test_a_study_goes_on_where_it_was(trainer: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "studies.sqlite"
    tune.search(trainer, Plan(trials=3, storage=file), silent)
    first = [each.params for each in studied(file).trials]
    told: list[float] = []
    tune.search(trainer, Plan(trials=7, storage=file), told.append)
    both = [each.params for each in studied(file).trials]
    assert len(first) == 4 and both[:4] == first and len(both) == 8
    assert len({tuple(each.items()) for each in both}) == 8, "it does not draw again what it drew"
    assert told[1] >= 4 / 8, "what was done before counts"
    found = tune.search(trainer, Plan(trials=7, storage=file), silent)
    assert len(studied(file).trials) == 8
    assert found.validation_loss <= trainer.fit(DEFAULTS).validation_loss


def test_other_data_or_another_objective_are_another_study(trainer: Trainer) -> None:
    other = Trainer(draw(generator("other"), 500).data, OBJECTIVE)
    weighted = Trainer(trainer.data, OBJECTIVE | {"scale_pos_weight": 2.0})
    names = {tune.study_name(each) for each in (trainer, other, weighted)}
    assert len(names) == 3 and all(each.startswith("synthetic-") for each in names)
    assert tune.study_name(Trainer(draw(generator("tune"), 500).data, OBJECTIVE)) == tune.study_name(trainer)


KILLED = """
import sys
from pathlib import Path
from features.kernel.seeds import generator
from training import tune
from training.booster import Trainer
from training.kinds import binary
from training.plan import Plan
from training.synthetic import draw

trainer = Trainer(draw(generator("tune"), 500).data, binary.kind.objective)
tune.search(trainer, Plan(trials=100_000, storage=Path(sys.argv[1])), lambda share: print("trial", flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_study_counts_its_finished_trials_and_tries_again_what_was_under_way(
    how: signal.Signals, trainer: Trainer, tmp_path: Path
) -> None:
    file = tmp_path / "studies.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    with process, process.stdout:
        for _ in range(6):
            assert process.stdout.readline()
        os.kill(process.pid, how)
        process.stdout.read()
    assert process.returncode != 0
    states = optuna.trial.TrialState
    left = studied(file).trials
    finished = [each for each in left if each.state in (states.COMPLETE, states.PRUNED)]
    running = [each for each in left if each.state == states.RUNNING]
    assert len(finished) >= 4 and len(running) <= 1
    tune.search(trainer, Plan(trials=len(finished) + 2, storage=file), silent)
    after = studied(file).trials
    assert [each.params for each in after[: len(finished)]] == [each.params for each in finished]
    assert sum(each.state in (states.COMPLETE, states.PRUNED) for each in after) == len(finished) + 3
    assert all(each.state == states.FAIL for each in after if each.number in {one.number for one in running})
    for each in running:
        assert each.params in [one.params for one in after[len(left) :]]


def test_time_that_was_used_up_before_counts(trainer: Trainer, tmp_path: Path) -> None:
    """A study whose trials took an hour, as its storage says, has nothing left of a budget of minutes."""
    file = tmp_path / "studies.sqlite"
    tune.search(trainer, Plan(trials=2, storage=file), silent)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE trials SET datetime_start = datetime(datetime_complete, '-1 hour') WHERE number > 0")
    tune.search(trainer, Plan(trials=50, minutes=30, storage=file), silent)
    assert len(studied(file).trials) == 3
    tune.search(trainer, Plan(trials=5, minutes=1e6, storage=file), silent)
    assert len(studied(file).trials) == 6


def test_a_bad_trial_is_ended_early(hard: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "studies.sqlite"
    tune.search(hard, Plan(trials=16, storage=file), silent)
    pruned = [each for each in studied(file).trials if each.state == optuna.trial.TrialState.PRUNED]
    assert pruned
    best = studied(file).best_value
    for each in pruned:
        assert len(each.intermediate_values) < 1_000 * each.params["learning_rate"]
        assert min(each.intermediate_values.values()) > best
