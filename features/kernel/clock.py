"""The one source of time. `KAIROS_NOW` sets its origin, so that a demo on data of 2011 lives in 2011.

Time starts at the origin when the process starts and runs on from there at its usual pace.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

from features.kernel.errors import InvalidSetting

__all__ = ["Clock", "from_micros", "now", "parse_instant", "set_origin", "to_micros"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_instant(text: str, *, field: str) -> datetime:
    """An ISO 8601 instant with a time zone, in UTC.

    Raises:
        InvalidSetting: it cannot be read, or names no time zone.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidSetting(
            "is no ISO 8601 instant", field=field, value=text, remedy="write it like 2011-09-10T00:00:00Z"
        ) from None
    if instant.tzinfo is None:
        raise InvalidSetting("names no time zone", field=field, value=text, remedy="add Z or an offset")
    return instant.astimezone(UTC)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact.

    >>> to_micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`."""
    return _EPOCH + timedelta(microseconds=micros)


class Clock:
    """A clock that started at `origin` (now, if None) when it was made."""

    def __init__(self, origin: datetime | None = None) -> None:
        self._origin = origin or datetime.now(UTC)
        self._started = time.monotonic()

    def now(self) -> datetime:
        """The present instant, UTC, microseconds."""
        return self._origin + timedelta(seconds=time.monotonic() - self._started)


def _clock_of_the_environment() -> Clock:
    text = os.environ.get("KAIROS_NOW")
    return Clock(parse_instant(text, field="KAIROS_NOW") if text else None)


_clock = _clock_of_the_environment()


def now() -> datetime:
    """The present instant by the process's clock, UTC."""
    return _clock.now()


def set_origin(origin: datetime | None) -> None:
    """Restart the process's clock at `origin`, or at the machine's time."""
    global _clock
    _clock = Clock(origin)
