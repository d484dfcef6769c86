"""A simulated training set whose truth is known: what to hold estimators and gates against, and to time fits on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.card import CardFeature, Cutoffs
from training.problem import Problem
from training.rows.dataset import assemble
from training.trainingset import TrainingSet

__all__ = ["Synthetic", "draw"]

START = datetime(2026, 1, 1, tzinfo=UTC)
HORIZON = timedelta(days=30)
_CITIES = ("Bergen", "Lyon", "Porto", "Turin")
_PULL = np.array([0.8, -0.4, 0.0, -0.8])


class Synthetic(NamedTuple):
    """A training set and the true probability of each test row."""

    data: TrainingSet
    truth: NDArray[np.float64]


def draw(rng: np.random.Generator, people: int, *, signal: float = 1.0, base: float = -1.0) -> Synthetic:
    """People at nine cutoffs 30 days apart: five to train on, two each for validation and test.

    The log-odds are `base + signal · (a + sin(2b) + a·b/2 + city + who)`, with a, b standard normal anew at each
    cutoff, one row in ten lacking b (and then its terms), and `who` normal(0, .5), a trait of the person nobody sees.
    """
    rows = pl.concat(_cutoff(rng, people, who, number) for who in (rng.normal(0, 0.5, people),) for number in range(9))
    log_odds = base + signal * rows.get_column("score").to_numpy()
    truth = 1 / (1 + np.exp(-log_odds))
    rows = rows.with_columns(pl.Series("label", (rng.random(len(truth)) < truth).astype(np.int8)))
    features = (
        CardFeature(ref="x:a", dtype="float32", phrase="has an a of {value}"),
        CardFeature(ref="x:b", dtype="float32", phrase="has a b of {value}"),
        CardFeature(ref="x:city", dtype="category", phrase="lives in {value}"),
        *(CardFeature(ref=f"x:noise_{i}", dtype="float32", phrase="has {value} of noise") for i in range(4)),
    )
    instants = tuple(START + number * HORIZON for number in range(9))
    cutoffs = Cutoffs(train=instants[:5], validation=instants[5:7], test=instants[7:])
    built = assemble(_problem(features), rows, features, cutoffs, instants[-1] + HORIZON)
    data = replace(built, source="request")  # no view has such features
    return Synthetic(data, truth[(rows.get_column("split") == "test").to_numpy()])


def _cutoff(rng: np.random.Generator, people: int, who: NDArray[np.float64], number: int) -> pl.DataFrame:
    a, b = rng.normal(size=people), rng.normal(size=people)
    city, unknown = rng.integers(0, len(_CITIES), people), rng.random(people) < 0.1
    shown = np.where(unknown, 0.0, b)
    return pl.DataFrame(
        {
            "split": [("train" if number < 5 else "validation" if number < 7 else "test")] * people,
            "customer_id": [f"p{i:05d}" for i in range(people)],
            "as_of": [START + number * HORIZON] * people,
            "score": a + np.sin(2 * shown) + a * shown / 2 + _PULL[city] + who,
            "x__a": a,
            "x__b": pl.Series(b).set(pl.Series(unknown), None),
            "x__city": [_CITIES[i] for i in city],
            **{f"x__noise_{i}": rng.normal(size=people) for i in range(4)},
        },
        schema_overrides={"as_of": pl.Datetime("us", "UTC")},
    )


def _problem(features: tuple[CardFeature, ...]) -> Problem:
    return Problem(
        name="synthetic",
        question="Will it happen within {days} days?",
        population=lambda events, cutoff: events.select("customer_id").unique(),
        label=lambda events, population, cutoff, horizon: population,
        horizon=HORIZON,
        features=tuple(each.ref for each in features),
        baseline=("x:a", "x:city"),
        needs=(),
    )
