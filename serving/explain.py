"""Why a score is what it is: exact SHAP values of the raw log-odds, and the same in probability points and words.

SHAP values sum to the raw log-odds. Shown as points they are all multiplied by one factor, so that they sum to the
calibrated probability minus the reference: the calibrated probability of the base, the log-odds from which the SHAP
values start. Calibration being monotonic, a reason never changes its sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.kernel.card import Card
from serving.bundles import Bundle
from serving.score import Known, Value, calibrate, matrix
from serving.score import score as score_known

__all__ = ["Explanation", "Reason", "explain"]


@dataclass(frozen=True, slots=True)
class Reason:
    """What one input did to one score."""

    ref: str
    value: Value
    contribution: float
    """SHAP value, in raw log-odds."""
    points: float
    """The same in probability, scaled as the module says; 0.08 reads "+8 points"."""
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`base + sum(contribution) = raw`, and `reference_probability + sum(points) = probability`."""

    probability: float
    reference_probability: float
    raw: float
    base: float
    reasons: tuple[Reason, ...]
    """Every input, the strongest first."""
    candidate: int | None = None
    """The candidate explained: the best one."""


def explain(bundle: Bundle, known: Known) -> Explanation | None:
    """Explain one customer's score (of a problem with candidates: the best one's); None on the rung `prior`."""
    card = bundle.card
    if bundle.booster is None or known.rung == "prior":
        return None
    best = score_known(bundle, [known])[0].best
    row = matrix(bundle, [known.values])[best or 0]
    shares = bundle.booster.contributions(row[np.newaxis])[0]
    raw = float(bundle.booster.raw(row[np.newaxis])[0])
    probability = float(calibrate(bundle, np.array([raw]))[0])
    contributions, base, total = shares[:-1], float(shares[-1]), float(shares[:-1].sum())
    reference = float(calibrate(bundle, np.array([base]))[0])
    factor = (probability - reference) / total if total else 0.0  # never negative: calibration is monotonic
    inputs = _inputs(card, known.values, row, best)
    reasons = [
        Reason(ref, value, float(share), float(share * factor), _words(ref, phrase, value, float(share * factor)))
        for (ref, phrase, value), share in zip(inputs, contributions, strict=True)
    ]
    reasons.sort(key=lambda each: -abs(each.contribution))
    return Explanation(probability, reference, raw, base, tuple(reasons), best)


def _inputs(
    card: Card, values: Mapping[str, Value], row: np.ndarray[tuple[int], np.dtype[np.float64]], candidate: int | None
) -> list[tuple[str, str, Value]]:
    inputs = [(each.ref, each.phrase, values.get(each.ref)) for each in card.features]
    for j, column in enumerate(card.candidates.columns if card.candidates else (), start=len(card.features)):
        value = None if np.isnan(row[j]) else float(row[j])
        ref = column.refs[candidate] if column.refs and candidate is not None else column.name
        inputs.append((ref, column.phrase, value))
    return inputs


def _words(ref: str, phrase: str, value: Value, points: float) -> str:
    """The phrase with its value, and the points it is worth.

    >>> _words("orders:count_30d", "ordered {value} times in 30 days", 3.0, 0.08)
    'ordered 3 times in 30 days (+8 points)'
    >>> _words("orders:average_value", "", 12.345, -0.0004)
    'orders average value is 12.3 (−0.04 points)'
    >>> _words("orders:count_30d", "ordered {value} times in 30 days", None, 0.0)
    'orders count 30d is not known (0 points)'
    """
    name = ref.replace(":", " ").replace("_", " ")
    if value is None:
        text = f"{name} is not known"
    elif phrase:
        text = phrase.replace("{value}", _shown(value))
    else:
        text = f"{name} is {_shown(value)}"
    return f"{text} ({_signed(100 * points)})"


def _shown(value: float | str) -> str:
    """A value as people write it: at most two decimals, no more than the size of the number is worth.

    >>> [_shown(each) for each in (3.0, 0.00004, 0.256, 17.634, 678.12, 12345.6, "DE")]
    ['3', '0', '0.26', '17.6', '678', '12,346', 'DE']
    """
    if isinstance(value, str):
        return value
    text = f"{value:,.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _signed(points: float) -> str:
    size = abs(points)
    digits = 0 if size >= 2 or size == 0 else 1 if size >= 0.5 else 2
    number = f"{size:.{digits}f}"
    sign = "" if not float(number) else "+" if points > 0 else "−"
    return f"{sign}{number if float(number) else '0'} {'point' if number == '1' else 'points'}"
