"""Training: the pipeline's fit against bare `lgb.train`, on the same rows and rounds with the same parameters.

Both sides bin the rows, fit, and write the model down as text; equal means that both predict the same, bit by bit. Once
for a fixed number of rounds, once with early stopping on a validation split, as LightGBM's documentation advises.

Memory is that of a process of its own which makes the rows and trains a whole problem on them, tuning off, evaluation,
calibration and gates included, beside one that makes the same rows and calls bare `lgb.train`: each once, for it does
not vary.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Benchmark, Result, Side, Spread, compare, machine
from benchmarks.peers.processes import peak_mb
from features.kernel.card import CardFeature, Cutoffs
from features.kernel.seeds import generator
from training import pipeline
from training.booster import DEFAULTS, FIXED, Trainer, threads
from training.kinds import binary
from training.plan import Plan
from training.problem import Problem
from training.trainingset import Split, TrainingSet

__all__ = ["bare", "benchmark", "made", "peak"]

MANY, FEW = 200_000, 4_000
MILLION, THOUSANDS = 1_000_000, 8_000
WIDE, NARROW = 80, 8
ROUNDS, FEW_ROUNDS = 200, 20
_START = datetime(2026, 1, 1, tzinfo=UTC)
_STEP = timedelta(days=30)
_SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


def run(quick: bool) -> list[Result]:
    """Compare times, then report memory."""
    rows, width = (FEW, NARROW) if quick else (MANY, WIDE)
    data, rounds = made(rows, width), FEW_ROUNDS if quick else ROUNDS
    large, wide = (THOUSANDS, NARROW) if quick else (MILLION, WIDE)
    return [
        _compared("train_rounds", data, rounds, early=False),
        _compared("train_early_stopping", data, rounds, early=True),
        _memory(large, wide),
    ]


def made(rows: int, width: int) -> TrainingSet:
    """A yes-or-no problem of so many rows and columns, a tenth of the values missing; five columns tell something."""
    features = tuple(CardFeature(ref=f"x:f{i}", dtype="float32", phrase="") for i in range(width))
    instants = [_START + _STEP * i for i in range(9)]
    cutoffs = Cutoffs(train=tuple(instants[:5]), validation=tuple(instants[5:7]), test=tuple(instants[7:]))
    train, validation, test = (
        _split(name, round(share * rows), width, getattr(cutoffs, name)) for name, share in _SHARES.items()
    )
    problem = Problem(
        name="made",
        question="Will it happen within {days} days?",
        population=lambda events, cutoff: events,
        label=lambda events, population, cutoff, horizon: population,
        horizon=_STEP,
        features=tuple(each.ref for each in features),
        baseline=("x:f0", "x:f1"),
        needs=(),
    )
    return TrainingSet(
        problem=problem,
        features=features,
        candidates=None,
        cutoffs=cutoffs,
        train=train,
        validation=validation,
        test=test,
        observed_until=instants[-1] + _STEP,
        defaults={each.ref: 0.0 for each in features},
        source="request",
    )


def _split(name: str, rows: int, width: int, instants: tuple[datetime, ...]) -> Split:
    rng = generator("bench train", name, rows, width)
    x = rng.standard_normal((rows, width), dtype=np.float32)
    log_odds = x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] / 2 - np.abs(x[:, 4]) - 1
    y = (rng.random(rows, dtype=np.float32) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    for column in range(width):
        x[rng.random(rows, dtype=np.float32) < 0.1, column] = np.nan
    when = np.sort(rng.integers(0, len(instants), rows))
    micros = np.array([each.replace(tzinfo=None) for each in instants], dtype="datetime64[us]")
    person = np.char.add("p", rng.integers(0, max(rows // 3, 1), rows).astype(np.str_))
    return Split(x=x, y=y, person=person, as_of=micros[when])


def bare(data: TrainingSet, parameters: dict[str, Any], rounds: int, *, early: bool) -> str:
    """The model text by `lgb.train` and nothing else."""
    import lightgbm  # noqa: PLC0415

    train = lightgbm.Dataset(data.train.x, label=data.train.y, feature_name=data.columns, params=parameters)
    more: dict[str, Any] = {}
    if early:
        judged = lightgbm.Dataset(data.validation.x, label=data.validation.y, reference=train, params=parameters)
        more = {"valid_sets": [judged], "callbacks": [lightgbm.early_stopping(30, verbose=False)]}
    booster = lightgbm.train(parameters, train, num_boost_round=rounds, **more)
    return str(booster.model_to_string(num_iteration=booster.best_iteration if early else rounds))


def _compared(name: str, data: TrainingSet, rounds: int, *, early: bool) -> Result:
    parameters = _parameters(data)

    def ours() -> str:
        trainer = Trainer(data, binary.kind.objective)
        model = trainer.fit(DEFAULTS, rounds=rounds) if early else trainer.refit(DEFAULTS, rounds)
        return model.text

    def theirs() -> str:
        return bare(data, parameters, rounds, early=early)

    def answers(fit: Callable[[], str]) -> Callable[[], NDArray[np.float64]]:
        return lambda: _predicted(fit(), data.test.x)

    return compare(
        name,
        Side("training.booster.Trainer", answers(ours), lambda: _seconds(ours), {"early_stopping": early}),
        Side("lgb.train", answers(theirs), lambda: _seconds(theirs), {"early_stopping": early}),
        unit="s",
        equal=np.array_equal,
        settings={
            "rows": len(data.train), "features": data.train.x.shape[1], "rounds": rounds, "parameters": parameters,
        },
    )  # fmt: skip


def _parameters(data: TrainingSet) -> dict[str, Any]:
    """What the pipeline gives LightGBM for data of this size."""
    return {**FIXED, **threads(data.train.x.size), **binary.kind.objective, **DEFAULTS}


def _predicted(text: str, x: NDArray[np.float32]) -> NDArray[np.float64]:
    import lightgbm  # noqa: PLC0415

    return np.asarray(lightgbm.Booster(model_str=text).predict(x, raw_score=True))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# -- memory ------------------------------------------------------------------------------------------------------------


def peak(what: str, rows: int, width: int) -> dict[str, float]:
    """Train in this process; the most memory it ever held, how much of it the matrix is, in MB, and seconds."""
    data = made(rows, width)
    matrix = sum(each.x.nbytes for each in data.splits.values()) / 2**20
    before, started = peak_mb("self"), time.perf_counter()
    if what == "kairos":
        pipeline.fit(data, plan=Plan(trials=0))
    else:
        bare(data, _parameters(data), 1_000, early=True)
    return {
        "peak_mb": peak_mb("self"),
        "rows_made_mb": before,
        "matrix_mb": matrix,
        "seconds": time.perf_counter() - started,
    }


def _memory(rows: int, width: int) -> Result:
    found = {what: _in_process(what, rows, width) for what in ("kairos", "peer")}
    kairos, peer = (found[what]["peak_mb"] for what in ("kairos", "peer"))
    figures = {"ratio": peer / kairos, "kairos": kairos, "peer": peer}
    return Result(
        name="train_memory",
        **figures,
        unit="MB at most",
        repeats=1,
        machine=machine(),
        settings={
            "rows": rows, "features": width,
            "kairos": {"is": "the whole pipeline, tuning off"} | found["kairos"],
            "peer": {"is": "lgb.train, early stopping"} | found["peer"],
        },
        spread={name: Spread(value, value) for name, value in figures.items()},
    )  # fmt: skip


def _in_process(what: str, rows: int, width: int) -> dict[str, float]:
    script = (
        f"import json; from benchmarks.members.train import peak; print(json.dumps(peak({what!r}, {rows}, {width})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


benchmark = Benchmark("fitting a model: bare lgb.train on the same rows and rounds; the memory of a million rows", run)
