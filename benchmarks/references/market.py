"""The simulated market: how far models are from the truth behind it, which nobody can know in a real one.

1,500 people over 30 months; features as of each cutoff, tuning off. Each figure is of the test split, beside what the
market's own probabilities would reach: they know each person's hidden state, so no model gets there. Effects are learnt
in the same market with a win-back test; its discounts bring orders that the other problems' truth does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from benchmarks.reference import Claim, Progress, Reference
from features.market import Market, simulate
from training import pipeline
from training.calibration.calibrate import apply
from training.evaluation.figures import Sorted
from training.fitted import Fitted
from training.plan import Plan
from training.problem import Problem
from training.problems import all_problems
from training.problems.churn import LEAST_DAYS
from training.rows import cutoffs, dataset
from training.rows.matrices import Values, filled
from training.testing import Computed
from training.trainingset import TrainingSet

__all__ = ["claims", "reference"]

Floats = NDArray[np.float64]
Truth = Callable[[Sequence[str], datetime], Floats]
"""(ids, cutoff) -> [n] true probability or effect."""

SEED, PEOPLE = 7, 1_500
_WAY, _OFF, _HOUR, _RANK = 0.5, 0.04, 0.4, 0.3
"""Least share of the way from chance to the truth, for AUC and for the send hour; largest distance of ten bins' answers
from their true means; least rank correlation of effects."""


def _run(folder: Path, progress: Progress) -> list[Claim]:
    market = simulate(seed=SEED, people=PEOPLE)
    found: list[Claim] = []
    for number, name in enumerate(_JUDGES):
        progress(name, number / len(_JUDGES))
        found += claims(name, market)
    return found


def claims(name: str, market: Market) -> list[Claim]:
    """What comes of one problem in a market; of `uplift` in the same market with a test."""
    asked = market.with_test() if name == "uplift" else market
    return _JUDGES[name](asked, _learn(name, asked))


def _learn(name: str, market: Market) -> Fitted:
    problem = all_problems()[name]
    plan = cutoffs.for_problem(market.start, market.end, problem.horizon)
    return pipeline.fit(dataset.build(problem, market.events, Computed(market.events), plan), plan=Plan(trials=0))


def _by_row(data: TrainingSet, truth: Truth) -> Floats:
    """[n] the truth of each test row at its cutoff."""
    values = np.empty(len(data.test))
    for cutoff in data.cutoffs.test:
        mine = data.test.as_of == np.datetime64(cutoff.replace(tzinfo=None))
        values[mine] = truth(data.test.person[mine].tolist(), cutoff)
    return values


def _ranking(found: Fitted, truth: Floats) -> Claim:
    test, auc = found.data.test, found.evaluation.metric("auc")
    best = Sorted(test.y, truth, test.weight).figures()["auc"]
    way = (auc.value - 0.5) / (best - 0.5)
    return Claim(
        what=f"{found.card.problem}: AUC",
        value=auc.value,
        target=f"at least {_WAY:.0%} of the way from chance to the truth's {best:.3f}",
        holds=bool(way >= _WAY and auc.low <= best),
        low=auc.low,
        high=auc.high,
        peer=best,
        note=f"{way:.0%} of the way; its baseline {auc.baseline:.3f}" if auc.baseline else "",
    )


def _calibration(found: Fitted, truth: Floats) -> Claim:
    parts = np.array_split(np.argsort(found.answers, kind="stable"), 10)
    off = float(np.mean([abs(found.answers[each].mean() - truth[each].mean()) for each in parts]))
    return Claim(
        what=f"{found.card.problem}: distance of answers from true probabilities, ten bins",
        value=off,
        target=f"at most {_OFF}",
        holds=off <= _OFF,
        note=f"mean answer {found.answers.mean():.3f}, mean truth {truth.mean():.3f}",
    )


def _yes_or_no(of: Callable[[Market, Problem], Truth]) -> Callable[[Market, Fitted], list[Claim]]:
    def judge(market: Market, found: Fitted) -> list[Claim]:
        truth = _by_row(found.data, of(market, found.data.problem))
        return [_ranking(found, truth), _calibration(found, truth)]

    return judge


def _bought(market: Market, problem: Problem) -> Truth:
    return lambda ids, cutoff: market.truth.purchase_probability(ids, cutoff, problem.horizon.days)


def _converted(market: Market, problem: Problem) -> Truth:
    return lambda ids, cutoff: market.truth.lead_conversion_probability(ids, cutoff, problem.horizon.days)


def _silent(market: Market, problem: Problem) -> Truth:
    """No order within each person's own horizon."""

    def truth(ids: Sequence[str], cutoff: datetime) -> Floats:
        own = dict(problem.population(market.events, cutoff).select("customer_id", "patience_days").iter_rows())
        days = np.clip(np.ceil([own[each] for each in ids]), LEAST_DAYS, problem.horizon.days)
        values = np.empty(len(days))
        for each in np.unique(days):
            here = np.flatnonzero(days == each).tolist()
            values[here] = 1 - market.truth.purchase_probability([ids[i] for i in here], cutoff, float(each))
        return values

    return truth


