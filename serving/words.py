"""How a reason reads: "ordered 3 times in 30 days (+8 points)", in the words of the card and the unit of the answer."""

from __future__ import annotations

import re

from features.kernel.card import Card
from features.vectors import Value

__all__ = ["effect", "sentence", "shown"]

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ONE = re.compile(r"(?<![\d.,])1 ((?:push |text )?)(people|[a-z-]+?s)\b")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MONEY = ("currency", "money")
"""Units of amounts in whatever currency the events carry."""


def sentence(ref: str, phrase: str, absent: str, unit: str, value: Value) -> str:
    """An input as a reason: its phrase with the value in it, what is said where there is none, or its name.

    >>> sentence("orders:count_30d", "ordered {value} times in 30 days", "", "orders", 3.0)
    'ordered 3 times in 30 days'
    >>> sentence("orders:count_30d", "ordered {value} times in 30 days", "", "orders", 1.0)
    'ordered 1 time in 30 days'
    >>> sentence("orders:days_since_last", "last ordered {value} days ago", "never ordered", "days", None)
    'never ordered'
    >>> sentence("engagement:email_open_rate", "opens {value} of e-mails", "", "share", 0.314)
    'opens 31 % of e-mails'
    >>> sentence("age", "", "", "", None), sentence("age", "", "", "", 41.0)
    ('age is not known', 'age is 41')
    """
    name = ref.replace(":", " ").replace("_", " ")
    if value is None:
        return absent or f"{name} is not known"
    if not phrase:
        return f"{name} is {shown(value, unit)}"
    number = shown(value, unit)
    text = phrase.replace("{value}", number)
    return _ONE.sub(_singular, text) if number == "1" and unit != "ratio" else text


def _singular(found: re.Match[str]) -> str:
    noun = "person" if found[2] == "people" else found[2][:-1]
    return f"1 {found[1]}{noun}"


def shown(value: float | str, unit: str = "") -> str:
    """A value as people write it: at most two decimals, no more than the size of the number is worth.

    >>> [shown(each) for each in (3.0, 0.00004, 0.256, 17.634, 678.12, 12345.6, "DE")]
    ['3', '0', '0.26', '17.6', '678', '12,346', 'DE']
    >>> shown(0.256, "share"), shown(49.9, "currency"), shown(1.0, "yes = 1"), shown(0.0, "weekday")
    ('26 %', '49.90', 'yes', 'Monday')
    >>> shown(6.75, "days"), shown(0.34, "days")
    ('7', '0.3')
    """
    if isinstance(value, str):
        return value
    if unit == "yes = 1" and value in (0, 1):
        return "yes" if value else "no"
    if unit == "weekday" and value in range(len(_WEEKDAYS)):
        return _WEEKDAYS[int(value)]
    if unit == "share":
        return f"{100 * value:.{0 if abs(value) >= 0.1 else 1}f}".removesuffix(".0") + " %"
    if unit in _MONEY and abs(value) < 100 and value != round(value):
        return f"{value:.2f}"
    if unit == "days":
        return _rounded(round(value, 0 if abs(value) >= 1 else 1))
    return _rounded(value)


def _rounded(value: float) -> str:
    text = f"{value:,.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def effect(card: Card, worth: float) -> str:
    """What an input is worth, in the answer's unit: points of a probability, of an effect, or an amount."""
    if card.kind == "regression":
        return _amount(worth, card.unit)
    return _points(100 * worth) + (" of effect" if card.kind == "uplift" else "")


def _points(worth: float) -> str:
    """Percentage points.

    >>> [_points(each) for each in (8.2, -0.04, 1.0, 0.0)]
    ['+8 points', '−0.04 points', '+1 point', '0 points']
    """
    size = abs(worth)
    number = f"{size:.{0 if size >= 2 or size == 0 else 1 if size >= 0.5 else 2}f}"
    number = number.removesuffix(".0")
    return f"{_sign(worth, number)} {'point' if number == '1' else 'points'}"


def _amount(worth: float, unit: str) -> str:
    """An amount; of money with cents, below a thousand, and without a name where its currency is not known.

    >>> _amount(12.4, "EUR"), _amount(-1234.5, "EUR"), _amount(-0.96, "days"), _amount(1.0, "days"), _amount(3, "money")
    ('+12.40 EUR', '−1,234 EUR', '−0.96 days', '+1 day', '+3.00')
    """
    size = abs(worth)
    money = unit in _MONEY or _CURRENCY.fullmatch(unit) is not None
    number = f"{size:.2f}" if money and size < 1_000 else _rounded(size)
    named = "" if unit in _MONEY else unit[:-1] if number == "1" and unit.endswith("s") else unit
    return f"{_sign(worth, number)} {named}".rstrip()


def _sign(worth: float, number: str) -> str:
    """The number with its sign; none before a nought."""
    if not number.strip("0.,"):
        return "0"
    return f"{'+' if worth > 0 else '−'}{number}"
