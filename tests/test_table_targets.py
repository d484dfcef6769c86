"""Tables that ask back: outcomes that are unclear or missing, times that are none, columns that are all refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.kernel.errors import InvalidInput, KairosError, NotEnoughData
from features.kernel.seeds import generator
from training import pipeline
from training.plan import Plan
from training.table.asked import Asked
from training.table.build import Built, build
from training.table.target import Target, find


def table(rows: int = 300, **columns: Sequence[object]) -> pl.DataFrame:
    """Two columns that tell something of an outcome `y`, and what is given."""
    rng = generator("targets", rows)
    x = rng.normal(size=rows)
    yes = rng.random(rows) < 1 / (1 + np.exp(-1.5 * x))
    frame = pl.DataFrame({"x": x, "z": rng.normal(size=rows).round(2), "y": np.where(yes, "yes", "no")})
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def made(folder: Path, frame: pl.DataFrame, **options: object) -> Built:
    path = folder / "t.csv"
    frame.write_csv(path)
    return build(Asked(path=str(path), **{"target": "y", **options}))  # type: ignore[arg-type]


def found(values: Sequence[object], positive: str = "") -> Target:
    return find(pl.Series("y", values), Asked(path="t.csv", target="y", positive=positive))


# -- which value means yes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (["yes", "no"], "yes"),
        (["1", "0"], "1"),
        ([1, 0], "1"),
        ([1.0, 0.0], "1"),
        ([1, -1], "1"),
        ([True, False], "true"),
        (["TRUE", "FALSE"], "TRUE"),
        (["Y", "N"], "Y"),
        (["converted", "open"], "converted"),
        (["Lost", "Won"], "Won"),
        (["churned", "none"], "churned"),
    ],
)
def test_a_plain_yes_is_known(values: list[object], positive: str) -> None:
    target = found(values * 30)
    assert target.positive == positive
    assert target.values.to_list() == [
        float(str(each).lower() == positive.lower() or each == 1) for each in values * 30
    ]


@pytest.mark.parametrize("values", [["red", "blue"], ["1", "2"], ["yes", "true"], ["A", "B"]])
def test_two_values_of_which_neither_plainly_means_yes_are_named(values: list[object]) -> None:
    with pytest.raises(InvalidInput, match=rf"{values[0]}.*{values[1]}.*--positive"):
        found(values * 30)
    assert found(values * 30, str(values[1])).values.mean() == 0.5


def test_spellings_of_one_value_are_one_value() -> None:
    target = found(["YES", "yes", "Yes", "no", "No "] * 20)
    assert target.values.mean() == 0.6 and target.positive.lower() == "yes"
    assert found(["1.0", "0.0", "1", "0"] * 20).values.to_list()[:4] == [1.0, 0.0, 1.0, 0.0]
    assert found(["1.0", "0.0", "2"] * 20, "2.0").values.mean() == pytest.approx(1 / 3)
    assert found(["gold", "Gold", "tin"] * 20, "GOLD").values.mean() == pytest.approx(2 / 3)


def test_three_values_are_named_and_one_against_the_rest_is_the_remedy() -> None:
    values: list[object] = ["gold", "silver", "bronze", "silver"]
    with pytest.raises(InvalidInput, match=r"3 values: 'silver' \(60 rows\).*--positive (gold|bronze)"):
        found(values * 30)
    target = found(values * 30, "silver")
    assert target.values.mean() == 0.5 and "against the other 2 values" in target.said[0]


def test_few_numbers_are_asked_back_and_many_are_an_amount() -> None:
    with pytest.raises(InvalidInput, match="5 values"):
        found([1, 2, 3, 4, 5] * 20)
    target = found([round(i * 1.7, 2) for i in range(200)])
    assert target.kind == "regression" and "it is an amount" in target.said[0]
    assert found([f"€ {i}.50" for i in range(200)]).values.to_list()[3] == 3.5
    with pytest.raises(InvalidInput, match="below zero in 3 rows"):
        found([i - 3 for i in range(200)])
    with pytest.raises(InvalidInput, match="200 values"):
        found([f"answer {i}" for i in range(200)])


def test_one_class_only_is_not_enough() -> None:
    for values, positive in (["yes"], ""), (["yes", None], ""), (["yes", "?"], "yes"):
        with pytest.raises(NotEnoughData, match="is 'yes' in every row"):
            found(values * 50, positive)


def test_a_target_that_is_missing_everywhere_is_not_enough() -> None:
    with pytest.raises(NotEnoughData, match="missing in every row"):
        found(["", None, "?", "unknown"] * 20)


def test_a_value_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match=r"--positive.*'maybe'.*'yes' \(30 rows\)"):
        found(["yes", "no"] * 30, "maybe")


def test_a_marker_may_be_the_positive_value_if_it_is_named() -> None:
    assert found(["unknown", "known"] * 30, "unknown").values.mean() == 0.5


def test_rows_without_an_outcome_are_left_out_and_counted(tmp_path: Path) -> None:
    frame = table(300).with_columns(
        pl.Series("y", [None if i % 10 == 0 else "yes" if i % 3 else "no" for i in range(300)])
    )
    built = made(tmp_path, frame)
    assert sum(map(len, built.data.splits.values())) == 270
    assert "y is missing in 30 of 300 rows: these were left out." in built.said
    numbers = {int(each.removeprefix("row-")) for split in built.data.splits.values() for each in split.person.tolist()}
    assert not numbers & {1 + i for i in range(0, 300, 10)}


# -- what was asked cannot be right ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"target": "Y "}, "did you mean y"),
        ({"target": ""}, "--target: is missing"),
        ({"id": "who"}, "--id: is no column"),
        ({"time": "when"}, "--time: is no column"),
        ({"allow": ("w",)}, "--allow: is no column"),
        ({"sensitive": ("gender",)}, "--sensitive: is no column"),
        ({"id": "y"}, "--id: is --target already"),
        ({"name": "Über"}, "--name: is no name"),
        ({"name": "churn"}, "learns from events"),
        ({"costs": (-1.0, 2.0)}, "must be positive"),
        ({"costs": (1.0, float("nan"))}, "must be positive"),
        ({"days": 30}, "--days: needs the rows' time"),
        ({"treatment": "x"}, "--control"),
        ({"control": "no"}, "--treatment"),
        ({"treatment": "arm", "control": "no", "treated": "mails"}, "did you mean mail"),
        ({"treatment": "arm", "control": "mail", "treated": "mail"}, "value of --control"),
        ({"treatment": "arm", "control": "no", "treated": "mail", "target": "spent"}, "outcome is an amount"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, options: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        made(tmp_path, table(arm=["mail", "no"] * 150, spent=list(range(300))), **options)


def test_a_name_is_made_of_file_and_target() -> None:
    assert Asked(path="/x/Bank Full.v2.csv", target="y").problem == "bank_full_y"
    assert Asked(path="2024.csv", target="Ja?").problem == "table_2024_ja"
    assert Asked(path="c.csv", target="Ü").problem == "c"
    assert len(Asked(path="x" * 200 + ".csv", target="y").problem) == 60
    assert Asked(path="churn.csv", target="!").problem == "churn_table"


@pytest.mark.parametrize("values", [["soon", "later"], ["31/31/2024", "99/99/2024"], [1, 2], ["", ""], [1.5, 2.5]])
def test_a_time_column_that_cannot_be_read_is_an_error_with_examples(tmp_path: Path, values: list[object]) -> None:
    with pytest.raises(InvalidInput, match=r"--time: (holds no times|is empty).*2024-05-31") as error:
        made(tmp_path, table(when=values * 150), time="when")
    assert all(repr(str(each)) in str(error.value) for each in values if each)


def test_rows_whose_time_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    times = ["never" if i % 30 == 0 else f"2024-{1 + i % 12:02}-01" for i in range(300)]
    built = made(tmp_path, table(when=times), time="when")
    assert "10 rows left out: when is no time that can be read." in built.said


def test_too_few_instants_to_split_by_are_not_enough(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData, match="2 different instants"):
        made(tmp_path, table(when=["2024-01-01", "2024-02-01"] * 150), time="when")
    assert made(tmp_path, table(when=["2024-01-01", "2024-02-01", "2024-03-01"] * 100), time="when")


def test_all_columns_refused_is_an_error_that_names_each(tmp_path: Path) -> None:
    frame = table().select(
        "y", copy=pl.col("y"), same=pl.lit("EUR"), code=pl.int_range(pl.len()).map_elements(hex, pl.String)
    )
    with pytest.raises(NotEnoughData) as error:
        made(tmp_path, frame)
    assert all(f"{name}: " in str(error.value) for name in ("copy", "same", "code")) and "--allow" in str(error.value)
    assert made(tmp_path, frame, allow=("copy",)).data.columns == ["copy"]
    with pytest.raises(NotEnoughData, match="no column beside the outcome"):
        made(tmp_path, table().select("y"))


def test_an_allowed_column_is_kept_on_the_record(tmp_path: Path) -> None:
    late = np.where(table()["y"] == "yes", 1.0, 0.0).tolist()
    frame = table(closed=late)
    refused = {each.column: each for each in made(tmp_path, frame).data.refused if not each.kept}
    assert list(refused) == ["closed"] and not refused["closed"].allowed
    data = made(tmp_path, frame, allow=("closed",)).data
    told = {each.column: (each.kept, each.allowed) for each in data.refused if each.column == "closed"}
    assert told == {"closed": (True, True)} and "closed" in data.columns


def test_a_table_of_ids_alone_has_nothing_to_learn_from_but_can_be_allowed(tmp_path: Path) -> None:
    codes = [f"code {i:05}" for i in range(300)]
    assert "code" not in made(tmp_path, table(code=codes)).data.columns
    data = made(tmp_path, table(code=codes), allow=("code",)).data
    assert "code" in data.columns
    assert [(each.kept, each.allowed) for each in data.refused if each.code == "identifier"] == [(True, True)]


def test_a_date_after_the_rows_own_time_is_refused_and_one_before_is_an_input(tmp_path: Path) -> None:
    months = [1 + i % 12 for i in range(300)]
    frame = table(
        asked=[f"2024-{month:02}-10" for month in months],
        signed=[f"2024-{month:02}-{25 if i % 3 else 5:02}" for i, month in enumerate(months)],
        joined=[f"2023-{month:02}-{1 + i % 28:02}" for i, month in enumerate(months)],
    )
    data = made(tmp_path, frame, time="asked").data
    assert {each.column: each.code for each in data.refused if not each.kept} == {"signed": "recorded_after"}
    assert data.columns == ["x", "z", "joined_days_ago"]


# -- few rows ----------------------------------------------------------------------------------------------------------


def test_three_hundred_rows_make_a_model_that_says_how_rough_it_is(tmp_path: Path) -> None:
    fitted = pipeline.fit(made(tmp_path, table(300)).data, plan=Plan(trials=0))
    assert fitted.card.source == "request" and fitted.card.split == "random"
    assert fitted.evaluation.metric("auc").value > 0.6


def test_fewer_positives_than_folds_is_not_enough_and_counts_them(tmp_path: Path) -> None:
    frame = table(300).with_columns(pl.Series("y", ["yes" if i < 3 else "no" for i in range(300)]))
    with pytest.raises(NotEnoughData, match=r"t_y: .*(\b[0-3]\b|one|two|three) positive"):
        pipeline.fit(made(tmp_path, frame).data, plan=Plan(trials=0))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 10])
def test_a_handful_of_rows_ends_in_an_error_of_ours(tmp_path: Path, rows: int) -> None:
    frame = table(10).head(rows).with_columns(pl.Series("y", ["yes", "no"] * 5).head(rows))
    with pytest.raises(KairosError):
        pipeline.fit(made(tmp_path, frame).data, plan=Plan(trials=0))


# -- what a treatment adds ---------------------------------------------------------------------------------------------


def test_a_treatment_makes_an_uplift_problem_with_arms_and_their_share(tmp_path: Path) -> None:
    arms = (["mail"] * 2 + ["no", "call"]) * 75
    built = made(tmp_path, table(arm=arms), treatment="arm", control="no", treated="mail", name="mails")
    data = built.data
    assert data.problem.kind == "uplift" and data.problem.unit == "change of probability"
    assert "arm" not in data.columns and any("75 rows left out: arm is neither" in each for each in built.said)
    assert sum(map(len, data.splits.values())) == 225
    for split in data.splits.values():
        assert split.arm is not None and split.propensity is not None
        assert set(split.arm.tolist()) == {0.0, 1.0} and set(split.propensity.round(6)) == {round(2 / 3, 6)}
        assert abs(split.arm.mean() - 2 / 3) < 0.05


def test_an_amount_makes_a_regression(tmp_path: Path) -> None:
    frame = table(400).with_columns(pl.Series("spend", [f"{i * 37 % 401},50" for i in range(400)]))
    built = made(tmp_path, frame, target="spend")
    assert built.data.problem.kind == "regression" and built.data.train.y.max() > 300
    assert any("it is an amount" in each for each in built.said)
