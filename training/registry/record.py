"""What MLflow is to be told of a model, as data: written to disk before MLflow is asked, so that nothing can be lost.

One record, one run: parameters, figures, tags, the training set's splits as dataset inputs, and the tuning trials, each
of which becomes a child run. The files lie beside it.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import msgspec
import numpy as np

from features.kernel.card import Card
from features.kernel.clock import now, to_micros
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from training.evaluation.result import Evaluation
from training.fitted import Fitted, Trial
from training.registry.environment import Environment
from training.registry.splitwise import figures
from training.trainingset import Split, TrainingSet

__all__ = ["Input", "Record", "inputs", "load", "save", "write"]

_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One split of the training set, as MLflow describes a dataset."""

    name: str
    context: str
    """`training`, `validation` or `testing`."""
    digest: str
    """The first 32 hexadecimal digits of the SHA-256 over its rows."""
    source: str
    """JSON of the origin."""
    schema: str
    profile: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    id: str
    """By which a run that was begun is found again."""
    problem: str
    version: str
    at: int
    """Milliseconds since 1970 at which it was trained; every figure bears it, so that sending twice logs once."""
    headline: str
    signature: dict[str, str]
    """MLflow's `inputs` and `outputs`, JSON each."""
    parameters: dict[str, str]
    figures: dict[str, float]
    tags: dict[str, str]
    inputs: tuple[Input, ...]
    trials: tuple[Trial, ...] = ()
    run_id: str = ""
    """The MLflow run, once there is one, and the tracking URI where it is."""
    uri: str = ""


def write(found: Fitted, card: Card, made_with: Environment, settings: Settings) -> Record:
    """The record of a model that is about to be published as `card.version`."""
    return Record(
        id=uuid.uuid4().hex,
        problem=card.problem,
        version=card.version,
        at=to_micros(now()) // 1000,
        headline=card.headline,
        signature={"inputs": _columns(found.data), "outputs": _text([{"type": "double", "required": True}])},
        parameters=_parameters(card),
        figures=_judged(found.evaluation) | figures(found) | {"validation.loss": found.model.validation_loss},
        tags=_tags(card, made_with, settings),
        inputs=inputs(found.data),
        trials=found.trials,
        run_id=card.run_id,
    )


def inputs(data: TrainingSet) -> tuple[Input, ...]:
    """The splits of a training set as MLflow describes data sets, each with the hash of its rows."""
    return tuple(_input(data, name, split) for name, split in data.splits.items())


def save(record: Record, path: Path) -> None:
    """Write it whole or not at all."""
    whole = path.with_name(f".{path.name}")
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    whole.replace(path)


def load(path: Path) -> Record:
    """Read it back.

    Raises:
        InvalidInput: it is no record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (msgspec.MsgspecError, OSError) as error:
        raise InvalidInput(f"is no record of a model: {error}", field=str(path), remedy="train it again") from error


def _parameters(card: Card) -> dict[str, str]:
    asked = {"problem": card.problem, "kind": card.kind, "source": card.source, "horizon_days": card.horizon_days}
    made = {"learner": card.learner, "rounds": card.rounds, "calibration": card.calibration.method, "split": card.split}
    return {name: str(value) for name, value in (asked | made | card.parameters).items()}


def _judged(evaluation: Evaluation) -> dict[str, float]:
    found = {"gain": evaluation.gain.value, "gain.low": evaluation.gain.low, "gain.high": evaluation.gain.high}
    for metric in evaluation.metrics:
        found |= {metric.name: metric.value, f"{metric.name}.low": metric.low, f"{metric.name}.high": metric.high}
        if metric.baseline is not None:
            found[f"{metric.name}.baseline"] = metric.baseline
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _tags(card: Card, made_with: Environment, settings: Settings) -> dict[str, str]:
    told = {
        "problem": card.problem,
        "kind": card.kind,
        "version": card.version,
        "data_hash": card.data_hash,
        "model_sha256": card.model_sha256,
        "headline": card.headline,
        "mlflow.note.content": "\n\n".join([card.question, card.headline, *card.limits]),
        "mlflow.source.name": "kairos",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": settings.who,
    }
    if made_with.commit:
        told["mlflow.source.git.commit"] = made_with.commit
    return told | {f"gate.{each.code}": f"{each.outcome}: {each.figure}" for each in card.gates}


def _input(data: TrainingSet, name: str, split: Split) -> Input:
    profile = {
        "num_rows": len(split),
        "num_people": len(np.unique(split.person)),
        "mean_label": float(split.y.mean()) if len(split) else None,
        "first_as_of": str(split.as_of.min()) if len(split) else None,
        "last_as_of": str(split.as_of.max()) if len(split) else None,
    }
    return Input(
        name=f"{data.problem.name} {name}",
        context=_CONTEXTS[name],
        digest=_digest(split),
        source=_text(data.origin),
        schema=f'{{"mlflow_colspec":{_columns(data)}}}',
        profile=_text(profile),
    )


def _columns(data: TrainingSet) -> str:
    """MLflow's column specification: a category is its code; `double` takes float32, whole numbers and missing ones."""
    return _text([{"type": "double", "name": each, "required": True} for each in data.columns])


def _digest(split: Split) -> str:
    found = hashlib.sha256("\n".join(split.person.tolist()).encode())
    for array in (split.x, split.y, split.as_of.astype("int64"), split.weight, split.arm, split.propensity):
        if array is not None:
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:32]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
