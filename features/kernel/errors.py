"""Every error Kairos raises on purpose, in one tree.

    KairosError
    ├── InvalidInput          what was given cannot be right; nothing was changed
    │   ├── InvalidEvent      an event breaks the contract of `features.kernel.events`
    │   ├── InvalidRecipe     a recipe or its table cannot be read as events or snapshots
    │   └── InvalidSetting    a setting or environment variable has a value that makes no sense
    ├── Conflict              the same id was used before with another body
    ├── NotFound              the thing named does not exist here (a problem, a decision, a model)
    ├── Busy                  the service cannot take more now; try again after `retry_after` seconds
    ├── Unavailable           a dependency (store, ledger, registry) cannot be reached
    ├── NotEnoughData         a problem cannot be learnt from these data, and the message says what is missing
    ├── GateRefused           a trained model was not promoted; the message names the gate and its figure
    └── QualityBreach         a run's feature values are not what is expected of them; nothing of it was written

Each carries the `field` and `value` at fault and a `remedy`, so that a message can say all three.
"""

from __future__ import annotations

__all__ = [
    "Busy",
    "Conflict",
    "GateRefused",
    "InvalidEvent",
    "InvalidInput",
    "InvalidRecipe",
    "InvalidSetting",
    "KairosError",
    "NotEnoughData",
    "NotFound",
    "QualityBreach",
    "Unavailable",
]

_SHOWN = 80


class KairosError(Exception):
    """Base of the tree; `str()` gives one sentence with field, value and remedy.

    >>> print(InvalidInput("must be positive", field="amount", value=-3, remedy="send refunds as type 'refund'"))
    amount: must be positive (got -3); send refunds as type 'refund'
    """

    def __init__(
        self, message: str, *, field: str | None = None, value: object = None, remedy: str | None = None
    ) -> None:
        self.message = message
        self.field = field
        self.value = value
        self.remedy = remedy
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{self.field}: {self.message}" if self.field else self.message
        if self.value is not None:
            shown = repr(self.value)
            text += f" (got {shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + '…'})"
        return f"{text}; {self.remedy}" if self.remedy else text


class InvalidInput(KairosError):
    """What was given cannot be right; nothing was changed."""


class InvalidEvent(InvalidInput):
    """An event breaks the contract of `features.kernel.events`."""


class InvalidRecipe(InvalidInput):
    """A recipe, or the table it describes, cannot be read as events or snapshots."""


class InvalidSetting(InvalidInput):
    """A setting or environment variable has a value that makes no sense."""


class Conflict(KairosError):
    """The same id was used before with another body."""


class NotFound(KairosError):
    """The thing named does not exist here."""


class Busy(KairosError):
    """The service cannot take more now; try again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, remedy=f"try again after {retry_after:g} s")
        self.retry_after = retry_after


class Unavailable(KairosError):
    """A dependency cannot be reached."""


class NotEnoughData(KairosError):
    """A problem cannot be learnt from these data; the message says what is missing."""


class GateRefused(KairosError):
    """A trained model was not promoted; the message names the gate and its figure."""


class QualityBreach(KairosError):
    """A run's feature values are not what is expected of them; nothing of it was written."""
