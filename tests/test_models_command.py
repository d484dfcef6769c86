"""`kairos models`: what it lists, whom it lets be champion, and what stands on the record of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

import kairos
from features.kernel import clock
from features.kernel.card import Card, GateFinding, Metric, Refused, save_card
from features.kernel.champion import read_champion
from features.kernel.errors import GateRefused, InvalidInput, KairosError, NotFound, Unavailable
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from serving.bundles import Models
from training import pipeline
from training.plan import Plan
from training.registry import bundle, promotion, track
from training.registry.register import Trained, register
from training.synthetic import draw

quiet_libraries()
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_june() -> Iterator[None]:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


@pytest.fixture(scope="module")
def fitted() -> pipeline.Fitted:
    return pipeline.fit(draw(generator("models"), 700).data, plan=Plan(trials=0))


@pytest.fixture(scope="module")
def refused(fitted: pipeline.Fitted) -> pipeline.Fitted:
    """Fitted to labels that mean nothing."""
    noise = {
        name: dataclasses.replace(split, y=generator("noise", name).permutation(split.y))
        for name, split in fitted.data.splits.items()
    }
    return pipeline.fit(dataclasses.replace(fitted.data, **noise), plan=Plan(trials=0))


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """MLflow is away: these tests are about the models, not about it."""
    return Settings(home=tmp_path, mlflow_uri="http://127.0.0.1:9", user="ann")


class Stock(NamedTuple):
    """A home with three models that are alike, the last of them champion, and a fourth that the gates refused."""

    home: Settings
    one: str
    two: str
    three: str
    refused: str


@pytest.fixture(scope="module")
def published(
    fitted: pipeline.Fitted, refused: pipeline.Fitted, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Trained]]:
    clock.set_origin(NOW)
    folder = tmp_path_factory.mktemp("published")
    away = Settings(home=folder, mlflow_uri="http://127.0.0.1:9", user="ann")
    return folder, [register(each, away, lambda what, share: None) for each in (fitted, fitted, fitted, refused)]


@pytest.fixture
def stock(published: tuple[Path, list[Trained]], home: Settings) -> Stock:
    shutil.copytree(published[0], home.home, dirs_exist_ok=True)
    return Stock(home, *(each.card.version for each in published[1]))


def run(home: Settings, *arguments: str) -> Result:
    env = {"KAIROS_HOME": str(home.home), "KAIROS_MLFLOW_URI": home.mlflow_uri, "KAIROS_USER": home.user}
    return CliRunner(env=env | {"COLUMNS": "200"}).invoke(kairos.app, ["models", *arguments])


def said(home: Settings, *arguments: str) -> str:
    result = run(home, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(home: Settings, *arguments: str) -> KairosError:
    """What `kairos` prints in red."""
    error = run(home, *arguments).exception
    assert isinstance(error, KairosError)
    return error


def champion(home: Settings) -> str:
    return bundle.champion(home.models, "synthetic").version


# -- looking -----------------------------------------------------------------------------------------------------------


def put(home: Settings, card: Card, **changed: Any) -> Card:
    """A card with a folder of its own: all that a listing reads."""
    made = msgspec.structs.replace(card, **changed)
    folder = home.models / made.problem / made.version
    folder.mkdir(parents=True)
    save_card(made, folder / "card.json")
    return made


def test_every_kind_is_listed_by_the_figure_it_is_judged_by(fitted: pipeline.Fitted, home: Settings) -> None:
    gini = Metric(name="gini", value=0.7612, low=0.74, high=0.78)
    error = Metric(name="mae", value=12.5, low=12.0, high=13.0, higher_is_better=False)
    qini = Metric(name="qini", value=0.0123, low=0.002, high=0.02)
    put(home, fitted.card, problem="clv", version="1", kind="regression", metrics=(error, gini), unit="EUR")
    put(home, fitted.card, problem="test", version="2", kind="uplift", metrics=(qini,))
    put(home, fitted.card, problem="odd", version="3", kind="uplift", metrics=())
    shown = said(home)
    assert "gini 0.7612 [0.7400, 0.7800]" in shown and "qini 0.0123" in shown
    listed = json.loads(said(home, "list", "--json"))
    assert [(each["problem"], each["kind"], each["champion"]) for each in listed] == [
        ("clv", "regression", False),
        ("odd", "uplift", False),
        ("test", "uplift", False),
    ]
    assert "regression, EUR" in said(home, "show", "clv", "--version", "1")


def test_what_cannot_be_read_is_named_and_passed_over(fitted: pipeline.Fitted, home: Settings) -> None:
    """A card of an older schema, a damaged one, a damaged pointer: the others are listed all the same."""
    put(home, fitted.card, version="1-good")
    for version, text in (("0-old", '{"schema_version": 1, "problem": "synthetic"}'), ("2-torn", '{"schema')):
        (home.models / "synthetic" / version).mkdir()
        (home.models / "synthetic" / version / "card.json").write_text(text)
    put(home, fitted.card, problem="other", version="1")
    (home.models / "other" / "champion.json").write_text("{")
    result = run(home, "list")
    assert result.exit_code == 0 and "1-good" in result.stdout and "2-torn" not in result.stdout
    for name in ("synthetic/0-old", "synthetic/2-torn", "other:"):
        assert f"passed over {name}" in result.stderr
    json.loads(said(home, "list", "--json"))
    assert [card.version for card, _ in bundle.cards(home.models)] == ["1", "1-good"]


def test_no_models_say_what_to_do(home: Settings) -> None:
    assert "kairos train all" in said(home)
    assert json.loads(said(home, "list", "--json")) == [] and said(home, "log").startswith("No champion")


def test_show_tells_all_that_a_sceptic_asks(fitted: pipeline.Fitted, home: Settings) -> None:
    spoken = (Refused(column="duration", code="too_good_alone", reason="It is known only after the call."),)
    put(home, fitted.card, version="1", limits=("No send hour was drawn at random.",), columns=spoken, split="random")
    shown = " ".join(said(home, "show", "synthetic", "--version", "1").split())
    for each in (fitted.card.question, fitted.card.calibration.method, "trees", "KT101", "at random", "duration"):
        assert each in shown
    assert "No send hour was drawn at random." in shown and "It is known only after the call." in shown
    with pytest.raises(NotFound, match="choose one of: 1"):
        raise refusal(home, "show", "synthetic", "--version", "9")


def test_two_versions_side_by_side(fitted: pipeline.Fitted, refused: pipeline.Fitted, home: Settings) -> None:
    a, b = put(home, fitted.card, version="1"), put(home, refused.card, version="2", features=fitted.card.features[1:])
    found = json.loads(said(home, "compare", "synthetic", "1", "2", "--json"))
    auc = next(each for each in found["metrics"] if each["name"] == "auc")
    assert (auc["a"]["value"], auc["b"]["value"]) == (a.metric("auc").value, b.metric("auc").value)
    assert auc["a"]["low"] < auc["a"]["value"] < auc["a"]["high"]
    assert found["same_rows"] is False and found["features"]["only_a"] == ["x:a"] and found["features"]["only_b"] == []
    outcome = {each["code"]: (each["a"], each["b"]) for each in found["gates"]}
    assert outcome["KT101"] == ("passed", "failed")
    shown = said(home, "compare", "synthetic", "1", "2")
    assert "on other rows each" in shown and "Only in 1: x:a." in shown
    assert "on the same rows" in said(home, "compare", "synthetic", "1", "1")


# -- choosing ----------------------------------------------------------------------------------------------------------


def test_training_promotes_and_says_so_on_the_record(
    published: tuple[Path, list[Trained]], stock: Stock, home: Settings
) -> None:
    assert [each.promoted for each in published[1]] == [True, True, True, False] and champion(home) == stock.three
    first, second, _, last = promotion.changes(home, "synthetic")
    assert (first.what, first.version, first.before) == ("a model was promoted", stock.one, "")
    assert first.who == "ann" and first.at.date() == NOW.date() and "no gate refused" in first.why
    assert (second.version, second.before) == (stock.two, stock.one)
    assert (last.what, last.version) == ("a model was not promoted", stock.refused) and "gate KT101" in last.why
    listed = {each["version"]: each for each in json.loads(said(home, "list", "--json"))}
    assert [version for version, each in listed.items() if each["champion"]] == [stock.three]
    assert all(each["unsent"] for each in listed.values()) and "KT101" in listed[stock.refused]["refused_by"]
    assert "refused by KT101" in said(home) and "4: `kairos models send`" in said(home)


def test_no_one_gets_round_the_gates(fitted: pipeline.Fitted, stock: Stock, home: Settings) -> None:
    error = refusal(home, "promote", "synthetic", stock.refused, "--why", "the boss says so")
    assert isinstance(error, GateRefused) and "KT101" in str(error) and stock.refused in str(error)
    assert champion(home) == stock.three and len(promotion.changes(home)) == 4
    failed = GateFinding("KT999", "is pretty", "warn", "failed", "2 of 10")
    put(home, fitted.card, version="9-warned", gates=(failed,))
    promotion.allow(bundle.card(home.models, "synthetic", "9-warned"))


def test_promote_and_roll_back_with_who_when_and_why(stock: Stock, home: Settings) -> None:
    result = run(home, "rollback", "synthetic", "--why", "complaints since Monday")
    assert result.exit_code == 0 and f"{stock.two} is champion" in result.stdout
    assert "kairos models send" in result.stderr, "MLflow could not be told"
    assert champion(home) == stock.two
    back = said(home, "rollback", "synthetic", "--why", "still", "--who", "bob@desk")
    assert f"{stock.one} is champion" in back
    error = refusal(home, "rollback", "synthetic", "--why", "more")
    assert isinstance(error, NotFound) and "no former champion" in str(error)
    told = json.loads(said(home, "promote", "synthetic", stock.three, "--why", "mended", "--json"))
    assert told["change"]["version"] == stock.three and told["change"]["before"] == stock.one
    pointer = read_champion(home.models / "synthetic")
    assert pointer is not None and pointer.former == (stock.one,), "who was rolled back is no former champion"
    lines = json.loads(said(home, "log", "synthetic", "--json"))[4:]
    assert [(each["what"], each["version"], each["before"], each["who"], each["why"]) for each in lines] == [
        ("a model was rolled back", stock.two, stock.three, "ann", "complaints since Monday"),
        ("a model was rolled back", stock.one, stock.two, "bob@desk", "still"),
        ("a model was promoted", stock.three, stock.one, "ann", "mended"),
    ]
    assert "complaints since Monday" in said(home, "log") and json.loads(said(home, "log", "churn", "--json")) == []


def test_rolling_back_further_than_one(stock: Stock, home: Settings) -> None:
    error = refusal(home, "rollback", "synthetic", "--to", "1-2345", "--why", "x")
    assert isinstance(error, InvalidInput) and f"choose one of: {stock.two}, {stock.one}" in str(error)
    said(home, "rollback", "synthetic", "--to", stock.one, "--why", "the last good one")
    assert champion(home) == stock.one and promotion.changes(home)[-1].before == stock.three
    models = Models(home.models)
    models.refresh()
    assert models.get("synthetic").card.version == stock.one


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("promote", "synthetic", "champion", "--why", "x"), InvalidInput, "is the champion already"),
        (("promote", "synthetic", "nobody", "--why", "x"), NotFound, "nobody"),
        (("promote", "synthetic", "challenger", "--why", "x"), GateRefused, "KT101"),
        (("promote", "churn", "1", "--why", "x"), NotFound, "churn"),
        (("rollback", "churn", "--why", "x"), NotFound, "has no model"),
        (("rollback", "synthetic", "--why", "  "), InvalidInput, "stands on the record"),
        (("compare", "synthetic", "champion", "1"), NotFound, "choose one of"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], kind: type[KairosError], says: str, stock: Stock, home: Settings
) -> None:
    error = refusal(home, *arguments)
    assert isinstance(error, kind) and says in str(error)
    assert champion(home) == stock.three and len(promotion.changes(home)) == 4
    assert {each.name for each in home.models.iterdir()} == {"synthetic"}


def test_a_change_needs_a_reason(stock: Stock, home: Settings) -> None:
    result = run(home, "rollback", "synthetic")
    assert result.exit_code == 2 and "--why" in result.stderr and champion(home) == stock.three


def test_a_champion_that_is_the_newest_has_no_challenger(fitted: pipeline.Fitted, home: Settings) -> None:
    put(home, fitted.card, version="1")
    bundle.point(home.models, "synthetic", "1")
    error = refusal(home, "promote", "synthetic", "challenger", "--why", "x")
    assert isinstance(error, NotFound) and "has no challenger" in str(error)
    assert bundle.aliases(home.models, "synthetic") == {"champion": "1", "challenger": ""}


def test_without_its_record_nothing_changes(stock: Stock, home: Settings) -> None:
    """The ledger is away: who is champion stays, on disk and in what is kept for MLflow."""
    notes = (home.home / "pending" / "synthetic" / "aliases.json").read_bytes()
    away = dataclasses.replace(home, ledger_url="postgresql+psycopg://nobody@127.0.0.1:9/none")
    with pytest.raises(Unavailable):
        promotion.rollback("synthetic", "why not", away)
    assert champion(home) == stock.three
    assert (home.home / "pending" / "synthetic" / "aliases.json").read_bytes() == notes


# -- and MLflow --------------------------------------------------------------------------------------------------------


def test_mlflow_follows_and_bears_who_when_and_why(stock: Stock, home: Settings) -> None:
    """Away at first, then there: what was kept is sent, and each later change is told at once."""
    from mlflow import MlflowClient

    there = dataclasses.replace(home, mlflow_uri="")
    sent = json.loads(said(there, "send", "--json"))
    assert set(sent["sent"]) == {f"synthetic/{each}" for each in stock[1:]} and sent["faults"] == {}
    assert json.loads(said(there, "send", "--json")) == {"sent": {}, "faults": {}}
    client, name = MlflowClient(tracking_uri=there.tracking_uri), track.model_name("synthetic")

    def alias(which: str) -> Any:
        return client.get_model_version_by_alias(name, which).tags

    assert alias("champion")[track.VERSION_TAG] == stock.three
    assert alias("challenger")[track.VERSION_TAG] == stock.refused
    assert "KT101" in alias("challenger")["kairos.not_promoted.why"]
    told = json.loads(said(there, "rollback", "synthetic", "--why", "complaints", "--json"))
    assert told["unsent"] == "" and alias("champion")[track.VERSION_TAG] == stock.two
    tags = alias("champion")
    assert (tags["kairos.rolled_back.by"], tags["kairos.rolled_back.why"]) == ("ann", "complaints")
    assert tags["kairos.rolled_back.at"].startswith("2026-06-01T12:") and tags["kairos.promoted.by"] == "ann"
