"""What is expected of a view's values, and whether a run keeps it; a run that does not is not promoted.

Four expectations. *Range*: every number is finite and within the bounds of its feature. *Missing*: no larger share of
the known entities lacks it than the view allows. *Cardinality*: a string has few enough different values to be a
category. *Freshness*: the newest of the events that the view reads was received not long before the run's instant.

A view says what it expects by `Feature.expect`, `FeatureView.reads` and `FeatureView.fresh`; what it leaves unsaid
follows from the unit (`expected`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from features.kernel.errors import QualityBreach
from features.view import Expect, Feature, FeatureView

__all__ = ["Finding", "Report", "check", "described", "examine", "expected", "freshness", "inspect", "require"]

EXAMPLES = 5
"""Entities named as examples of one breach."""

_OF_UNIT = {"share": Expect(low=0, high=1), "yes = 1": Expect(low=0, high=1), "ratio": Expect(), "": Expect()}
_AMOUNT = Expect(low=0)
"""Of any other unit: orders, days, currency. There is no less than none of them."""
_CATEGORY = Expect(distinct=2_000)
"""Of a string. More different values than that are ids or free text, from which no model learns."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation and what was found of it; it is breached where any rows are at fault."""

    view: str
    feature: str
    """Empty where the whole view is meant, which is freshness."""
    expectation: str
    found: str
    rows: int
    """At fault."""
    of: int
    examples: tuple[str, ...] = ()
    """Ids of some entities whose rows are at fault."""

    @property
    def breached(self) -> bool:
        """Whether the expectation was not kept."""
        return self.rows > 0

    @property
    def where(self) -> str:
        """`view:feature`, or the view."""
        return f"{self.view}:{self.feature}" if self.feature else self.view


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of a run's views, in their order."""

    as_of: datetime | None
    """The newest instant of the run; None where it has no rows."""
    findings: tuple[Finding, ...]

    @property
    def breaches(self) -> tuple[Finding, ...]:
        """The expectations that were not kept."""
        return tuple(each for each in self.findings if each.breached)


def expected(feature: Feature) -> Expect:
    """What a feature's values should be like: what its view says, else what its unit implies.

    >>> expected(Feature("open_rate", "share", "opens {value}"))
    Expect(low=0, high=1, missing=1.0, distinct=None)
    >>> expected(Feature("count_30d", "orders", "ordered {value} times")).low
    0
    """
    if feature.expect is not None:
        return feature.expect
    if feature.identifier or feature.dtype == "bool":
        return Expect()
    return _CATEGORY if feature.dtype == "string" else _OF_UNIT.get(feature.unit, _AMOUNT)


def described(feature: Feature) -> str:
    """What is expected of a feature, in words.

    >>> described(Feature("open_rate", "share", "opens {value}", expect=Expect(low=0, high=1, missing=0.5)))
    '0 to 1, at most 0.5 of the rows missing'
    """
    wanted = expected(feature)
    number = feature.dtype not in ("string", "bool")
    parts = [_range_text(wanted)] if number else []
    parts += [_missing_text(wanted.missing)] if wanted.missing < 1 else []
    parts += [] if wanted.distinct is None or number else [_distinct_text(wanted.distinct)]
    return ", ".join(parts)


def inspect(
    frames: Mapping[str, pl.DataFrame | pl.LazyFrame],
    views: Mapping[str, FeatureView],
    as_of: datetime | None = None,
    newest: Mapping[str, datetime] | None = None,
) -> Report:
    """All expectations of a run.

    Args:
        frames: rows by view, as `compute` gives them or as the offline files hold them.
        views: the views of these names.
        as_of: the run's newest instant.
        newest: the newest receipt of an event known then, by type (`features.freshness`). Without it freshness is not
            looked at.
    """
    found: list[Finding] = []
    for name, frame in frames.items():
        found += examine(views[name], frame)
        if as_of is not None and newest is not None:
            found += freshness(views[name], newest, as_of, rows=_height(frame))
    return Report(as_of, tuple(found))


