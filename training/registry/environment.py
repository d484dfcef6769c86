"""With which Python, libraries and source a model was made: what to look at when making it again gives another one."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

__all__ = ["Environment", "environment", "requirements"]

_DECIDE = ("lightgbm", "numpy", "scipy", "scikit-learn", "optuna", "polars", "pandas")
"""Libraries whose version may change a model or its figures."""
_TOLD = (*_DECIDE, "mlflow", "shap", "feast", "duckdb", "msgspec", "kairos-marketing")
_ROOT = Path(__file__).resolve().parent.parent


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What ran when a model was made."""

    python: str
    machine: str
    """Processor and system, `x86_64 Linux`."""
    libraries: dict[str, str]
    commit: str = ""
    """Of the source, where it is a git checkout."""

    def differences(self, other: Environment) -> list[str]:
        """What of it may make another model in `other`, a sentence each."""
        told = [("Python", self.python, other.python), ("machine", self.machine, other.machine)]
        told += [(name, self.libraries.get(name, ""), other.libraries.get(name, "")) for name in _DECIDE]
        found = [
            f"{name} was {mine or 'absent'} and is {theirs or 'absent'}"
            for name, mine, theirs in told
            if mine != theirs
        ]
        if self.commit and other.commit and self.commit != other.commit:
            found.append(f"the source was at commit {self.commit[:12]} and is at {other.commit[:12]}")
        return found


def environment() -> Environment:
    """Of this process."""
    return Environment(
        python=platform.python_version(),
        machine=f"{platform.machine()} {platform.system()}",
        libraries={name: found for name in _TOLD if (found := _version(name))},
        commit=_commit(),
    )


def requirements() -> str:
    """A `requirements.txt` with what loads and runs the model in MLflow's LightGBM flavour."""
    names = ("mlflow", "lightgbm", "numpy", "pandas", "scipy", "scikit-learn")
    return "".join(f"{name}=={found}\n" for name in names if (found := _version(name)))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    git = shutil.which("git")
    if git is None or not (_ROOT / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            [git, "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
