"""The drift report of two tables of features, by Evidently: which columns no longer look as they did in training.

The one door to Evidently (import: seconds and 300 MB). The report is one HTML file that needs no network, and one
JSON file with our verdicts and Evidently's own figures.

**Which test.** With many rows every p-value is small, so from `MANY` values on it is a *distance* that counts:
Wasserstein's in units of the reference's standard deviation; Jensen-Shannon's for categories and for numbers of few
distinct values. It is drift from .1 up, or from what chance alone reaches in one report of twenty, if that is more.
With fewer values a *test* is made: Kolmogorov-Smirnov or chi-square, at .05 over the number of columns tested
(Bonferroni), or sixty columns would give three false alarms a report. Below `FEW` values a column is not tested; only
its share of missing values is compared.

**Missing values** are left out of the tests, so their share is compared for itself, with the same threshold of .1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import msgspec
import polars as pl
from scipy.stats import chi2

from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.settings import quiet_libraries

__all__ = ["FEW", "MANY", "P_VALUES", "DriftColumn", "DriftReport", "drift_report"]

FEW, MANY = 30, 1_000
DISTANCE, ALPHA, DISTINCT = 0.1, 0.05, 5

P_VALUES = ("ks", "chisquare")
"""Tests whose statistic is a p-value; the others' is a distance."""
_OF_NUMBERS = ("ks", "wasserstein")


@dataclass(frozen=True, slots=True)
class DriftColumn:
    """One column's verdict. `statistic` is a distance (drift from the threshold up) or a p-value (down)."""

    column: str
    test: str
    """wasserstein, jensenshannon, ks, chisquare, or `none` where either side has fewer than `FEW` values."""
    statistic: float | None
    threshold: float
    missing_reference: float
    missing_current: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Where the report is and what it found; `columns` in the reference's order."""

    name: str
    html: Path
    json: Path
    rows_reference: int
    rows_current: int
    columns: tuple[DriftColumn, ...]

    @property
    def drifted(self) -> tuple[DriftColumn, ...]:
        """The columns that drifted."""
        return tuple(each for each in self.columns if each.drifted)

    @property
    def share(self) -> float:
        """Share of columns that drifted."""
        return len(self.drifted) / len(self.columns)


@dataclass(frozen=True, slots=True)
class _Test:
    name: str
    threshold: float