def require(report: Report) -> None:
    """Let a run pass that kept every expectation.

    Raises:
        QualityBreach: it did not; names the first feature at fault, what was found in how many rows, and the remedy.
    """
    if not report.breaches:
        return
    first, *others = report.breaches
    rows = f"{first.rows:,} of {first.of:,} rows are at fault"
    named = f" ({', '.join(map(repr, first.examples))})" if first.examples else ""
    more = f", and {len(others)} more expectations were not kept" if others else ""
    raise QualityBreach(
        f"{first.expectation} was expected, {first.found} was found: {rows}{named}{more}. Nothing of it was written",
        field=first.where,
        remedy="correct the events or what the view expects, or give --allow-breaches",
    )


def check(view: FeatureView, frame: pl.DataFrame | pl.LazyFrame, examples: int = EXAMPLES) -> list[Finding]:
    """The expectations of a view's values that its rows do not keep; see `examine`."""
    return [each for each in examine(view, frame, examples) if each.breached]


def examine(view: FeatureView, frame: pl.DataFrame | pl.LazyFrame, examples: int = EXAMPLES) -> list[Finding]:
    """Range, missing share and cardinality of each feature, in one pass; a second one names what is at fault.

    Args:
        view: says what is expected.
        frame: its key and its features. Rows in which nothing is known (nulls only) do not count.
        examples: how many entities a breach names at most.
    """
    names = [each.name for each in view.features]
    lists = [pl.col(each.name).cast(pl.List(pl.Float32)) for each in view.features if each.length is not None]
    rows = frame.lazy().filter(pl.any_horizontal(pl.col(names).is_not_null())).with_columns(lists)
    figures = rows.select(pl.len().alias("rows"), *(each for f in view.features for each in _figures(f))).collect(
        engine="streaming"
    )
    figure = figures.row(0, named=True)
    found = [each for feature in view.features for each in _findings(view, feature, rows, figure)]
    return [_with_examples(view, each, rows, bad, examples) for each, bad in found]


def freshness(view: FeatureView, newest: Mapping[str, datetime], as_of: datetime, rows: int) -> list[Finding]:
    """Whether the view's source still flows: nothing to say where no event of its types was ever known.

    Args:
        view: names the types of its events (`reads`; none: any) and how old the newest may be (`fresh`).
        newest: the newest receipt of an event known as of the instant, by type.
        as_of: the run's instant.
        rows: of the run; all of them are at fault when the source has dried up.
    """
    received = [when for kind, when in newest.items() if not view.reads or kind in view.reads]
    if not received or not rows:
        return []
    age = as_of - max(received)
    expectation = f"an event received within {view.fresh.total_seconds() / 86_400:g} days"
    found = f"the newest {age.total_seconds() / 86_400:,.1f} days before {as_of:%Y-%m-%d %H:%M} UTC"
    return [Finding(view.name, "", expectation, found, rows if age > view.fresh else 0, rows)]


# -- one feature -------------------------------------------------------------------------------------------------------


def _figures(feature: Feature) -> Iterable[pl.Expr]:
    """What the first pass has to count, under names that begin with the feature's."""
    name, column = feature.name, pl.col(feature.name)
    yield column.null_count().alias(f"{name}.missing")
    if feature.dtype == "string":
        yield column.drop_nulls().n_unique().alias(f"{name}.distinct")
    elif feature.dtype != "bool":
        low, high, finite = _extent(feature)
        yield _out_of_range(feature).sum().alias(f"{name}.bad")
        yield low.filter(finite).min().alias(f"{name}.low")
        yield high.filter(finite).max().alias(f"{name}.high")
        yield (~finite).sum().alias(f"{name}.infinite")


