"""What a recipe may say, as types, and the strict check of a YAML document against them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from features.kernel.errors import InvalidRecipe

__all__ = [
    "AsOf",
    "Column",
    "EventRecipe",
    "Expected",
    "FileFormat",
    "Label",
    "Recipe",
    "Refusal",
    "SnapshotRecipe",
    "Treatment",
    "Use",
    "checked",
    "did_you_mean",
]


class FileFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How the file is written. `separator` may be `whitespace`; `header` names the columns of a file without them.

    `query` is what a database of the format `sql` is asked; its URL is never part of a recipe.
    """

    format: Literal["csv", "parquet", "ndjson", "sql"]
    separator: str = ","
    encoding: str = "utf8"
    header: tuple[str, ...] = ()
    query: str = ""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the recipe: which column of the file (its own name unless said), and as what it is read.

    `format` reads times written as text: strftime codes, or `iso`, `epoch`, `epoch_ms`. `decimal` is the mark before
    the fraction of numbers written as text. `missing` lists values that mean "not known". `unit` and `phrase` describe
    a feature of a snapshot; `phrase` reads as a reason, with `{value}` in it.
    """

    type: Literal["id", "text", "category", "number", "time"]
    column: str = ""
    format: str = ""
    decimal: Literal[".", ","] = "."
    missing: tuple[str, ...] = ()
    unit: str = ""
    phrase: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Rows not used: those for which the SQL expression `when` holds, or that repeat an earlier row.

    `repeats` is `all` (every column of the file) or a list of fields.
    """

    reason: str
    when: str = ""
    repeats: Literal["all"] | tuple[str, ...] = ()


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that become events: one event per customer and distinct `one_per`, its lines aggregated in SQL."""

    reason: str
    event: str
    one_per: tuple[str, ...]
    when: str = ""
    amount: str = ""
    fields: dict[str, str] = {}
    properties: dict[str, str] = {}


class AsOf(msgspec.Struct, frozen=True, kw_only=True):
    """The instant of a snapshot: the field `time`; `month` and `day`, walking forward from `start` (YYYY-MM); or one
    `instant` (YYYY-MM-DD) for all rows.
    """

    time: str = ""
    instant: str = ""
    month: str = ""
    day: str = ""
    start: str = ""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """The file's column that holds the outcome, and its two values."""

    column: str
    positive: str
    negative: str


class Treatment(msgspec.Struct, frozen=True, kw_only=True):
    """The file's column that says what was done to each, in an experiment, and its value for nothing."""

    column: str
    control: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold before anything is written; dates are YYYY-MM-DD in the recipe's zone, shares from 0 to 1.

    `refused` limits the share of single reasons, `refused_at_most` that of all refused rows. `amount` is that of an
    event; `reaches` is a day the newest event or snapshot must reach.
    """

    rows_at_least: int | None = None
    refused_at_most: float | None = None
    refused: dict[str, float] = {}
    customers_at_least: int | None = None
    customers_at_most: int | None = None
    amount_at_least: float | None = None
    amount_at_most: float | None = None
    not_before: str = ""
    not_after: str = ""
    reaches: str = ""
    positive_at_least: float | None = None
    positive_at_most: float | None = None


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of recipe say; `name` is the file's name."""

    name: str
    about: str
    file: FileFormat
    columns: dict[str, Column]
    time_zone: str = ""
    """IANA zone of times written without one."""
    missing: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    expect: Expected = Expected()


class EventRecipe(Recipe, frozen=True, kw_only=True):
    """Rows become events; `profile` maps attributes to fields whose changes become profile events."""

    kind: Literal["events"]
    used: tuple[Use, ...]
    currency: str = ""
    profile: dict[str, str] = {}


class SnapshotRecipe(Recipe, frozen=True, kw_only=True):
    """Rows become labelled snapshots: what was known of someone at an instant, and what came of it.

    Features are the columns of type `number` and `category`. `excluded` names columns that must not be features, each
    with the reason. `treatment` is no feature either: it stays in the table, for who asks what the treatment changed.
    `baseline` lists the columns of the simple model to beat.
    """

    kind: Literal["snapshot"]
    problem: str
    question: str
    horizon_days: int
    as_of: AsOf
    label: Label
    id: str = "row"
    treatment: Treatment | None = None
    excluded: dict[str, str] = {}
    baseline: tuple[str, ...] = ()


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The remedy for a name that is not known.

    >>> did_you_mean("colums", ["columns", "refused"])
    'did you mean columns?'
    """
    names = list(known)
    close = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names) or '(none)'}"


def checked(value: Any, kind: Any, path: str) -> None:
    """Hold a YAML value against a type of this module, naming the place of the first thing that does not fit.

    Raises:
        InvalidRecipe: an unknown or missing key, or a value of another type.
    """
    options = [each for each in get_args(kind) if each is not type(None)] if isinstance(kind, UnionType) else []
    if len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], msgspec.Struct):
        kind = options[0]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        _check_struct(value, kind, path)
    elif get_origin(kind) is dict:
        for key, each in _mapping(value, path).items():
            checked(each, get_args(kind)[1], _inside(path, key))
    elif get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise InvalidRecipe("must be a list", field=path, value=value, remedy="write it as [a, b] or with dashes")
        for i, each in enumerate(value):
            checked(each, get_args(kind)[0], f"{path}[{i}]")
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            remedy = f'in quotes, "{value}" is text' if kind is str else "see docs/recipes.md"
            raise InvalidRecipe(str(error), field=path, value=value, remedy=remedy) from None


def _check_struct(value: Any, kind: type[msgspec.Struct], path: str) -> None:
    types = {name: each for name, each in get_type_hints(kind).items() if name in kind.__struct_fields__}
    given = _mapping(value, path)
    for key in given:
        if key not in types:
            raise InvalidRecipe(
                "is no key of a recipe here", field=_inside(path, key), value=key, remedy=did_you_mean(key, types)
            )
    for each in msgspec.structs.fields(kind):
        if each.required and each.name not in given:
            raise InvalidRecipe("is missing", field=_inside(path, each.name), remedy="see docs/recipes.md")
    for key, each_value in given.items():
        checked(each_value, types[key], _inside(path, key))


def _mapping(value: Any, path: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise InvalidRecipe("must be a mapping of keys to values", field=path or "recipe", value=value)
    return value


def _inside(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
