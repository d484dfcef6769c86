"""A problem: one business question as data, in one file of `training/problems/`.

`problem = Problem(...)` is all a file needs; the command, MLproject, tests, docs and serving find it unasked.
`over` and `about` ask it otherwise, under a name of its own, so that no model takes the place of another question's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.card import Candidates, Cutoffs
from features.kernel.card import Kind as CardKind
from features.kernel.errors import InvalidInput

__all__ = ["Caution", "Label", "Population", "Problem", "Simple", "plain_name"]

Population = Callable[[pl.DataFrame, datetime], pl.DataFrame]
"""(events, cutoff T) -> frame with `customer_id`, each once: whom the question is about, known from events before T."""

Label = Callable[[pl.DataFrame, pl.DataFrame, datetime, timedelta], pl.DataFrame]
"""(events, population, cutoff T, horizon) -> frame with `customer_id`, `label`, and what its kind needs beside it.

`label` is 0 or 1, of a regression an amount. Beside it may stand `candidate` (which one was taken), `weight` (of the
row in fitting and judging), and of an uplift problem `arm` (1 treated, 0 control) with `propensity`, P(arm = 1).

Reads events in [T, T + horizon) only, of the people of the population only; what it must know of them from before T
(a time zone) stands in further columns of the population."""

Caution = Callable[[pl.DataFrame, Cutoffs], tuple[str, ...]]
"""(events, cutoffs) -> what these events cannot support, a sentence each, for the card's `limits`.

Raises `NotEnoughData` where they cannot support the question at all."""


class Simple(NamedTuple):
    """A model an analyst would use instead: what it is, in words, and what it answers."""

    about: str
    predict: Callable[[Any], NDArray[np.float64]]
    """(`training.trainingset.TrainingSet`) -> [n] answers of the test split."""


LONGEST_NAME = 60
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is asked, of whom, what counts as yes, how far ahead, from which features, and against what.

    Raises:
        InvalidInput: the name holds anything but lower-case letters, digits and underscores.
    """

    name: str
    """Also of the registered model, of its folder, and in the address of its scores."""
    question: str
    """May say `{days}`, the horizon."""
    population: Population
    label: Label
    horizon: timedelta
    features: tuple[str, ...]
    """References `view:feature`, or `view:*` for a whole view."""
    baseline: tuple[str, ...]
    """Columns of the simple model to beat: a logistic regression on these references or candidate columns alone."""
    needs: tuple[str, ...]
    """Event types without which the question cannot be asked; where one is absent the problem is skipped by name."""
    simple: Simple | None = None
    """The simple model to beat, where it is another than the kind's own on `baseline`."""
    kind: CardKind = "binary"
    metric: str = ""
    """The figure judged against the baseline; empty means the kind's own (`training.kinds`)."""
    unit: str = "probability"
    """Of the answer: `probability`, `EUR`, `days`."""
    shorter: tuple[timedelta, ...] = ()
    """Horizons to fall back on, longest first, where the history is too short for `horizon`."""
    variant: Callable[[str], Problem] | None = None
    """The same question about one part (a product category, a channel); `about` names what it gives."""
    sensitive: tuple[str, ...] = ()
    """References whose values part people into groups that must not be treated worse; judged, whether inputs or not."""
    caution: Caution | None = None
    candidates: Candidates | None = None
    costs: tuple[float, float] | None = None
    """What a false positive and a false negative cost, in one currency: the best threshold is then known by profit."""
    monotone: dict[str, int] = field(default_factory=dict)
    """+1 or -1 by reference or candidate column, where the direction is known beforehand."""
    of: str = ""
    """The file it comes from, where `over` or `about` gave it; empty: it is the file's own."""
    part: str = ""
    """What it is `about`; empty: everything."""
    intended: timedelta | None = None
    """The horizon that the history was too short for, where one of `shorter` is asked instead."""

    def __post_init__(self) -> None:
        _check_name(self.name)

    @property
    def asked(self) -> str:
        """The question with its horizon in words."""
        return self.question.format(days=self.horizon.days)

    @property
    def file(self) -> str:
        """The name of its file in `training/problems`."""
        return self.of or self.name

    def over(self, horizon: timedelta) -> Problem:
        """The same question over another horizon, as a problem of its own: `propensity_90d`.

        Raises:
            InvalidInput: `horizon` is not one day or more, in whole days.
        """
        if horizon == self.horizon:
            return self
        if horizon < _DAY or horizon % _DAY:
            raise InvalidInput("must be whole days, one at least", field="horizon", value=str(horizon))
        name = f"{self.name.removesuffix(self._suffix)}_{horizon.days}d"
        shorter = tuple(each for each in self.shorter if each < horizon)
        return replace(self, name=name, of=self.file, horizon=horizon, shorter=shorter, intended=None)

    def about(self, part: str) -> Problem:
        """The same question about one part, as a problem of its own: `propensity_books`.

        Raises:
            InvalidInput: it has no variants, it is one already, or the name of the part cannot stand in a problem's.
        """
        if self.variant is None:
            raise InvalidInput("has no variants", field="problem", value=self.name, remedy="leave the part out")
        _check_name(part)
        stem = self.name.removesuffix(self._suffix)
        name = f"{stem}_{part}{self.name.removeprefix(stem)}"
        made = replace(self.variant(part), horizon=self.horizon, shorter=self.shorter, intended=self.intended)
        return replace(made, name=name, of=self.file, part=part, variant=None)

    def falling_back(self, horizon: timedelta) -> Problem:
        """The same problem, its name kept, asked over one of `shorter` because the history is too short."""
        shorter = tuple(each for each in self.shorter if each < horizon)
        return replace(self, horizon=horizon, shorter=shorter, intended=self.intended or self.horizon)

    @property
    def _suffix(self) -> str:
        """What `over` put behind the name."""
        return f"_{self.horizon.days}d" if self.of else ""


def plain_name(text: str) -> str:
    """A name as problems are named: lower case, digits, and an underscore for what stands between.

    >>> plain_name("Garden & Tools"), plain_name("Bücher")
    ('garden_tools', 'bucher')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def _check_name(name: str) -> None:
    if re.fullmatch(r"[a-z0-9][a-z0-9_]*", name) and len(name) <= LONGEST_NAME:
        return
    better = plain_name(name)[:LONGEST_NAME]
    raise InvalidInput(
        f"must be 1 to {LONGEST_NAME} lower-case letters, digits and underscores, no underscore first",
        field="problem",
        value=name,
        remedy=f"call it '{better}'" if better else "give it another name",
    )
