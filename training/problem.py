"""A problem: one business question as data, in one file of `training/problems/`.

`problem = Problem(...)` is all a file needs; the command, MLproject, tests, docs and serving find it unasked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from features.kernel.card import Candidates, Cutoffs
from features.kernel.card import Kind as CardKind

__all__ = ["Label", "Population", "Problem"]

Population = Callable[[pl.DataFrame, datetime], pl.DataFrame]
"""(events, cutoff T) -> frame with `customer_id`, each once: whom the question is about, known from events before T."""

Label = Callable[[pl.DataFrame, pl.DataFrame, datetime, timedelta], pl.DataFrame]
"""(events, population, cutoff T, horizon) -> frame with `customer_id`, `label`, and what its kind needs beside it.

`label` is 0 or 1, of a regression an amount. Beside it may stand `candidate` (which one was taken), `weight` (of the
row in fitting and judging), and of an uplift problem `arm` (1 treated, 0 control) with `propensity`, P(arm = 1).

Reads events in [T, T + horizon) only, of the people of the population only; what it must know of them from before T
(a time zone) stands in further columns of the population."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is asked, of whom, what counts as yes, how far ahead, from which features, and against what."""

    name: str
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
    kind: CardKind = "binary"
    metric: str = ""
    """The figure judged against the baseline; empty means the kind's own (`training.kinds`)."""
    unit: str = "probability"
    """Of the answer: `probability`, `EUR`, `days`."""
    shorter: tuple[timedelta, ...] = ()
    """Horizons to fall back on, longest first, where the history is too short for `horizon`."""
    variant: Callable[[str], Problem] | None = None
    """The same question about one product category; the problem it gives has a name of its own."""
    sensitive: tuple[str, ...] = ()
    """References whose values part people into groups that must not be treated worse; judged, whether inputs or not."""
    caution: Callable[[pl.DataFrame, Cutoffs], tuple[str, ...]] | None = None
    """(events, cutoffs) -> what these events cannot support, a sentence each, for the card's `limits`."""
    candidates: Candidates | None = None
    monotone: dict[str, int] = field(default_factory=dict)
    """+1 or -1 by reference or candidate column, where the direction is known beforehand."""

    @property
    def asked(self) -> str:
        """The question with its horizon in words."""
        return self.question.format(days=self.horizon.days)
