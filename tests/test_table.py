"""`kairos train --table`: how a file is read, what each column becomes, and that a request is scored like its row."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.kernel.card import Refused, save_card
from features.kernel.errors import InvalidInput, NotFound
from features.kernel.seeds import generator
from serving.bundles import Bundle, load_bundle
from serving.known import Known
from serving.score import score
from training import pipeline
from training.plan import Plan
from training.table.asked import Asked
from training.table.build import Built, build, rebuild
from training.table.columns import Column, duplicates, settle
from training.table.numeric import numbers_of
from training.table.read import read
from training.table.rows import times


def people(rows: int) -> pl.DataFrame:
    """A table whose outcome hangs on age and channel, with a date, money as Germans write it, and missing markers."""
    rng = generator("table", rows)
    age, channel = rng.integers(18, 90, rows), rng.choice(["web", "shop", "Select", "café"], rows)
    days, spent = rng.integers(0, 900, rows), rng.gamma(2, 400, rows)
    yes = rng.random(rows) < 1 / (1 + np.exp(2.5 - 0.05 * (age - 40) - 1.5 * (channel == "web")))
    joined = pl.Series(np.datetime64("2021-03-01") + days.astype("timedelta64[D]"))
    return pl.DataFrame(
        {
            "Prospect ID": [f"{i:08x}-{i * 7919 % 65536:04x}" for i in range(rows)],
            "age": age,
            "channel": channel,
            "joined": joined.dt.strftime("%d.%m.%Y"),
            "spent, total": [german(each) for each in spent],
            "visits": rng.poisson(2, rows),
            "currency": ["EUR"] * rows,
            "Converted": np.where(yes, "yes", "no"),
        }
    )


def german(value: float) -> str:
    return f"{value:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".") + " €"


def made(folder: Path, frame: pl.DataFrame, target: str = "Converted", **options: object) -> Built:
    path = folder / "people.csv"
    frame.write_csv(path)
    return build(Asked(path=str(path), target=target, **options))  # type: ignore[arg-type]


def quiet(done: float, of: float) -> None:
    """Tell nobody."""


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_file_is_read_however_it_is_written(tmp_path: Path, encoding: str, separator: str) -> None:
    frame = people(40)
    path = tmp_path / "people.txt"
    path.write_bytes(frame.write_csv(separator=separator).encode(encoding))
    found = read(path, "Converted", quiet).frame
    assert found.columns == frame.columns
    assert found["channel"].to_list() == frame["channel"].to_list()
    assert found["spent, total"].to_list() == frame["spent, total"].to_list()


def test_gzip_parquet_and_ndjson_hold_the_same_table(tmp_path: Path) -> None:
    frame = people(60)
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    frame.write_parquet(tmp_path / "people.parquet")
    frame.write_ndjson(tmp_path / "people.ndjson")
    frame.write_csv(tmp_path / "people.csv")
    sets = [
        build(Asked(path=str(tmp_path / name), target="Converted")).data.data_hash
        for name in ("people.csv", "people.csv.gz", "people.parquet", "people.ndjson")
    ]
    assert len(set(sets)) == 1


def test_a_file_without_a_header_gets_names_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text(people(80).write_csv(include_header=False))
    found = build(Asked(path=str(path), target="column_8"))
    assert any("No header" in each for each in found.said)
    assert "column_2" in {each.ref for each in found.data.features}
    with pytest.raises(InvalidInput, match=r"Converted.*column_1"):
        build(Asked(path=str(path), target="Converted"))


def test_a_first_line_that_names_the_target_is_a_header_even_with_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("2023,2024,bought\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60)))
    assert read(path, "bought", quiet).frame.columns == ["2023", "2024", "bought"]


def test_broken_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(people(60).write_csv() + "too,few\n" + "a,b,c,d,e,f,g,h,i,j\n")
    found = build(Asked(path=str(path), target="Converted"))
    assert any(each.startswith("2 rows left out, ragged row") for each in found.said)
    assert sum(map(len, found.data.splits.values())) == 60


@pytest.mark.parametrize("text", [b"", b"a,b\n", b"\x00\x01\x02\x03" * 50, b"PAR1 and no more"])
def test_a_file_that_is_no_table_is_an_error_that_names_it(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "none.csv"
    path.write_bytes(text)
    with pytest.raises(InvalidInput, match=r"none\.csv"):
        build(Asked(path=str(path), target="b"))
    with pytest.raises(NotFound, match=r"gone\.csv"):
        build(Asked(path=str(tmp_path / "gone.csv"), target="b"))


# -- columns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1", "2.5", "-3e2"], [1.0, 2.5, -300.0]),
        (["1,5", "2,25", "10"], [1.5, 2.25, 10.0]),
        (["1,234", "950", "12,000"], [1234.0, 950.0, 12000.0]),
        (["1.234", "2.500", "1.000.000"], [1234.0, 2500.0, 1000000.0]),
        (["$1,234.50", "$80.00"], [1234.5, 80.0]),
        (["1.234,50 €", "80,00 €"], [1234.5, 80.0]),
        (["12 %", "7.5%"], [12.0, 7.5]),
        (["EUR 5", "EUR 1 200"], [5.0, 1200.0]),
        (["1", None, "inf"], [1.0, None, None]),
    ],
)
def test_numbers_are_read_as_people_write_them(texts: list[str], numbers: list[float]) -> None:
    found = numbers_of(pl.Series("x", texts))
    assert found is not None and found.values.to_list() == numbers


@pytest.mark.parametrize("texts", [["a", "b"], ["1", "b", "3"], ["1.2.3", "4.5.6"], ["1,2,3", "4"]])
def test_what_cannot_be_read_in_one_way_is_no_number(texts: list[str]) -> None:
    assert numbers_of(pl.Series("x", texts)) is None


@given(st.lists(st.floats(-1e9, 1e9).map(lambda value: round(value, 2)), min_size=3, max_size=30))
def test_a_german_column_of_money_is_read_back(values: list[float]) -> None:
    found = numbers_of(pl.Series("x", [german(each) for each in values]))
    assert found is not None and found.values.to_list() == pytest.approx(values)


def settled(name: str, values: Sequence[object]) -> Column | Refused:
    return settle(pl.Series(name, values))


def kept(name: str, values: Sequence[object]) -> Column:
    found = settled(name, values)
    assert isinstance(found, Column), found
    return found


def test_each_column_becomes_what_its_values_are() -> None:
    assert kept("age", ["30", "41", "?"] * 30).kind == "number"
    assert kept("city", ["Lyon", "Porto", ""] * 30).kind == "category"
    assert kept("zip", ["01067", "80331", "20095"] * 30).kind == "category"
    assert kept("born", ["1980-05-01", "1999-12-31", None] * 30).kind == "date"
    assert kept("at", ["31.12.2023 10:15", "01.02.2024 11:00"] * 30).kind == "date"
    assert kept("day", [20240131, 20240229] * 30).kind == "date"
    assert kept("open", [True, False, None] * 30).values.to_list()[:3] == [1.0, 0.0, None]


@pytest.mark.parametrize("marker", ["Select", "unknown", "?", "N/A", "", " ", "null", "-"])
def test_markers_of_the_missing_are_missing_and_told(marker: str) -> None:
    for values in (["web", "shop"], ["3", "4"]):
        found = kept("x", [*values, marker] * 30)
        assert found.values.null_count() == 30
        if marker.strip():
            assert [(each.code, each.kept) for each in found.said] == [("missing_marker", True)]


def test_a_sentinel_needs_evidence_and_stays_a_number() -> None:
    """A request may then send what stands in the table."""
    often = kept("since", [-1] * 40 + list(range(60)))
    assert [each.code for each in often.said] == ["sentinel"] and often.values.null_count() == 0
    assert not kept("since", [-1, *range(100)]).said
    assert not kept("balance", [-1, -2, -3, -4] * 10 + list(range(60))).said


def refusal(name: str, values: Sequence[object]) -> str:
    found = settled(name, values)
    assert isinstance(found, Refused) and not found.kept
    return found.code


def test_a_column_with_nothing_to_learn_from_is_refused_by_name() -> None:
    assert refusal("x", ["EUR"] * 80) == "constant"
    assert refusal("x", [None] * 80) == "empty"
    assert refusal("x", ["?"] * 80) == "empty"
    assert refusal("x", [f"{i:x}-token" for i in range(80)]) == "identifier"
    assert refusal("user_id", list(range(1000, 1300))) == "identifier"
    assert refusal("x", [[1, 2], [3]] * 40) == "nested"
    assert kept("x", ["yes", None] * 40).values.null_count() == 40  # one value, but not everywhere


def test_many_levels_are_known_by_name_as_far_as_they_are_frequent() -> None:
    frequent = [f"level {i % 150 if i % 3 else 0}" for i in range(3_000)]
    assert [each.code for each in kept("x", frequent).said] == ["levels"]
    rare = [f"level {i % 2_500}" for i in range(6_000)]
    assert refusal("x", rare) == "identifier"


def test_a_column_that_repeats_another_is_refused_for_the_first() -> None:
    given: dict[str, Sequence[object]] = {"a": [1, 2, None], "b": ["1", "2", ""], "c": [1, 2, 3], "d": ["x", "y", "z"]}
    columns = {name: kept(name, [*values] * 20) for name, values in given.items()}
    assert [(each.column, each.code) for each in duplicates(columns)] == [("b", "duplicate")]


def test_a_table_of_odd_columns_becomes_inputs_with_every_decision_told(tmp_path: Path) -> None:
    frame = people(600).with_columns(pl.col("age").alias("age again"))
    data = made(tmp_path, frame).data
    assert [each.ref for each in data.features] == ["age", "channel", "joined_days_ago", "spent, total", "visits"]
    fate = {(each.column, each.code): each.kept for each in data.refused}
    assert fate == {
        ("Prospect ID", "identifier"): False,
        ("currency", "constant"): False,
        ("age again", "duplicate"): False,
        ("channel", "missing_marker"): True,
        ("spent, total", "written_number"): True,
        ("joined", "date"): True,
    }
    assert data.features[1].vocabulary == ("café", "shop", "web")
    assert data.features[2].unit == "days" and "{value} days ago" in data.features[2].phrase
    assert data.source == "request" and data.problem.kind == "binary"


def test_a_dates_age_is_counted_from_the_rows_time_or_from_the_latest_date(tmp_path: Path) -> None:
    frame = people(300).with_columns(pl.lit("2024-01-01").alias("asked on"))
    frame = frame.with_columns(pl.Series("asked on", [f"2024-{1 + i % 12:02}-15" for i in range(300)]))
    joined = frame["joined"].str.to_date("%d.%m.%Y")
    timed = made(tmp_path, frame, time="asked on").data
    ages = (frame["asked on"].str.to_date() - joined).dt.total_days()
    row = int(timed.test.person[0].removeprefix("row-")) - 1
    assert timed.test.x[0, timed.columns.index("joined_days_ago")] == ages[row]
    plain = made(tmp_path, frame.drop("asked on")).data
    row = int(plain.test.person[0].removeprefix("row-")) - 1
    newest = joined.max()
    assert plain.test.x[0, plain.columns.index("joined_days_ago")] == (newest - joined[row]).days


def test_names_that_differ_in_signs_only_stay_apart(tmp_path: Path) -> None:
    rng = generator("signs")
    frame = pl.DataFrame({"a b": rng.normal(size=200), "a_b": rng.normal(size=200), 'a"b': rng.normal(size=200)})
    data = made(tmp_path, frame.with_columns(Converted=pl.Series(rng.integers(0, 2, 200)))).data
    assert len(set(data.columns)) == 3 == len(data.features)
    assert {each.code for each in data.refused if each.code != "row_order"} == {"renamed"}


def test_columns_may_have_the_names_of_what_a_training_set_holds(tmp_path: Path) -> None:
    """None of them is a weight of the rows, a person or a label because it is called so."""
    rng = generator("names")
    names = ("weight", "arm", "label", "customer_id", "split", "as_of", "candidate", "propensity", "group:x")
    frame = pl.DataFrame({name: rng.normal(size=200) for name in names})
    data = made(tmp_path, frame.with_columns(Converted=pl.Series(rng.integers(0, 2, 200)))).data
    assert {each.ref for each in data.features} == set(names)
    assert data.train.weight is None and data.train.arm is None and data.train.groups == {}


# -- rows and splits ---------------------------------------------------------------------------------------------------


def test_without_a_time_rows_are_split_at_random_and_the_card_will_say_so(tmp_path: Path) -> None:
    data = made(tmp_path, people(1_000)).data
    assert data.split == "random" and "at random" in data.limits[0]
    assert [len(each) for each in data.splits.values()] == [600, 200, 200]
    shares = [each.y.mean() for each in data.splits.values()]
    assert max(shares) - min(shares) < 0.01  # by outcome, as evenly as it goes
    assert len({each.as_of[0] for each in data.splits.values()}) == 1  # nothing orders the rows
    assert data.data_hash == made(tmp_path, people(1_000)).data.data_hash


def test_nobody_stands_in_two_splits(tmp_path: Path) -> None:
    frame = people(900).with_columns(pl.Series("who", [f"p{i % 200}" for i in range(900)]))
    splits = made(tmp_path, frame, id="who").data.splits
    sets = [set(each.person.tolist()) for each in splits.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 200
    assert "who" not in made(tmp_path, frame, id="who").data.columns


def test_with_a_time_splits_follow_each_other_at_changes_of_instant(tmp_path: Path) -> None:
    frame = people(600).with_columns(pl.Series("when", [f"{1 + i * 7 % 25:02}/06/2024" for i in range(600)]))
    found = made(tmp_path, frame, time="when")
    data = found.data
    assert data.split == "time" and not data.limits
    assert data.train.as_of.max() < data.validation.as_of.min() <= data.validation.as_of.max() < data.test.as_of.min()
    assert abs(len(data.train) / 600 - 0.6) < 0.05
    assert data.cutoffs.test[1] == datetime(2024, 6, 25, tzinfo=UTC) == data.observed_until
    assert any(each.startswith("Split in time by when: train 2024-06-01 to") for each in found.said)


@pytest.mark.parametrize(
    ("form", "first"),
    [("{}", datetime(2001, 1, 1, tzinfo=UTC)), ("{}-05", datetime(2001, 5, 1, tzinfo=UTC)), ("03/{}", None)],
)
def test_years_and_months_are_times_from_their_first_day(form: str, first: datetime | None) -> None:
    given = pl.Series("t", [form.format(2001 + i % 9) for i in range(90)])
    if first is None:
        with pytest.raises(InvalidInput, match="03/2001"):
            times(given)
    else:
        assert times(given)[0] == first


def test_rows_not_settled_when_the_next_split_begins_are_left_out(tmp_path: Path) -> None:
    frame = people(600).with_columns(pl.Series("when", [f"2024-{1 + i // 50:02}-01" for i in range(600)]))
    found = made(tmp_path, frame, time="when", days=45)
    data, settled_after = found.data, np.timedelta64(45, "D")
    assert data.train.as_of.max() + settled_after <= data.validation.as_of.min()
    assert data.validation.as_of.max() + settled_after <= data.test.as_of.min()
    assert any("not settled (45 days)" in each for each in found.said) and data.problem.horizon.days == 45


def test_rows_written_twice_count_once_with_ids_and_share_a_split_without(tmp_path: Path) -> None:
    frame = people(500)
    doubled = pl.concat([frame, frame.head(20)])
    with_ids = made(tmp_path, doubled, id="Prospect ID")
    assert sum(map(len, with_ids.data.splits.values())) == 500 and any("20 rows repeat" in s for s in with_ids.said)
    without = made(tmp_path, doubled)
    splits = without.data.splits
    sets = [set(each.person.tolist()) for each in splits.values()]
    assert sum(map(len, splits.values())) == 520 and sum(map(len, sets)) == len(set.union(*sets)) == 500
    assert any("20 rows equal an earlier one" in each for each in without.said)


def test_a_table_is_built_again_from_its_record(tmp_path: Path) -> None:
    data = made(tmp_path, people(400), allow=("currency",), costs=(1.0, 5.0), sensitive=("age",)).data
    assert data.origin is not None and data.origin.path == str(tmp_path / "people.csv")
    assert rebuild(data.origin).data_hash == data.data_hash
    assert data.problem.costs == (1.0, 5.0)
    groups = data.test.groups["age"].tolist()
    assert len(set(groups)) == 4 and all(" to " in each for each in groups)


# -- the same at request time ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, pipeline.Fitted, Built]:
    folder = tmp_path_factory.mktemp("served")
    built = made(folder, people(1_500), time="joined", name="people")
    found = pipeline.fit(built.data, plan=Plan(trials=0))
    (folder / "model.txt").write_text(found.model.text, encoding="utf-8", newline="")
    save_card(found.card, folder / "card.json")
    return load_bundle(folder), found, built


def test_a_row_of_the_file_sent_as_it_stands_is_scored_as_in_training(
    served: tuple[Bundle, pipeline.Fitted, Built],
) -> None:
    bundle, found, _ = served
    frame, test = people(1_500), found.data.test
    asked = []
    for who in test.person.tolist():
        row = frame.row(int(who.removeprefix("row-")) - 1, named=True)
        spent = float(row["spent, total"].removesuffix(" €").replace(".", "").replace(",", "."))
        features = {"age": row["age"], "channel": row["channel"], "visits": row["visits"], "spent, total": spent}
        asked.append(Known("fresh", features))
    assert any(each.values["channel"] == "Select" for each in asked)  # the marker itself is sent
    answers = [each.value for each in score(bundle, asked)]
    assert answers == pytest.approx(found.answers.tolist(), abs=1e-12)


def test_a_missing_value_is_the_same_as_its_marker(served: tuple[Bundle, pipeline.Fitted, Built]) -> None:
    bundle, _, built = served
    ways = [built.example | {"channel": each} for each in ("Select", None, "never seen")]
    assert len({each.value for each in score(bundle, [Known("fresh", way) for way in ways])}) == 1


def test_the_example_is_a_request_of_a_row(served: tuple[Bundle, pipeline.Fitted, Built]) -> None:
    bundle, found, built = served
    assert json.loads(json.dumps(built.example)) == built.example
    assert set(built.example) == {each.ref for each in bundle.card.features}
    answer = score(bundle, [Known("fresh", built.example)])[0].value
    assert answer == pytest.approx(float(found.answers[0]), abs=1e-12)
