"""What makes a folder with `model.txt` an MLflow model: `MLmodel` and the environment that it needs. No pickle.

`mlflow.lightgbm.load_model` gives the booster; `mlflow.pyfunc` predicts LightGBM's own answer, which `card.json` then
calibrates: serving answers from text and card, MLflow is for whoever wants to look.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from features.kernel.card import load_card
from training.registry.environment import requirements
from training.registry.record import Record

__all__ = ["FOLDER", "write"]

FOLDER = "model"
"""Where in a run's artifacts the model lies."""


def write(folder: Path, record: Record) -> None:
    """Write `MLmodel`, `requirements.txt` and `python_env.yaml` beside `model.txt` and `card.json`."""
    (folder / "requirements.txt").write_text(requirements(), encoding="utf-8")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")
    told = yaml.safe_dump(_mlmodel(folder, record), sort_keys=False, allow_unicode=True)
    (folder / "MLmodel").write_text(told, encoding="utf-8")


def _mlmodel(folder: Path, record: Record) -> dict[str, Any]:
    card = load_card(folder / "card.json")
    return {
        "artifact_path": FOLDER,
        "run_id": record.run_id,
        "utc_time_created": card.trained_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "mlflow_version": version("mlflow"),
        "flavors": {
            "lightgbm": {
                "lgb_version": version("lightgbm"),
                "data": "model.txt",
                "model_class": "lightgbm.basic.Booster",
            },
            "python_function": {
                "loader_module": "mlflow.lightgbm",
                "env": {"virtualenv": "python_env.yaml"},
                "python_version": platform.python_version(),
            },
            "kairos": {"model": "model.txt", "card": "card.json", "version": card.version},
        },
        "signature": {**record.signature, "params": None},
        "metadata": {"problem": card.problem, "version": card.version, "model_sha256": card.model_sha256},
    }
