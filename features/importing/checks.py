"""What types alone do not say about a recipe: its parts must fit each other. Checked before any file is read."""

from __future__ import annotations

import re
from zoneinfo import available_timezones

from features.importing.reasons import BUILT_IN
from features.importing.schema import EventRecipe, Recipe, SnapshotRecipe, Use, did_you_mean
from features.importing.sql import aggregate, condition
from features.importing.table import is_number
from features.kernel.errors import InvalidRecipe
from features.kernel.events import EVENT_TYPES

__all__ = ["check_common", "check_events", "check_snapshot"]

EVENT_FIELDS = ("account_id", "channel", "campaign", "message_id", "decision_id")
"""Fields of an event, beside those every recipe fills, that `used[].fields` may fill."""


def check_common(recipe: Recipe) -> None:
    """Zone, columns and reasons of refusal; InvalidRecipe names what does not fit."""
    _known_zone(recipe.time_zone)
    for name, column in recipe.columns.items():
        path = f"columns.{name}"
        if not name.isidentifier() or name.startswith("_") or name == "row":
            raise InvalidRecipe(
                "cannot be a field's name",
                field=path,
                value=name,
                remedy="use letters, digits and _, first a letter; row is taken",
            )
        if column.type == "time" and recipe.file.format == "csv":
            if not column.format:
                raise InvalidRecipe("is missing", field=f"{path}.format", remedy='say how, e.g. "%Y-%m-%d %H:%M:%S"')
            if not recipe.time_zone and "%z" not in column.format:
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
    if use.amount and not recipe.currency:
        raise InvalidRecipe("is missing", field="currency", remedy="say of which currency amounts are, like GBP")
    needed = {"custom": "name", "lifecycle": "stage", "consent": "granted"}.get(use.event)
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
        if name in ("id", "as_of", "label"):
            raise InvalidRecipe(
                "is a column Kairos makes", field=f"columns.{name}", remedy="give the field another name"
            )
    sources = {each.column or name: name for name, each in recipe.columns.items()}
    for source in (*recipe.excluded, recipe.label.column):
        if source in sources:
            raise InvalidRecipe(
                "is a feature and also excluded or the label",
                field=f"columns.{sources[source]}",
                value=source,
                remedy="it cannot be both",
            )


def _check_as_of(recipe: SnapshotRecipe) -> None:
    when = recipe.as_of
    if when.time:
        if when.month or when.day or when.start:
            raise InvalidRecipe("is either `time`, or `month`, `day` and `start`", field="as_of")
        _known_field(recipe, when.time, "as_of.time", of=("time",))
        return
    for part in ("month", "day"):
        _known_field(recipe, getattr(when, part), f"as_of.{part}", of=("text", "category", "number"))
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", when.start):
        raise InvalidRecipe("must be a month", field="as_of.start", value=when.start, remedy="write it like 2008-05")
    if not recipe.time_zone:
        raise InvalidRecipe("is missing", field="time_zone", remedy="days need one, like Europe/London")


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
