"""Whether a column's values are times, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from features.importing.times import read_times
from features.kernel import clock

__all__ = ["TimeGuess", "guess_time"]

_WORDS = {"date", "time", "datetime", "timestamp", "ts", "at", "on", "day", "when", "created", "epoch", "unixtime"}
_DAYS = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%d{0}%m{0}%y", "%m{0}%d{0}%y", "%Y{0}%m{0}%d", "%d{0}%b{0}%Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = (
    "iso",
    *(day.format(sign) + hour for sign in "/.-" for day in _DAYS for hour in _CLOCKS),
    *(day + hour for day in ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y") for hour in _CLOCKS),
    "%Y%m%d%H%M%S",
)
_SAMPLE = 2_000
_LEAST = 0.8
"""Share of a sample that a format must read to be thought of."""


@dataclass(frozen=True, slots=True)
class TimeGuess:
    """A format and how well it fits.

    Attributes:
        format: as in a recipe; empty where the column has times of its own.
        share: of its values that read.
        instants: UTC, times without a zone taken as UTC.
        days_only: no value has a time of day.
        zoned: some value names its zone.
        other: another format that fits as well, day and month changed about; empty where there is none.
    """

    format: str
    share: float
    instants: pl.Series
    days_only: bool
    zoned: bool
    other: str = ""

    @property
    def ahead(self) -> int:
        """Times that lie ahead of the clock by more than a day."""
        return int((self.instants > clock.now() + timedelta(days=1)).sum())


def guess_time(given: pl.Series, values: pl.Series, words: frozenset[str]) -> TimeGuess | None:
    """How a column reads as times, or None if it does not.

    Args:
        given: the column as it stands.
        values: its values as text, null where there are none.
        words: of its name; whole numbers are seconds since 1970 only where it speaks of time.
    """
    if given.dtype == pl.Date or isinstance(given.dtype, pl.Datetime):
        zoned = isinstance(given.dtype, pl.Datetime) and given.dtype.time_zone is not None
        return _tried(given, "", zoned=zoned)
    if values.null_count() == len(values) or given.dtype in (pl.Boolean, pl.Time, pl.Duration):
        return None
    sample = _sample(values)
    fits = [(_reads(sample, form), form) for form in _candidates(sample, words)]
    good = [each for each in fits if each[0] >= _LEAST]
    if not good:
        return None
    best = max(each[0] for each in good)
    forms = [form for fit, form in good if fit == best]
    form, other = _told_apart(values, forms)
    zoned = form == "iso" and bool(sample.str.contains(r"\d:\d{2}.*(?:[Zz]|[+-]\d{2}:?\d{2})$").any())
    return _tried(values, form, zoned=zoned, other=other)


def _sample(values: pl.Series) -> pl.Series:
    known = values.drop_nulls()
    return known.gather_every(max(1, len(known) // _SAMPLE))


def _candidates(sample: pl.Series, words: frozenset[str]) -> tuple[str, ...]:
    digits = sample.str.contains(r"^\d+$").sum() / len(sample)
    if digits < _LEAST:
        return _FORMATS if sample.str.contains(r"\d").sum() / len(sample) >= _LEAST else ()
    lengths = {each for each in sample.str.len_chars().unique() if each is not None}
    if 8 in lengths and lengths <= {8}:
        return ("%Y%m%d",)
    if 14 in lengths and lengths <= {14}:
        return ("%Y%m%d%H%M%S",)
    return ("epoch", "epoch_ms") if words & _WORDS else ()


def _reads(values: pl.Series, form: str) -> float:
    instants = read_times(values, form, "UTC", "")[0]
    years = instants.dt.year()
    latest = clock.now().year + 50
    return float(years.is_between(1900 if "poch" not in form else 1990, latest).sum()) / len(values)


def _told_apart(values: pl.Series, forms: list[str]) -> tuple[str, str]:
    """Of formats that fit a sample equally, the one that fits all values best, or in whose reading rows stand in order.

    Also the other one, if it cannot be told from it.
    """
    if len(forms) == 1:
        return forms[0], ""
    known = values.drop_nulls()
    fits = {form: _reads(known, form) for form in forms}
    best = [form for form in forms if fits[form] == max(fits.values())]
    ordered = [form for form in best if read_times(known, form, "UTC", "")[0].is_sorted()]
    chosen = (ordered or best)[0]
    others = [form for form in (ordered or best) if form != chosen]
    return chosen, others[0] if others else ""


def _tried(values: pl.Series, form: str, *, zoned: bool, other: str = "") -> TimeGuess:
    instants = read_times(values, form, "UTC", "")[0]
    known = instants.drop_nulls()
    present = len(values) - values.null_count()
    days_only = bool((known == known.dt.truncate("1d")).all())
    return TimeGuess(form, len(known) / present if present else 0.0, instants, days_only, zoned, other)