def _findings(
    view: FeatureView, feature: Feature, rows: pl.LazyFrame, figure: Mapping[str, int | float]
) -> Iterable[tuple[Finding, pl.Expr]]:
    """What was found of a feature, each with the rows that would be at fault."""
    wanted, name, of = expected(feature), feature.name, int(figure["rows"])
    missing = int(figure[f"{name}.missing"])
    if f"{name}.bad" in figure:
        found, bad = _extent_text(figure, name), int(figure[f"{name}.bad"])
        yield Finding(view.name, name, _range_text(wanted), found, bad, of), _out_of_range(feature)
    if wanted.missing < 1:
        at_fault = missing if missing > wanted.missing * of else 0
        found = f"{missing / max(of, 1):.1%} missing"
        yield Finding(view.name, name, _missing_text(wanted.missing), found, at_fault, of), pl.col(name).is_null()
    if wanted.distinct is not None and feature.dtype == "string":
        distinct = int(figure[f"{name}.distinct"])
        usual = _commonest(rows, name, wanted.distinct) if distinct > wanted.distinct else None
        unusual = pl.lit(False) if usual is None else ~pl.col(name).is_in(usual.implode())
        at_fault = 0 if usual is None else int(rows.select(unusual.sum()).collect().item())
        text = _distinct_text(wanted.distinct)
        yield Finding(view.name, name, text, f"{distinct:,} different values", at_fault, of), unusual


def _with_examples(view: FeatureView, found: Finding, rows: pl.LazyFrame, bad: pl.Expr, examples: int) -> Finding:
    if not found.breached:
        return found
    ids = rows.filter(bad).select(pl.col(view.key).unique(maintain_order=True).head(examples)).collect()
    return Finding(
        found.view, found.feature, found.expectation, found.found, found.rows, found.of, tuple(ids[view.key])
    )


def _extent(feature: Feature) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Least and greatest value of each row and whether all are finite; a list's are those of its elements."""
    column = pl.col(feature.name)
    if feature.length is None:
        return column, column, column.is_finite()
    # A sum is not finite as soon as one of its terms is not.
    return column.list.min(), column.list.max(), column.list.sum().is_finite()


def _out_of_range(feature: Feature) -> pl.Expr:
    wanted, (low, high, finite) = expected(feature), _extent(feature)
    bad = ~finite
    # Bounds in the feature's own precision: float32's 0.1 is more than float64's.
    if wanted.low is not None:
        bad |= low < pl.lit(wanted.low).cast(pl.Float32)
    if wanted.high is not None:
        bad |= high > pl.lit(wanted.high).cast(pl.Float32)
    return bad.fill_null(False)


def _range_text(wanted: Expect) -> str:
    if wanted.low is not None and wanted.high is not None:
        return f"{wanted.low:g} to {wanted.high:g}"
    if wanted.low is not None:
        return f"at least {wanted.low:g}"
    return "a finite number" if wanted.high is None else f"at most {wanted.high:g}"


def _missing_text(share: float) -> str:
    return f"at most {share:.4g} of the rows missing"


def _distinct_text(count: int) -> str:
    return f"at most {count:,} different values"


def _extent_text(figure: Mapping[str, int | float | None], name: str) -> str:
    low, high, infinite = (figure[f"{name}.{part}"] for part in ("low", "high", "infinite"))
    parts = [] if low is None or high is None else [f"{low:,.6g} to {high:,.6g}"]
    parts += [f"{infinite:,} not finite"] if infinite else []
    return " and ".join(parts) or "nothing known"


def _commonest(rows: pl.LazyFrame, name: str, count: int) -> pl.Series:
    """The values that most rows have: those beyond them are shown as examples of too many."""
    counts = rows.select(pl.col(name).drop_nulls()).group_by(name).len().sort("len", name, descending=[True, False])
    return counts.head(count).collect()[name]


def _height(frame: pl.DataFrame | pl.LazyFrame) -> int:
    return int(frame.lazy().select(pl.len()).collect().item())
