"""The sentence a card opens with: its weakness first, then what it can do; nothing worse should stand below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from features.kernel.card import GateFinding, Metric
from training.evaluation.result import Evaluation
from training.trainingset import TrainingSet

__all__ = ["headline"]

FEW = 100
"""Yeses below which every figure is rough."""
OFF, TOTAL_OFF = 0.1, 0.1
"""Error of probabilities in a tenth of the rows, and of a total, that is worth a first sentence."""


def headline(
    data: TrainingSet, evaluation: Evaluation, findings: Iterable[GateFinding] = (), learner: str = "trees"
) -> str:
    """How far to trust a model.

    Args:
        findings: what the gates said.
        learner: `logistic` where there were too few rows for trees.
    """
    weakness = next(_weaknesses(data, evaluation, tuple(findings), learner))
    return f"{weakness}; {_STRENGTHS[data.problem.kind](evaluation, data.problem.unit)}."


def _weaknesses(
    data: TrainingSet, evaluation: Evaluation, findings: tuple[GateFinding, ...], learner: str
) -> Iterator[str]:
    """The gravest first, and one at least."""
    kind, gain = data.problem.kind, evaluation.gain
    if gain.low <= 0:
        interval = f"{_spoken(gain.name)} {gain.value:+.3f}, 95 % {gain.low:+.3f} to {gain.high:+.3f}"
        lacking = "No proven gain from targeting" if kind == "uplift" else "Not shown to beat its baseline"
        yield f"{lacking} ({interval})"
    for each in findings:
        if each.refuses and each.code != "KT101":
            yield f"Refused, for '{each.title}' fails: {each.figure}".replace(";", ",")
    if learner == "logistic":
        rows, positives = len(data.train), int((data.train.y > 0).sum())
        yield f"Learnt from so little ({rows} rows, {positives} of them yes) that it is a logistic regression, no trees"
    if data.split == "random":
        yield "Judged on rows drawn at random, for they have no time: it holds only while tomorrow is like the table"
    if evaluation.positives < FEW:
        yield f"Judged on only {evaluation.positives} positives, so every figure is rough"
    yield from _OWN[kind](evaluation, data.problem.unit)


def _probability_weaknesses(evaluation: Evaluation, unit: str) -> Iterator[str]:
    if evaluation.largest_error > OFF:
        yield f"Its probabilities are off by up to {100 * evaluation.largest_error:.0f} points in places"
    top = evaluation.metric("lift_top_decile").value * evaluation.mean
    yield f"Even of the tenth it is surest about, {100 * (1 - min(top, 1.0)):.0f} in 100 turn out otherwise"


def _amount_weaknesses(evaluation: Evaluation, unit: str) -> Iterator[str]:
    total, error = _of(evaluation, "total_ratio"), _of(evaluation, "mae")
    if total is not None and abs(total.value - 1) > TOTAL_OFF:
        yield f"Its answers add up to {100 * total.value:.0f} % of what came"
    if error is not None:
        yield f"A single answer is off by {error.value:.3g} {unit} on average, the mean being {evaluation.mean:.3g}"
    yield "No single answer is sure"


def _effect_weaknesses(evaluation: Evaluation, unit: str) -> Iterator[str]:
    yield "The effect on a single person is never seen, only that of ranking many"


def _probability_strength(evaluation: Evaluation, unit: str) -> str:
    auc, lift = evaluation.metric("auc"), evaluation.metric("lift_top_decile")
    return (
        f"it ranks {100 * auc.value:.0f} of 100 pairs of a yes and a no rightly{_beside(auc)}, "
        f"and its top tenth holds {lift.value:.1f} times the average share of yes"
    )


def _amount_strength(evaluation: Evaluation, unit: str) -> str:
    order, share = _of(evaluation, "concordance"), _of(evaluation, "share_top_decile")
    said = []
    if order is not None:
        said.append(f"it ranks {100 * order.value:.0f} of 100 pairs of people rightly{_beside(order)}")
    if share is not None and unit != "days":
        said.append(f"its top tenth brings {100 * share.value:.0f} % of the whole")
    return ", and ".join(said) or f"it was judged on {evaluation.rows:,} rows of {evaluation.people:,} people"


def _effect_strength(evaluation: Evaluation, unit: str) -> str:
    effect, best = _of(evaluation, "average_effect"), next(iter(evaluation.tables.get("deciles", ())), None)
    said = f"the treatment adds {100 * evaluation.mean:+.2f} points for everybody"
    if effect is not None:
        said += f" ({100 * effect.low:+.2f} to {100 * effect.high:+.2f})"
    if best is None:
        return said
    return f"{said}, and {100 * best['effect']:+.2f} for the tenth with the highest answers"


def _beside(metric: Metric) -> str:
    return "" if metric.baseline is None else f", the baseline {100 * metric.baseline:.0f}"


def _of(evaluation: Evaluation, name: str) -> Metric | None:
    return next((each for each in evaluation.metrics if each.name == name), None)


def _spoken(name: str) -> str:
    return "Qini" if name == "qini" else name


_OWN = {
    "binary": _probability_weaknesses,
    "candidates": _probability_weaknesses,
    "regression": _amount_weaknesses,
    "uplift": _effect_weaknesses,
}
_STRENGTHS = {
    "binary": _probability_strength,
    "candidates": _probability_strength,
    "regression": _amount_strength,
    "uplift": _effect_strength,
}
