"""What types alone do not say about a recipe: its parts must fit each other. Checked before any file is read."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import available_timezones

from features.importing.numbers import is_number
from features.importing.reasons import BUILT_IN
from features.importing.schema import EventRecipe, FileFormat, Recipe, SnapshotRecipe, Use, did_you_mean
from features.importing.sql import aggregate, condition
from features.importing.times import FORMATS
from features.kernel.errors import InvalidRecipe
from features.kernel.events import EVENT_TYPES

__all__ = ["check_common", "check_day", "check_events", "check_snapshot"]

_CURRENCY = 8
"""Characters the ledger has for it."""
EVENT_FIELDS = ("account_id", "channel", "campaign", "message_id", "decision_id")
"""Fields of an event, beside those every recipe fills, that `used[].fields` may fill."""


def check_common(recipe: Recipe) -> None:
    """Zone, columns and reasons of refusal; InvalidRecipe names what does not fit."""
    _known_zone(recipe.time_zone)
    _check_file(recipe.file)
    for name, column in recipe.columns.items():
        path = f"columns.{name}"
        if not name.isidentifier() or name.startswith("_") or name == "row":
            raise InvalidRecipe(
                "cannot be a field's name",
                field=path,
                value=name,
                remedy="use letters, digits and _, first a letter; row is taken",
            )
        if column.type == "time" and recipe.file.format in ("csv", "ndjson"):
            if not column.format:
                remedy = 'say how, e.g. "%Y-%m-%d %H:%M:%S", or iso'
                raise InvalidRecipe("is missing", field=f"{path}.format", remedy=remedy)
            if not recipe.time_zone and "%z" not in column.format and column.format not in FORMATS:
                raise InvalidRecipe(
                    "is missing, and times have none of their own",
                    field="time_zone",
                    remedy="name the zone, like Europe/London",
                )
        for text in column.missing if column.type == "number" else ():
            if not is_number(text):
                remedy = "the column is of type number; `missing` of the recipe takes any text"
                raise InvalidRecipe("is no number", field=f"{path}.missing", value=text, remedy=remedy)
    reasons: list[str] = [*BUILT_IN]
    for i, each in enumerate(recipe.refused):
        path = f"refused[{i}]"
        _new_reason(each.reason, reasons, f"{path}.reason")
        if bool(each.when) == bool(each.repeats):
            raise InvalidRecipe("needs either `when` or `repeats`", field=path, value=each.reason)
        if each.when:
            condition(recipe, each.when, f"{path}.when")
        elif each.repeats != "all":
            for name in each.repeats:
                _known_field(recipe, name, f"{path}.repeats")


def _check_file(file: FileFormat) -> None:
    if file.separator != "whitespace" and (len(file.separator) != 1 or not 0 < ord(file.separator) < 128):
        raise InvalidRecipe(
            "must be one ASCII character, or whitespace",
            field="file.separator",
            value=file.separator,
            remedy='"\\t" is a tab',
        )
    if file.format == "sql" and not file.query.strip():
        raise InvalidRecipe("is missing", field="file.query", remedy="write the SELECT that gives the rows")
    if file.format != "sql" and file.query:
        raise InvalidRecipe("is for the format sql", field="file.query", value=file.query, remedy="leave it out")


def check_events(recipe: EventRecipe) -> None:
    """`customer`, `at`, the rules of use and the profile; InvalidRecipe names what does not fit."""
    for name, kind in (("customer", "id"), ("at", "time")):
        if name not in recipe.columns:
            raise InvalidRecipe("is missing", field=f"columns.{name}", remedy=f"every event needs it, of type {kind}")
        if recipe.columns[name].type != kind:
            raise InvalidRecipe(
                f"must be of type {kind}", field=f"columns.{name}.type", value=recipe.columns[name].type
            )
    if not recipe.used:
        raise InvalidRecipe("is empty", field="used", remedy="say which rows become which event")
    reasons = [*BUILT_IN, "profile", *(each.reason for each in recipe.refused)]
    for i, use in enumerate(recipe.used):
        _new_reason(use.reason, reasons, f"used[{i}].reason")
        _check_use(recipe, use, f"used[{i}]")
    for attribute, name in recipe.profile.items():
        _known_field(recipe, name, f"profile.{attribute}")


def _check_use(recipe: EventRecipe, use: Use, path: str) -> None:
    if use.event not in EVENT_TYPES:
        raise InvalidRecipe(
            "is not a known event type",
            field=f"{path}.event",
            value=use.event,
            remedy=did_you_mean(use.event, EVENT_TYPES),
        )
    if use.event in ("order", "refund") and not use.amount:
        raise InvalidRecipe("is missing", field=f"{path}.amount", remedy=f"a {use.event} needs one, like SUM(price)")
    if len(recipe.currency) > _CURRENCY:
        raise InvalidRecipe("is too long", field="currency", value=recipe.currency, remedy="write it like GBP")
    if use.amount and not recipe.currency:
        raise InvalidRecipe("is missing", field="currency", remedy="say of which currency amounts are, like GBP")
    needed = {"custom": "name", "lifecycle": "stage", "consent": "granted", "assignment": "arm"}.get(use.event)
    if needed and needed not in use.properties:
        raise InvalidRecipe("is missing", field=f"{path}.properties.{needed}", remedy=f"a {use.event} event needs it")
    if not use.one_per:
        raise InvalidRecipe(
            "is empty", field=f"{path}.one_per", remedy="name the fields that tell events apart, or row"
        )
    for name in use.one_per:
        _known_field(recipe, name, f"{path}.one_per", "row")
    if use.when:
        condition(recipe, use.when, f"{path}.when")
    if use.amount:
        aggregate(recipe, use.amount, f"{path}.amount", keep_first=False)
    for name in use.fields:
        if name not in EVENT_FIELDS:
            field = f"{path}.fields.{name}"
            raise InvalidRecipe("is no such field", field=field, remedy=did_you_mean(name, EVENT_FIELDS))
    for part in ("fields", "properties"):
        for name, text in getattr(use, part).items():
            aggregate(recipe, text, f"{path}.{part}.{name}", keep_first=True)


def check_snapshot(recipe: SnapshotRecipe) -> None:
    """Label, id, instant, features and what is excluded; InvalidRecipe names what does not fit."""
    if recipe.horizon_days < 1:
        raise InvalidRecipe("must be 1 or more", field="horizon_days", value=recipe.horizon_days)
    if recipe.label.positive == recipe.label.negative:
        raise InvalidRecipe("must differ from label.negative", field="label.positive", value=recipe.label.positive)
    if recipe.id != "row":
        _known_field(recipe, recipe.id, "id", of=("id",))
    _check_as_of(recipe)
    features = [name for name, each in recipe.columns.items() if each.type in ("number", "category")]
    if not features:
        raise InvalidRecipe("names no feature", field="columns", remedy="features are of type number or category")
    for name in recipe.baseline:
        if name not in features:
            raise InvalidRecipe("is no feature", field="baseline", value=name, remedy=did_you_mean(name, features))
    for name in features:
        if name in ("id", "as_of", "label", "treatment"):
            raise InvalidRecipe(
                "is a column Kairos makes", field=f"columns.{name}", remedy="give the field another name"
            )
    sources = {each.column or name: name for name, each in recipe.columns.items()}
    treatment = [recipe.treatment.column] if recipe.treatment else []
    for source in (*recipe.excluded, recipe.label.column, *treatment):
        if source in sources:
            raise InvalidRecipe(
                "is a feature and also excluded, the treatment or the label",
                field=f"columns.{sources[source]}",
                value=source,
                remedy="it cannot be both",
            )


def _check_as_of(recipe: SnapshotRecipe) -> None:
    when = recipe.as_of
    if sum(map(bool, (when.time, when.instant, when.month or when.day or when.start))) > 1:
        raise InvalidRecipe("is either `time`, or `instant`, or `month`, `day` and `start`", field="as_of")
    if when.instant:
        check_day(when.instant, "as_of.instant")
        _need_zone(recipe)
        return
    if when.time:
        _known_field(recipe, when.time, "as_of.time", of=("time",))
        return
    for part in ("month", "day"):
        _known_field(recipe, getattr(when, part), f"as_of.{part}", of=("text", "category", "number"))
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", when.start):
        raise InvalidRecipe("must be a month", field="as_of.start", value=when.start, remedy="write it like 2008-05")
    _need_zone(recipe)


def _need_zone(recipe: Recipe) -> None:
    if not recipe.time_zone:
        raise InvalidRecipe("is missing", field="time_zone", remedy="days need one, like Europe/London")


def check_day(text: str, path: str) -> None:
    """Whether a text is a day, YYYY-MM-DD; else InvalidRecipe."""
    try:
        datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007  a day of the calendar, of no zone
    except ValueError:
        raise InvalidRecipe("is no day", field=path, value=text, remedy="write it like 2011-12-09") from None


def _known_zone(name: str) -> None:
    if name and name not in available_timezones():
        remedy = (
            did_you_mean(name, sorted(available_timezones()))
            if "/" in name
            else "name an IANA zone, like Europe/London"
        )
        raise InvalidRecipe("is no time zone", field="time_zone", value=name, remedy=remedy)


def _known_field(recipe: Recipe, name: str, path: str, *more: str, of: tuple[str, ...] = ()) -> None:
    known = [each for each, column in recipe.columns.items() if not of or column.type in of] + list(more)
    if name not in known:
        kinds = f" of type {' or '.join(of)}" if of else ""
        raise InvalidRecipe(
            f"is none of the recipe's columns{kinds}", field=path, value=name, remedy=did_you_mean(name, known)
        )


def _new_reason(reason: str, taken: list[str], path: str) -> None:
    if not reason or reason in taken:
        raise InvalidRecipe("is empty or taken", field=path, value=reason, remedy=f"not one of {', '.join(taken)}")
    taken.append(reason)
