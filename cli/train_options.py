"""The options of `kairos train`, in groups; `spread` makes a parameter that is a group an option for each field."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from features.kernel.errors import InvalidInput, NotFound
from features.kernel.settings import Settings
from training.plan import TRIALS, Plan
from training.registry import bundle
from training.table.asked import Asked

__all__ = ["STUDIES", "ByRecipe", "FromTable", "Tuning", "Which", "spread"]

STUDIES = "tuning.sqlite"
"""File of the studies, in `home`."""
_TABLE, _TUNING, _RECIPE = "A labelled table", "Tuning", "A labelled table by a recipe"


def _option(group: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=group, **more)


@dataclass(frozen=True)
class Which:
    """A problem that learns from events, and how it is asked."""

    problem: Annotated[str, typer.Argument(help="The problem, or all of them: 'all'. Not with --table.")] = ""
    days: Annotated[int, typer.Option(min=0, help="Another horizon than the problem's own, in days.")] = 0
    category: Annotated[str, typer.Option(help="The problem about one product category or channel.")] = ""
    reproduce: Annotated[str, typer.Option(metavar="RUN", help="Train again what a run trained, from its record.")] = ""


_SETS = f"Parameter sets to try beyond the defaults: {TRIALS}, or with --minutes as many as they allow."
_MANY = 1_000


@dataclass(frozen=True)
class Tuning:
    """How much to spend; the bound that is reached first ends it."""

    trials: Annotated[int | None, _option(_TUNING, _SETS, min=0)] = None
    minutes: Annotated[float | None, _option(_TUNING, "Minutes to try them in.", min=0.0)] = None

    def plan(self, settings: Settings, problem: str) -> Plan:
        """Tune from what the last champion was fitted with; the study is kept in `home`, where it can be taken up."""
        try:
            warm = dict(bundle.champion(settings.models, problem).parameters)
        except (NotFound, InvalidInput):  # none yet, or none that this Kairos can read
            warm = {}
        trials = self.trials if self.trials is not None else TRIALS if self.minutes is None else _MANY
        return Plan(trials, self.minutes, settings.home / STUDIES, warm)


@dataclass(frozen=True)
class ByRecipe:
    """A table whose columns a recipe names."""

    data: Annotated[Path | None, _option(_RECIPE, "The table of labelled snapshots.")] = None
    recipe: Annotated[str, _option(_RECIPE, "How to read it: a recipe's name or a YAML file.")] = ""

    def __post_init__(self) -> None:
        if (self.data is None) != (not self.recipe):
            raise InvalidInput("go together", field="--data and --recipe", remedy="give both, or neither")


@dataclass(frozen=True)
class FromTable:
    """A table and which of its columns is what."""

    table: Annotated[Path | None, _option(_TABLE, "The table: CSV, Parquet or NDJSON.")] = None
    target: Annotated[str, _option(_TABLE, "Column of the outcome.")] = ""
    positive: Annotated[str, _option(_TABLE, "Its value that means yes, against all others.")] = ""
    id: Annotated[str, _option(_TABLE, "Column that says whose each row is.")] = ""
    time: Annotated[str, _option(_TABLE, "Column that says when each row was known; splits in time.")] = ""
    name: Annotated[str, _option(_TABLE, "What to call the problem; else file and target.")] = ""
    cost_fp: Annotated[float | None, _option(_TABLE, "What it costs to act on a no.", min=0.0)] = None
    cost_fn: Annotated[float | None, _option(_TABLE, "What it costs to miss a yes.", min=0.0)] = None
    allow: Annotated[list[str], _option(_TABLE, "Keep this column whatever the leak guard says.")] = field(
        default_factory=list
    )
    sensitive: Annotated[list[str], _option(_TABLE, "Judge the gaps between this column's groups.")] = field(
        default_factory=list
    )
    treatment: Annotated[str, _option(_TABLE, "Column of a randomised treatment: learn what it adds.")] = ""
    control: Annotated[str, _option(_TABLE, "Its value for those left alone.")] = ""
    treated: Annotated[str, _option(_TABLE, "Its value for those treated.")] = ""

    def asked(self, days: int) -> Asked | None:
        """What is asked of the table; None where there is none.

        Raises:
            InvalidInput: an option of a table stands there without one, or only one of the two costs is given.
        """
        if self.table is None:
            given = [each.name for each in fields(self) if getattr(self, each.name) not in (None, "", [])]
            if given:
                option = f"--{given[0].replace('_', '-')}"
                raise InvalidInput("is an option of a table", field=option, remedy="name the file with --table")
            return None
        costs = [each for each in (self.cost_fp, self.cost_fn) if each is not None]
        if len(costs) == 1:
            raise InvalidInput("go together", field="--cost-fp and --cost-fn", remedy="give both, or neither")
        return Asked(
            path=str(self.table),
            target=self.target,
            positive=self.positive,
            id=self.id,
            time=self.time,
            days=days,
            name=self.name,
            costs=(costs[0], costs[1]) if costs else None,
            allow=tuple(self.allow),
            sensitive=tuple(self.sensitive),
            treatment=self.treatment,
            control=self.control,
            treated=self.treated,
        )


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are dataclasses became one option for each of their fields."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    def run(**given: Any) -> None:
        made = {
            name: kind(**{each.name: given.pop(each.name) for each in fields(kind)})  # type: ignore[operator]
            for name, kind in groups.items()
        }
        command(**given, **made)

    parameters: list[inspect.Parameter] = []
    for name, each in inspect.signature(command).parameters.items():
        plain = each.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += _parameters(groups[name]) if name in groups else [plain]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__ = command.__doc__
    return run


def _parameters(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=_default(each), annotation=hints[each.name]
        )
        for each in fields(kind)
    ]


def _default(of: Field[Any]) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()
