"""Why an answer is what it is: exact SHAP values of the raw score, and the same in the answer's own unit and in words.

SHAP values sum to the raw score. Shown in the answer's unit (points of a probability or an effect, euros, days) they
are all multiplied by one factor, so that they sum to the answer minus the reference: the answer at the base, the raw
score from which the SHAP values start. Calibration rises with the raw score, whatever the link, so the factor is never
negative: a reason never changes its sign.

Members of a family (the same count over 7, 30 and 90 days) share one effect among them as the trees happened to split
it; their sum is what can be believed, so they are one reason together, with its members inside.

Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from features.kernel.card import Card
from features.vectors import Value
from serving.bundles import Bundle
from serving.known import Known
from serving.model import Floats
from serving.score import Scored, answers, calibrate, candidate_label, compute
from serving.words import effect, sentence

__all__ = ["Explanation", "Reason", "ReasonGroup", "explain"]

_NOTHING = 1e-9
"""Contributions that sum to less cancel out: what is left of them is rounding, and no scale for points."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What one input did to one answer."""

    ref: str
    value: Value
    contribution: float
    """SHAP value, in the raw score."""
    points: float
    """The same in the answer's unit, scaled as the module says; 0.08 of a probability reads "+8 points"."""
    words: str
    """`ordered 3 times in 30 days`."""
    text: str
    """The same and what it is worth: `ordered 3 times in 30 days (+8 points)`."""


@dataclass(frozen=True, slots=True)
class ReasonGroup:
    """What a family of inputs did together; an input without a family is a group of one, named by its reference."""

    group: str
    contribution: float
    points: float
    text: str
    reasons: tuple[Reason, ...]
    """Its members, the strongest first."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`base + sum(contribution) = raw`, `reference + sum(points) = value`, over the reasons as over the groups."""

    value: float
    reference: float
    raw: float
    base: float
    reasons: tuple[Reason, ...]
    """Every input, the strongest first."""
    groups: tuple[ReasonGroup, ...]
    """Every family, the strongest first."""
    candidate: int | None = None
    """The candidate explained: the best one."""


def explain(bundle: Bundle, known: Sequence[Known]) -> tuple[list[Scored], list[Explanation | None]]:
    """Answer and explain each customer (of a problem with candidates the best one); None on the rung `prior`."""
    computed = compute(bundle, known)
    scored, explained = answers(bundle, known, computed), list[Explanation | None]([None] * len(known))
    if computed is None or bundle.booster is None:
        return scored, explained
    shap = bundle.booster.contributions(computed.rows)
    references = calibrate(bundle, shap[:, -1])
    for i, place in enumerate(computed.places):
        found = _Found(shap[i, :-1], float(computed.raw[i]), float(shap[i, -1]), computed.best[i])
        explained[place] = _explanation(
            bundle.card, known[place].values, found, float(computed.values[i]), float(references[i])
        )
    return scored, explained


class _Found(NamedTuple):
    """Of one customer the SHAP values [width], raw score, base and best candidate."""

    shap: Floats
    raw: float
    base: float
    best: int | None


class _Input(NamedTuple):
    ref: str
    group: str
    value: Value
    words: str


def _explanation(card: Card, values: Mapping[str, Value], found: _Found, value: float, reference: float) -> Explanation:
    total = float(found.shap.sum())
    factor = (value - reference) / total if abs(total) > _NOTHING else 0.0
    families: dict[str, list[Reason]] = {}
    for each, contribution in zip(_inputs(card, values, found), found.shap.tolist(), strict=True):
        points = contribution * factor
        reason = Reason(each.ref, each.value, contribution, points, each.words, _text(card, each.words, points))
        families.setdefault(each.group or each.ref, []).append(reason)
    reasons = sorted((each for family in families.values() for each in family), key=_strength)
    groups = sorted((_group(card, name, each, found.best) for name, each in families.items()), key=_strength)
    return Explanation(value, reference, found.raw, found.base, tuple(reasons), tuple(groups), found.best)


def _strength(reason: Reason | ReasonGroup) -> float:
    return -abs(reason.contribution)


def _text(card: Card, words: str, points: float) -> str:
    return f"{words} ({effect(card, points)})"


def _group(card: Card, name: str, family: list[Reason], candidate: int | None) -> ReasonGroup:
    """A family in the words of its strongest member that pulls the way the family does."""
    of_candidate = card.candidates is not None and name == card.candidates.name
    if len(family) == 1 and not of_candidate:
        return ReasonGroup(name, family[0].contribution, family[0].points, family[0].text, (family[0],))
    members = tuple(sorted(family, key=_strength))
    contribution, points = sum(each.contribution for each in members), sum(each.points for each in members)
    words = next((each for each in members if each.contribution * contribution > 0), members[0]).words
    if of_candidate and candidate is not None:
        words = f"{name} {candidate_label(card, candidate)}"
    else:
        words += f", with {len(members) - 1} related"
    return ReasonGroup(name, contribution, points, _text(card, words, points), members)


def _inputs(card: Card, values: Mapping[str, Value], found: _Found) -> list[_Input]:
    """Every input in the model's order; what depends on the candidate is one family, named as the candidates are."""
    inputs = []
    for feature in card.features:
        value = values.get(feature.ref)
        words = sentence(feature.ref, feature.phrase, feature.absent, feature.unit, value)
        inputs.append(_Input(feature.ref, feature.group, value, words))
    if card.candidates is None or found.best is None:
        return inputs
    for column in card.candidates.columns:
        ref = column.refs[found.best] if column.refs else column.name
        value = values.get(ref) if column.refs else column.values[found.best]
        words = sentence(ref, column.phrase, "", column.unit, value)
        inputs.append(_Input(ref, card.candidates.name, value, words))
    return inputs
