"""What `kairos train --table` was asked: kept with the run, so that the same set can be built again."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection
from pathlib import Path

import msgspec

from features.kernel.errors import InvalidInput
from training.origin import Origin
from training.problems import all_problems

__all__ = ["Asked", "asked_of", "did_you_mean"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_SHOWN = 12


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A table, which of its columns is the outcome, and what the others are; the options of the command.

    Raises:
        InvalidInput: the options contradict each other; names the option and a remedy.
    """

    path: str
    target: str
    positive: str = ""
    id: str = ""
    time: str = ""
    days: int = 0
    """Days after a row's time by which its outcome is settled."""
    name: str = ""
    costs: tuple[float, float] | None = None
    """Of a false positive and a false negative."""
    allow: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    treatment: str = ""
    control: str = ""
    treated: str = ""

    def __post_init__(self) -> None:
        if not self.target:
            raise InvalidInput("is missing", field="--target", remedy="name the column that holds the outcome")
        if self.name:
            _check_name(self.name)
        if self.costs is not None and not all(math.isfinite(each) and each > 0 for each in self.costs):
            raise InvalidInput("must be positive", field="--cost-fp and --cost-fn", value=self.costs)
        if self.days and not self.time:
            raise InvalidInput(
                "needs the rows' time", field="--days", value=self.days, remedy="name the column with --time"
            )
        if self.treatment and not (self.control and self.treated):
            raise InvalidInput("needs both its values", field="--treatment", remedy="add --control and --treated")
        if (self.control or self.treated) and not self.treatment:
            raise InvalidInput("need a column", field="--control and --treated", remedy="add --treatment COL")
        roles = {"--target": self.target, "--id": self.id, "--time": self.time, "--treatment": self.treatment}
        taken: dict[str, str] = {}
        for option, column in roles.items():
            if column and column in taken:
                raise InvalidInput(f"is {taken[column]} already", field=option, value=column, remedy="name another")
            taken[column] = option

    @property
    def problem(self) -> str:
        """The problem's name: what was given, else file and target in letters that a folder and a URL can hold."""
        if self.name:
            return self.name
        stem = Path(self.path).name.split(".")[0]
        plain = re.sub(r"[^a-z0-9]+", "_", f"{stem}_{self.target}".lower()).strip("_")
        name = (plain if plain[:1].isalpha() else f"table_{plain}")[:60].rstrip("_")
        return f"{name}_table"[:60] if name in all_problems() else name

    @property
    def roles(self) -> dict[str, str]:
        """Columns that are no features, with what they are, by their option."""
        roles = {"--target": self.target, "--id": self.id, "--time": self.time, "--treatment": self.treatment}
        return {option: column for option, column in roles.items() if column}

    def origin(self, sha256: str) -> Origin:
        """How to build the set again."""
        options = msgspec.to_builtins(self)
        return Origin(
            kind="table",
            problem=self.problem,
            horizon_days=self.days,
            path=str(Path(options.pop("path")).absolute()),
            sha256=sha256,
            options=options,
        )

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise the error that names the first column which is not there, with the nearest that is."""
        named = [*self.roles.items(), *(("--allow", each) for each in self.allow)]
        for option, column in [*named, *(("--sensitive", each) for each in self.sensitive)]:
            if column not in columns:
                raise InvalidInput(
                    "is no column of the table", field=option, value=column, remedy=did_you_mean(column, columns)
                )


def asked_of(origin: Origin) -> Asked:
    """What was asked when a run's set was built.

    Raises:
        InvalidInput: its record does not say.
    """
    try:
        return msgspec.convert({"path": origin.path, **origin.options}, Asked)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"is no record of a table: {error}", field="origin.json") from None


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The remedy for a name that is not there.

    >>> did_you_mean("converted", ["Converted", "age"])
    'did you mean Converted?'
    """
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), lower, 1)
    if close:
        return f"did you mean {lower[close[0]]}?"
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"it has {', '.join(list(known)[:_SHOWN])}{more}"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        remedy = "write small letters, digits and _, a letter first, at most 60"
        raise InvalidInput("is no name of a problem", field="--name", value=name, remedy=remedy)
    if name in all_problems():
        remedy = "choose another name, or its model would be replaced"
        raise InvalidInput("is a problem that learns from events", field="--name", value=name, remedy=remedy)
