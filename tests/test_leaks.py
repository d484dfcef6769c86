"""The leak guard: what was planted is found, what was known beforehand is left alone, every refusal is one sentence."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.kernel.card import Refused
from features.kernel.seeds import generator
from features.market import simulate
from training.leak import ROW_ORDER, Sheet, area
from training.leaks import all_leaks, guard
from training.problems import all_problems
from training.rows.dataset import references
from training.testing import Computed

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ROWS = 4_000


class Planted:
    """A table of three weak columns known beforehand, and its label."""

    def __init__(self, name: str, rows: int = ROWS) -> None:
        self.rng = generator("leaks", name)
        a, b = self.rng.normal(size=rows), self.rng.normal(size=rows)
        city = self.rng.integers(0, 4, rows)
        log_odds = -1.5 + 0.6 * a + 0.4 * b + 0.3 * (city == 2)
        self.y = (self.rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float)
        self.known = pl.DataFrame({"a": a, "b": b, "city": [f"city {i}" for i in city]})

    def judged(self, **columns: object) -> dict[str, str]:
        """Column → code of everything that is refused."""
        rows = self.known.with_columns(**{name: pl.Series(values) for name, values in columns.items()})  # type: ignore[arg-type]
        return {each.column: each.code for each in guard(rows, pl.Series(self.y)) if not each.kept}


def test_every_check_has_a_name_and_is_asked() -> None:
    found = all_leaks()
    assert {"too_good_alone", "near_copy", "comes_with_label", "identifier", "recorded_after", "row_order"} == set(
        found
    )
    assert all(code == each.code and each.title for code, each in found.items())
    assert [code for code, each in found.items() if each.severity == "warn"] == ["row_order"]


def test_what_was_known_beforehand_is_left_alone() -> None:
    for seed in range(10):
        assert Planted(f"clean {seed}").judged() == {}


def test_of_pure_noise_nothing_is_refused() -> None:
    """Few rows and many columns: the strongest of them is strong by chance."""
    for seed in range(10):
        rng = generator("noise", seed)
        rows = pl.DataFrame({f"x{i}": rng.normal(size=300) for i in range(40)} | {"k": rng.integers(0, 30, 300)})
        assert guard(rows, pl.Series((rng.random(300) < 0.1).astype(float))) == ()


def test_a_column_too_good_alone_is_refused_and_the_others_are_kept() -> None:
    """Like a call's duration: long calls are the successful ones."""
    planted = Planted("duration")
    duration = planted.rng.gamma(2.0, 1.0 + 2.5 * planted.y)
    assert planted.judged(duration=duration) == {"duration": "too_good_alone"}


def test_a_strong_leak_does_not_hide_another() -> None:
    planted = Planted("two")
    longer = planted.rng.gamma(2.0, 1.0 + 2.5 * planted.y)
    later = planted.rng.gamma(2.0, 1.0 + 2.5 * planted.y)
    assert planted.judged(longer=longer, later=later, twin=longer * 2 + 0.01 * later).keys() == {
        "longer",
        "later",
        "twin",
    }


def test_a_copy_of_the_label_in_other_words_is_refused() -> None:
    planted = Planted("copy")
    words = np.where(planted.y > 0, "won", "lost")
    flipped = planted.rng.random(ROWS) < 0.002
    noisy = np.where(flipped, "won", words)
    assert planted.judged(state=words, noisy=noisy) == {
        "state": "comes_with_label",
        "noisy": "near_copy",
    } or planted.judged(state=words, noisy=noisy) == {"state": "near_copy", "noisy": "near_copy"}


@pytest.mark.parametrize("blank", [0.0, None])
def test_what_is_only_filled_for_a_yes_comes_with_the_label(blank: float | None) -> None:
    planted = Planted("amount")
    some = (planted.y > 0) & (planted.rng.random(ROWS) < 0.1)
    amount = [9.5 if each else blank for each in some]
    assert planted.judged(amount=amount) == {"amount": "comes_with_label"}


