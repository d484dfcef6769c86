"""`kairos decide` against a running service, and `kairos learn` on what it journaled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

import kairos
from features.kernel.clock import now
from features.kernel.errors import InvalidInput, KairosError, NotFound, Unavailable
from features.kernel.ledger import Ledger
from features.kernel.records import Outcome
from features.kernel.settings import Settings
from serving.app import create_app
from serving.testing import listening

KEY = "secret"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a real service without models and without a store: it decides on the rung `prior`."""
    home = tmp_path_factory.mktemp("decisions")
    settings = Settings(home=home, redis_url="redis://127.0.0.1:1/0", api_key=KEY)
    with listening(create_app(settings)) as url:
        yield {"KAIROS_HOME": str(home), "KAIROS_PORT": str(urlsplit(url).port), "KAIROS_API_KEY": KEY}


def kairos_(env: dict[str, str], *arguments: str) -> Result:
    return CliRunner(env=env | {"COLUMNS": "160", "NO_COLOR": "1"}).invoke(kairos.app, list(arguments))


def answer(env: dict[str, str], *arguments: str) -> Any:
    result = kairos_(env, *arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_a_decision_is_asked_for_and_journaled(served: dict[str, str]) -> None:
    first = answer(served, "decide", "win_back", "c00042", "--request-id", "r1")
    assert first["action"] in first["pmf"] and first["rung"] == "prior" and first["request_id"] == "r1"
    assert answer(served, "decide", "win_back", "c00042", "--request-id", "r1") == first
    ledger = Ledger(Settings(home=Path(served["KAIROS_HOME"])).ledger)
    assert ledger.decision(request_id="r1").decision_id == first["decision_id"]  # type: ignore[union-attr]
    ledger.close()
    shown = kairos_(served, "decide", "win_back", "c00042").stdout
    assert "c00042: none" in shown and "no email consent" in shown


@pytest.mark.parametrize(
    ("arguments", "env", "error", "message"),
    [
        (("winback", "c1"), {}, NotFound, "choose one of: "),
        (("win_back",), {}, InvalidInput, "customer: is missing; write kairos decide win_back CUSTOMER"),
        (("win_back", "c1"), {"KAIROS_PORT": "1"}, Unavailable, "start it with `kairos up`"),
        (("win_back", "c1", "--url", "localhost"), {}, InvalidInput, "must begin with http"),
        (("win_back", "other", "--request-id", "r-taken"), {}, InvalidInput, "was used before for another customer"),
        (("win_back", "c1"), {"KAIROS_API_KEY": "wrong"}, InvalidInput, ""),
    ],
)
def test_what_goes_wrong_is_said(
    served: dict[str, str], arguments: tuple[str, ...], env: dict[str, str], error: type[KairosError], message: str
) -> None:
    answer(served, "decide", "win_back", "someone", "--request-id", "r-taken")
    result = kairos_(served | env, "decide", *arguments)
    assert isinstance(result.exception, error) and message in str(result.exception)


def test_points_need_no_service(tmp_path: Path) -> None:
    points = {each["name"]: each for each in answer({"KAIROS_HOME": str(tmp_path)}, "decide", "points")}
    point = points["win_back"]
    assert point["actions"] == ["none", "reminder", "discount"] and point["reward"] == {
        "kind": "order",
        "within_days": 7.0,
    }
    shown = kairos_({"KAIROS_HOME": str(tmp_path)}, "decide", "points").stdout
    assert "holdout 20% (split), split 30% (split), bandit 50% (thompson)" in shown


def test_learning_the_verdict_and_replay(served: dict[str, str]) -> None:
    decided = [answer(served, "decide", "win_back", f"p{i}") for i in range(12)]
    ledger = Ledger(Settings(home=Path(served["KAIROS_HOME"])).ledger)
    ledger.append_outcomes(
        [
            Outcome(
                outcome_id=each["decision_id"], decision_id=each["decision_id"], kind="order", value=1.0,
                occurred_at=datetime.fromisoformat(each["decided_at"]).astimezone(UTC),
            )
            for each in decided
        ]
    )  # fmt: skip
    later = (now() + timedelta(days=8)).isoformat()
    assert "Nothing to learn" in kairos_(served, "learn").stdout
    [state] = answer(served, "learn", "--point", "win_back", "--as-of", later)
    assert state["version"] == 1 and sum(state["pmf"].values()) == pytest.approx(1)
    found = answer(served, "learn", "verdict", "win_back", "--as-of", later)
    assert sum(group["conversions"] for group in found["groups"]) == 12 and found["waiting"] == 0
    shown = kairos_(served, "learn", "verdict", "win_back", "--as-of", later).stdout
    assert "Does learning beat a fixed split?" in shown and "holdout" in shown
    assert answer(served, "learn", "replay", "win_back") == {
        "point": "win_back", "versions": {"thompson": 1}, "different": [],
    }  # fmt: skip
    with ledger.transaction() as connection:
        connection.execute(text('UPDATE states SET row = replace(row, \'"arms":{\', \'"arms":{"x":[9.0,9.0]\')'))
    ledger.close()
    result = kairos_(served, "learn", "replay", "win_back")
    assert result.exit_code == 1 and "Different: thompson 1" in result.stdout
