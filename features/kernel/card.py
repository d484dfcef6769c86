"""The model card: all that training hands to serving, beside LightGBM's own text file. JSON, never a pickle.

A served answer follows from the card alone: the order of the features, how a category becomes a number, how a raw
score becomes a calibrated probability or amount, and in which words a feature is a reason.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from features.kernel.errors import InvalidInput

__all__ = [
    "CARD_SCHEMA",
    "Calibration",
    "CandidateColumn",
    "Candidates",
    "Card",
    "CardFeature",
    "Cutoffs",
    "GateFinding",
    "Interval",
    "Kind",
    "Link",
    "Metric",
    "Refused",
    "column_name",
    "load_card",
    "save_card",
]

CARD_SCHEMA = 2

_UNFIT = re.compile(r'[\s",{}]')

Kind = Literal["binary", "candidates", "regression", "uplift"]
"""What an answer is: a probability; the probability of each candidate; an expected amount; what a treatment
adds to a probability."""

Link = Literal["logit", "log", "identity"]
"""From raw score to answer, before calibration: the raw score of a binary model is a log-odds,
that of an amount a logarithm."""


def column_name(ref: str) -> str:
    """The name of a feature as a column (LightGBM takes neither JSON's signs nor blanks).

    >>> column_name("orders:count_30d"), column_name("send_hours:open_rate[17]"), column_name("Time spent, total")
    ('orders__count_30d', 'send_hours__open_rate__17', 'Time_spent__total')
    """
    return _UNFIT.sub("_", ref.replace(":", "__").replace("[", "__").replace("]", ""))


class CardFeature(msgspec.Struct, frozen=True, kw_only=True):
    """One input of the model, in its place."""

    ref: str
    """`view:feature` of the store, or the request's own field name when the card's source is `request`."""
    dtype: Literal["float32", "category"]
    unit: str = ""
    phrase: str = ""
    """How the feature reads as a reason, with `{value}` for its value: "ordered {value} times in 30 days"."""
    absent: str = ""
    """How it reads where there is no value: "never ordered"; empty: its name "is not known"."""
    vocabulary: tuple[str, ...] = ()
    """Of a category: code i stands for vocabulary[i]. A value that is missing or not listed is NaN."""
    group: str = ""
    """The family whose members are one reason together (windows of one count, parts of one date); empty: its own."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Raw score to answer (log-odds to probability) by linear interpolation between knots, constant beyond them."""

    method: str
    raw: tuple[float, ...]
    value: tuple[float, ...]
    """The calibrated answer at each knot; both sequences rise strictly."""
    largest_error: float
    """Largest gap between mean answer and observed mean over ten equal-count bins of the test set."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """How far an answer may be off: bounds by linear interpolation over the answer, constant beyond the knots.

    `confidence`: of the probability or expected amount itself. `prediction`: of the single outcome (one revenue).
    """

    level: float
    """Share of cases it holds, .95 or .8."""
    kind: Literal["confidence", "prediction"]
    value: tuple[float, ...]
    """Answers at which the bounds are known, rising strictly."""
    low: tuple[float, ...]
    high: tuple[float, ...]


class GateFinding(msgspec.Struct, frozen=True):
    """What one promotion gate said of the model, in a sentence that holds the figure."""

    code: str
    title: str
    severity: Literal["refuse", "warn"]
    outcome: Literal["passed", "failed", "does not apply"]
    figure: str

    @property
    def refuses(self) -> bool:
        """Whether the model must not be promoted."""
        return self.outcome == "failed" and self.severity == "refuse"


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A column that the leak guard refused or warned of, or that holds nothing to learn from."""

    column: str
    code: str
    """Of the check that spoke, e.g. `too_good_alone`."""
    reason: str
    """One sentence."""
    kept: bool = False
    """It is an input all the same: a warning only, or allowed on the record."""
    allowed: bool = False
    """Somebody said so with `--allow`."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A figure on the test set with its 95 % bootstrap interval (by person), beside the baseline's."""

    name: str
    value: float
    low: float
    high: float
    baseline: float | None = None
    higher_is_better: bool = True


class Cutoffs(msgspec.Struct, frozen=True, kw_only=True):
    """Label cutoffs of each split; train < validation < test in time."""

    train: tuple[datetime, ...]
    validation: tuple[datetime, ...]
    test: tuple[datetime, ...]


class CandidateColumn(msgspec.Struct, frozen=True, kw_only=True):
    """An input that depends on the candidate: `values[c]`, or the customer's feature `refs[c]`: one of the two."""

    name: str
    values: tuple[float, ...] = ()
    refs: tuple[str, ...] = ()
    unit: str = ""
    phrase: str = ""


class Candidates(msgspec.Struct, frozen=True, kw_only=True):
    """Of a problem that scores alternatives (the 168 hours of the week): its columns stand after the features'."""

    name: str
    count: int
    columns: tuple[CandidateColumn, ...]
    labels: tuple[str, ...] = ()
    """Each candidate in words, `count` of them; empty for the hours of the week, which have names of their own."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. `headline` says in one sentence how far to trust the model, its weakness first."""

    schema_version: int = CARD_SCHEMA
    problem: str
    version: str
    kind: Kind
    source: Literal["store", "request"]
    link: Link = "logit"
    unit: str = "probability"
    """Of the answer: `probability`, `EUR`, `days`, `change of probability`."""
    question: str
    headline: str
    horizon_days: int
    features: tuple[CardFeature, ...]
    candidates: Candidates | None = None
    calibration: Calibration
    interval: Interval | None = None
    learner: Literal["trees", "logistic"] = "trees"
    """`logistic`: there were too few rows for trees, and model.txt holds a logistic regression on few columns."""
    prior: float
    """Share of positives, or mean, of the training rows: the answer of the rung `prior`."""
    default_features: dict[str, float | str | None]
    """Typical values (median, mode) by ref: the vector of an unknown customer on the rung `default`."""
    metrics: tuple[Metric, ...]
    baseline: str
    cutoffs: Cutoffs
    split: Literal["time", "random"] = "time"
    """`random`: the rows have no time, so the figures hold only while tomorrow is like the table."""
    rows: dict[str, int]
    """Rows of each split."""
    limits: tuple[str, ...] = ()
    """What the data could not support, a sentence each: "no send hour was drawn at random"."""
    columns: tuple[Refused, ...] = ()
    """Columns of a table that were refused or warned of."""
    gates: tuple[GateFinding, ...] = ()
    parameters: dict[str, float | int | str] = {}
    """What the trees were fitted with; where tuning starts next time."""
    rounds: int = 0
    data_hash: str
    membership_hash: str
    """SHA-256 over the sorted ids of those trained on, for erasure."""
    model_sha256: str
    trained_at: datetime
    run_id: str = ""

    def metric(self, name: str) -> Metric:
        """The metric called `name`; KeyError if there is none."""
        return {each.name: each for each in self.metrics}[name]


def save_card(card: Card, path: Path) -> None:
    """Write a card as JSON meant to be read by people too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2))


def load_card(path: Path) -> Card:
    """Read a card.

    Raises:
        InvalidInput: the file is no card of the schema version that this Kairos reads.
    """
    text = path.read_bytes()
    try:
        # First alone: what else an older card lacks would only hide that it is older.
        written = msgspec.json.decode(text, type=_Written).schema_version
        if written != CARD_SCHEMA:
            raise InvalidInput(
                f"was written by {'an earlier' if written < CARD_SCHEMA else 'a later'} Kairos: "
                f"its schema version is not {CARD_SCHEMA}",
                field=str(path),
                value=written,
                remedy="train the problem again, or serve it with the Kairos that made it",
            )
        return msgspec.json.decode(text, type=Card)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"is no model card: {error}", field=str(path), remedy="train the problem again") from error


class _Written(msgspec.Struct):
    schema_version: int
