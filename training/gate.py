"""A gate: one check between a trained model and the alias `champion`, in one file of `training/gates/`.

`gate = Gate(...)` is all a file needs. A check answers that it passed, that it failed, or that it does not apply, with
a sentence that holds the figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from training.evaluate import Evaluation
from training.trainingset import TrainingSet

__all__ = ["Answer", "Evidence", "Finding", "Gate", "does_not_apply", "failed", "passed"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All a gate may look at."""

    data: TrainingSet
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found, in a sentence that holds the figure."""

    outcome: Literal["passed", "failed", "does not apply"]
    figure: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate said of one model."""

    code: str
    title: str
    severity: Literal["refuse", "warn"]
    outcome: Literal["passed", "failed", "does not apply"]
    figure: str

    @property
    def refuses(self) -> bool:
        """Whether the model must not be promoted."""
        return self.outcome == "failed" and self.severity == "refuse"


@dataclass(frozen=True, slots=True)
class Gate:
    """A check with its name. `refuse`: who fails is not promoted; `warn`: who fails is, and the run says so."""

    code: str
    title: str
    severity: Literal["refuse", "warn"]
    check: Callable[[Evidence], Answer]

    def judge(self, evidence: Evidence) -> Finding:
        """The gate's finding on a model."""
        answer = self.check(evidence)
        return Finding(self.code, self.title, self.severity, answer.outcome, answer.figure)


def passed(figure: str) -> Answer:
    """The model does what the gate asks."""
    return Answer("passed", figure)


def failed(figure: str) -> Answer:
    """The model does not do what the gate asks."""
    return Answer("failed", figure)


def does_not_apply(why: str) -> Answer:
    """The question makes no sense for this model."""
    return Answer("does not apply", why)
