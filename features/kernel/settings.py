"""Settings: read once from the environment, frozen, each under the prefix `KAIROS_`."""

from __future__ import annotations

import difflib
import getpass
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from features.kernel.clock import parse_instant
from features.kernel.errors import InvalidSetting

__all__ = ["Settings", "quiet_libraries"]

PREFIX = "KAIROS_"
_READ_ELSEWHERE = {"KAIROS_NOW": "the clock", "KAIROS_SOURCE_URL": "kairos import"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment may choose. Each field is the environment variable `KAIROS_<NAME>`."""

    home: Path = Path(".kairos")
    """Folder of everything Kairos keeps: ledger, offline features, models, MLflow."""
    ledger_url: str = ""
    """SQLAlchemy URL of the ledger; empty means SQLite in `home`."""
    redis_url: str = ""
    """`redis://host:port/db` of the online store; empty means a child process of Kairos."""
    mlflow_uri: str = ""
    """MLflow tracking URI; empty means `MLFLOW_TRACKING_URI`, else SQLite in `home`."""
    host: str = "127.0.0.1"
    port: int = 8321
    api_key: str = ""
    """When set, requests must carry it as `Authorization: Bearer …`."""
    salt: str = "kairos"
    """Salt of the sticky draws; changing it reshuffles every split and holdout."""
    skew_seconds: int = 300
    """How far in the future an event may be dated before it is quarantined."""
    late_days: int = 30
    """How late an event may be received and still correct online features at once; later ones wait for materialise."""
    score_log_share: float = 1.0
    """Share of served scores that is logged with its feature vector, for drift and audit."""
    feature_ttl_hours: int = 48
    """Age beyond which online features answer on the rung `stale`."""
    queue_size: int = 10_000
    """Events that may wait for their features to be recomputed before more are refused with 429."""
    user: str = ""
    """Who is named on the record of what changes a model; empty means `user@host`."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Raises:
            InvalidSetting: a variable is unknown or its value makes no sense; names key, value and remedy.
        """
        env = os.environ if env is None else env
        known = {PREFIX + each.name.upper(): each for each in fields(cls)}
        values: dict[str, object] = {}
        for key in sorted(key for key in env if key.startswith(PREFIX) and key not in _READ_ELSEWHERE):
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                raise InvalidSetting(
                    "is no setting of Kairos",
                    field=key,
                    value=env[key],
                    remedy=f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}",
                )
            field = known[key]
            values[field.name] = _PARSERS[str(field.type)](key, env[key])
        if env.get("KAIROS_NOW"):
            parse_instant(env["KAIROS_NOW"], field="KAIROS_NOW")
        return cls(**values)._checked()  # type: ignore[arg-type]

    def _checked(self) -> Settings:
        if not 0.0 <= self.score_log_share <= 1.0:
            raise InvalidSetting("must lie in [0, 1]", field="KAIROS_SCORE_LOG_SHARE", value=self.score_log_share)
        if not 0 < self.port < 65536:
            raise InvalidSetting("must be a port, 1 to 65535", field="KAIROS_PORT", value=self.port)
        for name in ("skew_seconds", "late_days", "feature_ttl_hours", "queue_size"):
            if getattr(self, name) <= 0:
                raise InvalidSetting("must be positive", field=PREFIX + name.upper(), value=getattr(self, name))
        return self

    def environment(self) -> dict[str, str]:
        """Every setting as its variable: a process started with these has no setting from elsewhere."""
        return {PREFIX + each.name.upper(): str(getattr(self, each.name)) for each in fields(self)}

    @property
    def ledger(self) -> str:
        """The ledger's SQLAlchemy URL."""
        return self.ledger_url or f"sqlite:///{self.home.resolve() / 'ledger.sqlite'}"

    @property
    def tracking_uri(self) -> str:
        """The MLflow tracking URI: ours, else MLflow's own variable, else SQLite in `home`."""
        default = f"sqlite:///{self.home.resolve() / 'mlflow.sqlite'}"
        return self.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI", "") or default

    @property
    def who(self) -> str:
        """Who runs this, for the record: `user`, else the account and the machine."""
        return self.user or f"{_account()}@{socket.gethostname()}"

    @property
    def models(self) -> Path:
        """Folder of served model bundles: `<problem>/<version>/{model.txt,card.json,reference.parquet}`."""
        return self.home / "models"

    @property
    def offline(self) -> Path:
        """Folder of the offline feature store's Parquet files, one folder a view."""
        return self.home / "offline"

    @property
    def history(self) -> Path:
        """Folder of the columnar event history, rebuilt from the ledger or written at import."""
        return self.home / "history"

    @property
    def reports(self) -> Path:
        """Folder of drift reports and plots."""
        return self.home / "reports"


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need have no name
        return str(os.getuid())


def _whole(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidSetting("must be a whole number", field=key, value=text) from None


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidSetting("must be a number", field=key, value=text) from None


_PARSERS: dict[str, Callable[[str, str], object]] = {
    "Path": lambda _, text: Path(text).expanduser(),
    "str": lambda _, text: text,
    "int": _whole,
    "float": _number,
}


def quiet_libraries() -> None:
    """Turn off usage reports and progress bars of the libraries behind the doors; call before importing any of them."""
    for key, value in {
        "FEAST_USAGE": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "EVIDENTLY_DISABLE_TELEMETRY": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }.items():
        os.environ.setdefault(key, value)