def test_what_is_filled_for_few_and_rarely_yes_is_kept() -> None:
    planted = Planted("rare")
    filled = [1.0 if each else None for each in planted.rng.random(ROWS) < 0.02]
    assert planted.judged(rare=filled) == {}


def test_a_no_among_rare_yes_is_no_leak() -> None:
    """A hundred rows without a yes where one in a hundred says yes are no accident worth a refusal."""
    rng = generator("rare yes")
    y = (rng.random(ROWS) < 0.01).astype(float)
    filled = np.where((rng.random(ROWS) < 0.03) & (y == 0), 1.0, 0.0)
    assert guard(pl.DataFrame({"x": filled}), pl.Series(y)) == ()


def test_names_of_rows_are_refused_though_they_predict_and_measures_that_differ_are_not() -> None:
    planted = Planted("names")
    order = np.argsort(planted.y, kind="stable")
    ranks = np.empty(ROWS, dtype=np.int64)
    ranks[order] = np.arange(ROWS)
    found = planted.judged(
        row=np.arange(ROWS),
        customer=[f"u{i:06d}" for i in range(ROWS)],
        ranked=ranks,
        income=planted.rng.normal(3e4, 9e3, ROWS),
    )
    assert found == {"row": "identifier", "customer": "identifier", "ranked": "identifier"}


def test_the_order_of_rows_is_a_warning_and_never_a_refusal() -> None:
    planted = Planted("sorted")
    order = np.argsort(planted.y + planted.rng.normal(0, 1, ROWS))
    found = guard(planted.known[order], pl.Series(planted.y[order]))
    assert [(each.column, each.code, each.kept, each.allowed) for each in found] == [
        (ROW_ORDER, "row_order", True, False)
    ]
    assert "AUC" in found[0].reason
    start = pl.Series([datetime(2026, 1, 1, tzinfo=UTC)] * ROWS) + pl.Series(
        [timedelta(minutes=i) for i in range(ROWS)]
    )
    assert guard(planted.known[order], pl.Series(planted.y[order]), time=start) == ()


def test_a_date_after_the_row_s_time_is_refused_and_a_strong_one_before_it_is_not() -> None:
    """What says itself when it was recorded is judged by that, not by its strength."""
    planted = Planted("dates")
    time = pl.Series([datetime(2026, 1, 1, tzinfo=UTC)] * ROWS)
    closed = [date(2026, 1, 9) if each else date(2025, 12, 9) for each in planted.rng.random(ROWS) < 0.3]
    strong = [date(2025, 6, 1) + timedelta(days=int(90 * each)) for each in planted.y]
    rows = planted.known.with_columns(closed=pl.Series(closed), strong=pl.Series(strong))
    found = guard(rows, pl.Series(planted.y), time=time)
    assert [(each.column, each.code) for each in found] == [("closed", "recorded_after")]
    assert "2026-01-09" in found[0].reason
    assert {each.column for each in guard(rows.drop("closed"), pl.Series(planted.y))} == {"strong"}


def test_a_column_that_was_allowed_is_kept_on_the_record() -> None:
    planted = Planted("allowed")
    rows = planted.known.with_columns(duration=pl.Series(planted.rng.gamma(2.0, 1.0 + 2.5 * planted.y)))
    (found,) = guard(rows, pl.Series(planted.y), allow={"duration"})
    assert (found.column, found.kept, found.allowed) == ("duration", True, True) and found.reason


def test_it_says_the_same_each_time_and_speaks_in_sentences() -> None:
    planted = Planted("again")
    rows = planted.known.with_columns(
        duration=pl.Series(planted.rng.gamma(2.0, 1.0 + 2.5 * planted.y)), row=pl.Series(np.arange(ROWS))
    )
    told: list[tuple[int, int]] = []
    found = guard(rows, pl.Series(planted.y), progress=lambda done, of: told.append((done, of)))
    assert found == guard(rows, pl.Series(planted.y))
    assert all(isinstance(each, Refused) and len(each.reason) > 20 and "\n" not in each.reason for each in found)
    assert told == [(i + 1, len(all_leaks())) for i in range(len(all_leaks()))]


