"""Pictures: each is drawn from a real evaluation, is the same every time, and shows the figures it is about."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from features.kernel.card import CandidateColumn, Candidates
from features.kernel.seeds import generator
from training import pipeline
from training.drawing import spoken
from training.picture import Picture, Shown
from training.pictures import all_pictures, draw_all
from training.plan import Plan
from training.synthetic import draw
from training.trainingset import Split, TrainingSet

PICTURES = all_pictures()
OWN = ("calibration", "gain", "groups", "over_time", "profit", "reliability_by_segment", "segments", "slots")
"""Those of this file; the others are drawn from SHAP values, amounts and effects."""


def with_groups(split: Split, cities: tuple[str, ...]) -> Split:
    known = np.array(cities)[split.x[:, 2].astype(int)]
    age = np.where(np.isnan(split.x[:, 1]), "", np.where(split.x[:, 1] > 0, "older", "younger"))
    return dataclasses.replace(split, groups={"x:city": known, "age": age})


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    """With costs and two sensitive attributes, so that every table is there."""
    made = draw(generator("pictures"), 900).data
    test = with_groups(made.test, made.features[2].vocabulary)
    return dataclasses.replace(made, test=test, problem=dataclasses.replace(made.problem, costs=(1.0, 3.0)))


@pytest.fixture(scope="module")
def shown(data: TrainingSet) -> Shown:
    found = pipeline.fit(data, plan=Plan(trials=0))
    return found.shown(found.card)


@pytest.fixture(scope="module")
def week(data: TrainingSet) -> Shown:
    """The same rows as sends at an hour of the week each."""
    rng = generator("week")
    hours = tuple(float(each) for each in range(168))
    candidates = Candidates(name="hour of the week", count=168, columns=(CandidateColumn(name="hour", values=hours),))

    def at_hours(split: Split) -> Split:
        taken = rng.integers(0, 168, len(split)).astype(np.float32)
        person = np.array([each[:-1] for each in split.person])  # ten are one, who was written to ten times
        return dataclasses.replace(split, x=np.column_stack([split.x, taken]), person=person, groups={})

    problem = dataclasses.replace(data.problem, kind="candidates", candidates=candidates, costs=None)
    sends = {name: at_hours(split) for name, split in data.splits.items()}
    found = pipeline.fit(
        dataclasses.replace(data, problem=problem, candidates=candidates, **sends), plan=Plan(trials=0)
    )
    return found.shown(found.card)


def words(figure: Any) -> str:
    """Every word of a figure: titles, labels, ticks, legends."""
    from matplotlib.text import Text

    return " ".join(each.get_text() for each in figure.findobj(Text))


def test_each_has_a_file_of_its_own_and_a_title() -> None:
    assert set(OWN) <= PICTURES.keys()
    files = [each.file for each in PICTURES.values()]
    assert len(set(files)) == len(files) and all(each.endswith(".png") for each in files)
    assert all(
        each.title and set(each.kinds) <= {"binary", "candidates", "regression", "uplift"} for each in PICTURES.values()
    )


def test_every_picture_of_the_kind_is_drawn_and_ours_are_the_same_bytes_each_time(shown: Shown, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        drawn = draw_all(shown, folder)
        assert {path.name for path in drawn} >= {PICTURES[name].file for name in OWN if name != "slots"}
    for path in [folders[0] / PICTURES[name].file for name in OWN if name != "slots"]:
        first, second = (pixels(folder / path.name) for folder in folders)
        assert np.array_equal(first, second), path.name
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()
        assert len(np.unique(first.reshape(-1, first.shape[-1]), axis=0)) > 10, path.name  # something is on it


def pixels(path: Path) -> NDArray[np.float32]:
    from matplotlib.image import imread

    return np.asarray(imread(path))


@pytest.mark.parametrize("name", ["groups", "over_time", "profit", "segments", "reliability_by_segment", "slots"])
def test_what_has_nothing_to_show_is_not_drawn(name: str, shown: Shown) -> None:
    bare = dataclasses.replace(shown.evaluation, tables={"reliability": shown.evaluation.tables["reliability"][:10]})
    assert PICTURES[name].draw(dataclasses.replace(shown, evaluation=bare)) is None


def test_titles_say_the_figure(shown: Shown) -> None:
    deciles = shown.evaluation.tables["deciles"]
    assert f"{deciles[0]['lift']:.1f} times" in words(PICTURES["gain"].draw(shown))
    assert f"finds {100 * deciles[2]['gain']:.0f} %" in words(PICTURES["gain"].draw(shown))
    assert f"{100 * shown.evaluation.metric('ece').value:.1f} points" in words(PICTURES["calibration"].draw(shown))
    chosen = next(each for each in shown.evaluation.tables["profit"] if each["chosen"])
    assert f"{chosen['profit']:,.0f} for every" in words(PICTURES["profit"].draw(shown))


def test_every_group_segment_and_stretch_is_named(shown: Shown) -> None:
    tables = shown.evaluation.tables
    said = words(PICTURES["groups"].draw(shown))
    assert all(each["group"] in said for each in tables["groups"]) and "AUC" in said
    said = words(PICTURES["segments"].draw(shown))
    assert all(each["by"] in said and each["segment"] in said for each in tables["by_segment"])
    said = words(PICTURES["over_time"].draw(shown))
    assert all(each["as_of"][:10] in said for each in tables["over_time"])


def test_points_stand_where_the_table_says(shown: Shown) -> None:
    rows = [each for each in shown.evaluation.tables["reliability"] if not each["by"]]
    (axes,) = PICTURES["calibration"].draw(shown).axes
    lines = [np.asarray(line.get_xydata()) for line in axes.lines]
    expected = np.array([(each["predicted"], each["observed"]) for each in rows])
    assert any(line.shape == expected.shape and np.allclose(line, expected) for line in lines)
    assert axes.get_xlim() == axes.get_ylim()  # the diagonal is one


def test_the_hours_of_the_week_are_a_map_and_few_candidates_are_bars(week: Shown) -> None:
    drawn = PICTURES["slots"].draw(week)
    said = words(drawn)
    assert "Mon" in said and "Sun" in said and "by chance" in said
    maps = [np.asarray(image.get_array()) for axes in drawn.axes[:2] for image in axes.images]
    assert [each.shape for each in maps] == [(7, 24), (7, 24)]
    rows = {each["slot"]: each for each in week.evaluation.tables["slots"] if each["rows"] >= 5}
    for slot, row in rows.items():
        assert maps[1].ravel()[slot] == pytest.approx(row["observed"])
    three = Candidates(
        name="channel",
        count=3,
        columns=(
            CandidateColumn(name="by_email", values=(1.0, 0.0, 0.0)),
            CandidateColumn(name="by_sms", values=(0.0, 1.0, 0.0)),
        ),
    )
    few = dataclasses.replace(
        week,
        card=msgspec.structs.replace(week.card, candidates=three),
        data=dataclasses.replace(week.data, candidates=three),
        evaluation=dataclasses.replace(
            week.evaluation, tables={**week.evaluation.tables, "slots": tuple(rows.values())[:3]}
        ),
    )
    said = words(PICTURES["slots"].draw(few))
    assert "by email" in said and "no. 3" in said and "channel" in said


def test_other_units_are_written_on_the_axes(shown: Shown) -> None:
    euros = dataclasses.replace(shown, card=msgspec.structs.replace(shown.card, kind="regression", unit="EUR"))
    assert "EUR" in words(PICTURES["segments"].draw(euros)) and "%" in words(PICTURES["segments"].draw(shown))


def test_a_picture_is_a_file_a_title_its_kinds_and_how_to_draw_it() -> None:
    assert {each.name for each in dataclasses.fields(Picture)} == {"file", "title", "kinds", "draw"}
    assert spoken("auc") == "AUC"