def drift_report(reference: pl.DataFrame, current: pl.DataFrame, out_dir: Path, name: str) -> DriftReport:
    """Compare two tables column by column and write `<out_dir>/<name>.html` and `.json`.

    Args:
        reference: one column per feature (numbers, booleans or strings), one row per customer; null is missing.
        current: the same columns; others are ignored.
        out_dir: made if it is not there.
        name: file name of the report, without ending.

    Raises:
        InvalidInput: `current` lacks a column of the reference.
        NotEnoughData: either side has fewer than `FEW` rows.
    """
    lacking = [column for column in reference.columns if column not in current.columns]
    if lacking or not reference.columns:
        raise InvalidInput("lack columns of the reference", field="current rows", value=", ".join(lacking))
    if min(reference.height, current.height) < FEW:
        raise NotEnoughData(f"needs {FEW} rows on both sides", field=name, value=(reference.height, current.height))
    reference, current = _plain(reference), _plain(current.select(reference.columns))
    tests = _choose(reference, current)
    html, json = out_dir / f"{name}.html", out_dir / f"{name}.json"
    out_dir.mkdir(parents=True, exist_ok=True)
    figures = _run(reference, current, tests, html) if tests else {"metrics": []}
    statistics = {
        each["config"]["column"]: float(each["value"])
        for each in figures["metrics"]
        if each["config"]["type"].endswith(":ValueDrift")
    }
    columns = tuple(_verdict(reference[c], current[c], tests.get(c), statistics.get(c)) for c in reference.columns)
    report = DriftReport(name, html, json, reference.height, current.height, columns)
    _save(report, figures)
    return report


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Numbers as float64 with null for NaN, anything else as strings."""
    numeric = [c for c in frame.columns if frame[c].dtype.is_numeric() or frame[c].dtype == pl.Boolean]
    return frame.with_columns(pl.col(numeric).cast(pl.Float64).fill_nan(None), pl.exclude(numeric).cast(pl.String))


def _choose(reference: pl.DataFrame, current: pl.DataFrame) -> dict[str, _Test]:
    """A test for each column that can be tested."""
    values = {c: (reference[c].drop_nulls().len(), current[c].drop_nulls().len()) for c in reference.columns}
    tested = {c: both for c, both in values.items() if min(both) >= FEW}
    level = ALPHA / max(len(tested), 1)
    chosen = {}
    for column, (n, m) in tested.items():
        distinct = pl.concat([reference[column], current[column]]).drop_nulls().n_unique()
        few_levels = reference[column].dtype == pl.String or distinct <= DISTINCT
        if min(n, m) < MANY:
            chosen[column] = _Test("chisquare" if few_levels else "ks", level)
        elif few_levels:
            chosen[column] = _Test("jensenshannon", max(DISTANCE, _chance_of_levels(distinct, n, m, level)))
        else:
            chosen[column] = _Test("wasserstein", max(DISTANCE, _chance_of_means(n, m, level)))
    return chosen


def _chance_of_means(n: int, m: int, level: float) -> float:
    """What the difference of two means of one distribution exceeds with probability `level`, in standard deviations."""
    return NormalDist().inv_cdf(1 - level / 2) * math.sqrt(1 / n + 1 / m)


def _chance_of_levels(levels: int, n: int, m: int, level: float) -> float:
    """The same for the Jensen-Shannon distance: under no drift 8 JSD² / (1/n + 1/m) is chi-square distributed."""
    return math.sqrt(float(chi2.ppf(1 - level, max(levels - 1, 1))) * (1 / n + 1 / m) / 8)


def _run(reference: pl.DataFrame, current: pl.DataFrame, tests: Mapping[str, _Test], html: Path) -> dict[str, Any]:
    """Evidently's figures; writes the page."""
    quiet_libraries()
    with warnings.catch_warnings():  # Evidently uses names that NumPy and Litestar are about to drop
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415
        from evidently.presets import DataDriftPreset  # noqa: PLC0415

        columns = list(tests)
        definition = DataDefinition(
            numerical_columns=[c for c in columns if tests[c].name in _OF_NUMBERS],
            categorical_columns=[c for c in columns if tests[c].name not in _OF_NUMBERS],
        )
        preset = DataDriftPreset(
            columns=columns,
            per_column_method={c: test.name for c, test in tests.items()},
            per_column_threshold={c: test.threshold for c, test in tests.items()},
        )
        before, after = (
            Dataset.from_pandas(each.select(columns).to_pandas(), data_definition=definition)
            for each in (reference, current)
        )
        snapshot = Report([preset], include_tests=True).run(current_data=after, reference_data=before)
        snapshot.save_html(str(html))
    figures: dict[str, Any] = snapshot.dict()
    return figures


def _verdict(reference: pl.Series, current: pl.Series, test: _Test | None, statistic: float | None) -> DriftColumn:
    missing = reference.null_count() / reference.len(), current.null_count() / current.len()
    drifted = abs(missing[0] - missing[1]) > DISTANCE
    if test is not None and statistic is not None:
        drifted |= statistic <= test.threshold if test.name in P_VALUES else statistic >= test.threshold
    name, threshold = (test.name, test.threshold) if test else ("none", DISTANCE)
    return DriftColumn(reference.name, name, statistic, threshold, missing[0], missing[1], drifted)


def _save(report: DriftReport, figures: Mapping[str, Any]) -> None:
    content = {
        "name": report.name,
        "share": report.share,
        "drifted": [each.column for each in report.drifted],
        "rows": {"reference": report.rows_reference, "current": report.rows_current},
        "columns": report.columns,
        "evidently": figures,
    }
    report.json.write_bytes(msgspec.json.format(msgspec.json.encode(content, enc_hook=float), indent=2))