def test_an_amount_counts_as_yes_in_its_upper_half() -> None:
    rng = generator("amounts")
    amount = rng.gamma(2.0, 50.0, ROWS)
    rows = pl.DataFrame({"tax": amount * 0.19, "visits": rng.poisson(3, ROWS)})
    assert {each.column for each in guard(rows, pl.Series(amount))} == {"tax"}


@pytest.mark.parametrize("y", [np.zeros(100), np.ones(100)])
def test_one_label_alone_and_empty_columns_say_nothing(y: np.ndarray) -> None:
    assert guard(pl.DataFrame({"a": range(100)}), pl.Series(y)) == ()
    half = pl.Series([0.0, 1.0] * 50)
    assert guard(pl.DataFrame({"e": [None] * 100}, schema={"e": pl.Float64}), half) == ()
    assert guard(pl.DataFrame({"e": [None] * 100}, schema={"e": pl.String}), half) == ()
    assert guard(pl.DataFrame({"e": [float("nan")] * 100, "i": [float("inf")] * 100}), half) == ()


def test_the_area_is_scikit_learns() -> None:
    from sklearn.metrics import roc_auc_score

    rng = generator("area")
    y, score = (rng.random(500) < 0.3).astype(float), rng.integers(0, 20, 500).astype(float)
    assert area(y, score) == pytest.approx(roc_auc_score(y, score))
    assert Sheet(pl.DataFrame({"s": score}), y).columns["s"].alone < 0.55


@pytest.mark.parametrize("name", ["churn", "propensity", "lead_scoring"])
def test_features_of_the_market_are_not_refused(name: str) -> None:
    """They were known: even judged by their strength alone none is called a leak."""
    market, problem = simulate(seed=7, people=1_200), all_problems()[name]
    cutoff = datetime.fromisoformat("2026-06-01T00:00:00Z")
    labels = problem.label(market.events, problem.population(market.events, cutoff), cutoff, problem.horizon)
    spine = labels.select("customer_id", pl.lit(cutoff).cast(pl.Datetime("us", "UTC")).alias("as_of"))
    rows = Computed(market.events).historical(spine, references(problem)).drop("customer_id", "as_of")
    assert [each for each in guard(rows, labels["label"]) if not each.kept] == []


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_bank_marketing_loses_its_duration_alone_and_is_warned_of_its_order() -> None:
    table = pl.read_csv(DATA / "bank_marketing" / "bank-full.csv", separator=";")
    found = guard(table.drop("y"), (table["y"] == "yes").cast(pl.Float64))
    assert [(each.column, each.kept) for each in found] == [("duration", False), (ROW_ORDER, True)]


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
@pytest.mark.parametrize(
    ("target", "refused"), [("visit", {"conversion", "spend"}), ("conversion", {"visit", "spend"})]
)
def test_hillstrom_loses_what_came_after_the_mail(target: str, refused: set[str]) -> None:
    table = pl.read_csv(DATA / "hillstrom" / "hillstrom.csv", infer_schema_length=None)
    found = guard(table.drop(target), table[target])
    assert {each.column for each in found if not each.kept} == refused


def test_a_known_column_alone_among_noise_is_refused_too_and_can_be_allowed() -> None:
    """What the guard cannot tell apart: nothing else in the table overlaps with it. The documents say so."""
    rng = generator("lonely")
    recency = rng.normal(size=ROWS)
    y = (rng.random(ROWS) < 1 / (1 + np.exp(1.0 - 2.0 * recency))).astype(float)
    rows = pl.DataFrame({"recency": recency} | {f"noise_{i}": rng.normal(size=ROWS) for i in range(5)})
    assert [(each.column, each.code) for each in guard(rows, pl.Series(y))] == [("recency", "too_good_alone")]
    assert all(each.kept and each.allowed for each in guard(rows, pl.Series(y), allow=["recency"]))
