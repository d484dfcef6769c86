"""Settings: read once, a mistake named, and whole when handed to another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.demo.command import fresh_home
from features.kernel.errors import InvalidInput, InvalidSetting
from features.kernel.settings import Settings


def test_an_environment_is_read_back_as_it_was() -> None:
    chosen = Settings(home=Path("/tmp/somewhere"), port=9000, api_key="secret", score_log_share=0.25)
    assert Settings.from_env(chosen.environment()) == chosen


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("KAIROS_REDDIS_URL", "x", "did you mean KAIROS_REDIS_URL"),
        ("KAIROS_PORT", "eighty", "whole number"),
        ("KAIROS_PORT", "70000", "1 to 65535"),
        ("KAIROS_SCORE_LOG_SHARE", "1.5", r"\[0, 1\]"),
        ("KAIROS_QUEUE_SIZE", "0", "positive"),
        ("KAIROS_NOW", "yesterday", "ISO 8601"),
        ("KAIROS_NOW", "2026-01-01T00:00:00", "time zone"),
    ],
)
def test_a_bad_value_names_key_value_and_remedy(name: str, value: str, says: str) -> None:
    with pytest.raises(InvalidSetting, match=says) as raised:
        Settings.from_env({name: value})
    assert name in str(raised.value) and value in str(raised.value)


def test_a_demo_reaches_nothing_of_a_real_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://registry.example:5000")
    real = Settings(home=tmp_path, ledger_url="postgresql+psycopg://ledger.example/kairos", api_key="secret")
    demo = fresh_home(real, "demo")
    assert demo.home == tmp_path / "demo" and str(demo.home) in demo.ledger and str(demo.home) in demo.tracking_uri
    child = Settings.from_env(real.environment() | demo.environment())
    assert (child.ledger, child.tracking_uri, child.api_key) == (demo.ledger, demo.tracking_uri, "")


def test_a_demo_empties_no_folder_but_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "demo"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="was not made by a demo"):
        fresh_home(Settings(home=tmp_path), "demo")
    assert (mine / "thesis.txt").exists()