def _hours(market: Market, found: Fitted) -> list[Claim]:
    """The hour chosen for each person at each cutoff, by its true probability of an open."""
    data = found.data
    people = pl.DataFrame({"customer_id": data.test.person, "as_of": data.test.as_of}).unique(maintain_order=True)
    people = people.with_columns(pl.col("as_of").dt.replace_time_zone("UTC"))
    chosen = _answers(found, market, people).argmax(axis=1)
    true = np.concatenate(
        [
            market.truth.open_probability(people.filter(pl.col("as_of") == cutoff)["customer_id"].to_list(), cutoff)
            for cutoff in data.cutoffs.test
        ]
    )
    row = pl.DataFrame({"customer_id": data.test.person, "as_of": data.test.as_of}).with_columns(
        pl.col("as_of").dt.replace_time_zone("UTC")
    )
    place = row.join(people.with_row_index("place"), on=["customer_id", "as_of"], how="left", maintain_order="left")
    return [_ranking(found, true[place["place"].to_numpy(), _taken(data)]), _regret(true, chosen)]


def _regret(true: Floats, chosen: NDArray[np.intp]) -> Claim:
    """How much of what the best hour would bring the chosen one [m] does, by the truth [m, 168]."""
    best, chance = float(true.max(axis=1).mean()), float(true.mean())
    ours = float(true[np.arange(len(true)), chosen].mean())
    popular = float(true[:, true.mean(axis=0).argmax()].mean())
    way = (ours - chance) / (best - chance)
    return Claim(
        what="send_time: probability of an open at the hour chosen",
        value=ours,
        target=f"at least {_HOUR:.0%} of the way from a random hour to each person's best",
        holds=way >= _HOUR and ours > popular,
        peer=best,
        note=f"{way:.0%} of the way; random hour {chance:.3f}, hour most popular with all {popular:.3f}, "
        f"regret {best - ours:.3f}",
    )


def _taken(data: TrainingSet) -> NDArray[np.intp]:
    """[n] the hour of the week each test row was sent at."""
    hour, day = (data.test.x[:, data.columns.index(name)] for name in ("hour_of_day", "day_of_week"))
    return (day * 24 + hour).astype(np.intp)


def _answers(found: Fitted, market: Market, people: pl.DataFrame) -> Floats:
    """[m, candidates] what the model answers of each candidate."""
    data, candidates = found.data, found.data.candidates
    assert candidates is not None
    refs = [*(each.ref for each in data.features), *(ref for column in candidates.columns for ref in column.refs)]
    known = Computed(market.events).historical(people, list(dict.fromkeys(refs)))
    answers = []
    for at in np.array_split(np.arange(len(people)), max(1, len(people) // 500)):
        values = Values(known, np.repeat(at, candidates.count).astype(np.intp))
        rows = np.arange(len(values.place), dtype=np.intp)
        x = filled(values, rows, data.features, candidates, np.tile(np.arange(candidates.count), len(at)))
        answers.append(apply(found.calibration, found.model.raw(x)).reshape(len(at), candidates.count))
    return np.concatenate(answers)


def _channels(market: Market, found: Fitted) -> list[Claim]:
    names = [column.name for column in found.data.candidates.columns] if found.data.candidates else []
    by = found.data.test.x[:, [found.data.columns.index(each) for each in names if each.startswith("by_")]]
    taken = np.where(by.any(axis=1), by.argmax(axis=1), by.shape[1])
    truth = np.empty(len(taken))
    for channel in range(by.shape[1] + 1):
        here = taken == channel
        truth[here] = _by_row(found.data, _clicked(market, channel))[here]
    return [_ranking(found, truth)]


def _clicked(market: Market, channel: int) -> Truth:
    return lambda ids, cutoff: market.truth.click_probability(ids, cutoff)[:, channel]


def _effects(market: Market, found: Fitted) -> list[Claim]:
    """The true effect at the middle of the window in which people are drawn."""
    later = timedelta(days=15)
    truth = _by_row(found.data, lambda ids, cutoff: market.truth.discount_effect(ids, cutoff + later))
    rank = float(stats.spearmanr(found.answers, truth).statistic)
    effect, sds = found.evaluation.metric("average_effect"), found.evaluation.metric("qini_in_null_sds")
    return [
        Claim(
            what="uplift: rank correlation of predicted and true effects",
            value=rank,
            target=f"at least {_RANK}",
            holds=rank >= _RANK,
            note=f"Qini {sds.value:.1f} standard deviations of random rankings",
        ),
        Claim(
            what="uplift: average effect",
            value=effect.value,
            target=f"its interval holds the true {truth.mean():.3f}",
            holds=bool(effect.low <= truth.mean() <= effect.high),
            low=effect.low,
            high=effect.high,
            peer=float(truth.mean()),
        ),
    ]


_JUDGES: dict[str, Callable[[Market, Fitted], list[Claim]]] = {
    "lead_scoring": _yes_or_no(_converted),
    "churn": _yes_or_no(_silent),
    "propensity": _yes_or_no(_bought),
    "send_time": _hours,
    "channel": _channels,
    "uplift": _effects,
}

reference = Reference(
    name="market",
    about="the simulated market, 1,500 people: how far models are from the truth behind it",
    needs="",
    run=_run,
)
