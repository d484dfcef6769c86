"""A new model takes the place of the champion only if it is better, on the same rows: those of its own test split.

The gain in the judged figure must not be negative; its interval is a bootstrap by person in which both models share
every draw. Where rows were split at random, only people count whom the champion has not learnt from. Where the champion
cannot be asked (another question, columns that are gone, a damaged bundle) the gate does not apply.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from features.kernel.card import Card, Metric
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.seeds import generator
from training.evaluation.bootstrap import metric, weights
from training.evaluation.over_time import part
from training.gate import Answer, Evidence, Gate, does_not_apply, failed, passed
from training.kinds import kind_of
from training.registry import bundle, membership, rival
from training.trainingset import Split

__all__ = ["gate"]

LEAST = 100
"""Rows to compare on."""


def _check(evidence: Evidence) -> Answer:
    if evidence.settings is None:
        return does_not_apply("0 champions are known here")
    models, name = evidence.settings.models, evidence.data.problem.name
    try:
        card = bundle.champion(models, name)
        if card.model_sha256 == evidence.model.sha256:
            return passed(f"is the champion {card.version} itself: gain 0")
        return _against(evidence, card, models / name / card.version)
    except NotFound:
        return does_not_apply("0 champions so far")
    except (InvalidInput, OSError) as error:
        return does_not_apply(f"the champion cannot be asked, 0 rows compared: {error}")


def _against(evidence: Evidence, card: Card, folder: Path) -> Answer:
    test = _comparable(evidence, folder)
    if len(test) < LEAST:
        return does_not_apply(f"only {len(test)} rows are new to the champion {card.version}")
    gain = _gain(evidence, test, card, folder)
    figure = (
        f"{gain.name} {gain.value:+.4f} against the champion {card.version} on {len(test)} rows "
        f"(95 % {gain.low:+.4f} to {gain.high:+.4f})"
    )
    return passed(figure) if gain.value >= 0 else failed(figure)


def _comparable(evidence: Evidence, folder: Path) -> Split:
    test = evidence.data.test
    if evidence.data.split == "time":
        return test
    return part(test, np.flatnonzero(~membership.among(folder, test.person.tolist())))


def _gain(evidence: Evidence, test: Split, card: Card, folder: Path) -> Metric:
    """The judged figure, ours less the champion's, signed so that positive is better."""
    judged = evidence.evaluation.metric(evidence.evaluation.gain.name)
    theirs = rival.answers(folder, card, evidence.data, test)
    score = kind_of(evidence.data.problem).score
    pair = [score(test, each, judged.name) for each in (evidence.answers(test.x), theirs)]
    better = 1.0 if judged.higher_is_better else -1.0

    def gain(drawn: np.ndarray | None) -> float:
        return better * (pair[0](drawn) - pair[1](drawn))

    rng = generator("champion", card.problem, card.version)
    return metric(judged.name, gain(None), [gain(each) for each in weights(test.person, rng)])


gate = Gate(code="KT109", title="is better than the champion", severity="refuse", check=_check)
