"""A recipe for a table of labelled snapshots: one row a person, what was known of them, and what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from features.importing.infer import roles
from features.importing.infer.facts import Facts, share
from features.importing.infer.leaks import auc, leak
from features.importing.infer.places import say_zone
from features.importing.infer.proposal import Draft, Table
from features.kernel import clock

__all__ = ["LabelFound", "draft_snapshot", "find_label"]

_NAMED = {"y": 5, "label": 5, "target": 5, "class": 4}
_OUTCOMES = {
    *("outcome", "response", "responded", "converted", "conversion", "churn", "churned", "exited", "subscribed"),
    *(
        "deposit",
        "purchased",
        "bought",
        "clicked",
        "visit",
        "visited",
        "opened",
        "won",
        "accepted",
        "lapsed",
        "attrition",
    ),
}
_YES = ("yes", "true", "1", "y", "t", "won", "converted", "churned")
_NO = ("no", "false", "0", "n", "f", "lost", "none", "retained")
_LEAST = 4
_CONTROL = re.compile(r"^(no\b|no[ _-]|control|none$|holdout|placebo|untreated|baseline)", re.IGNORECASE)
_ARM = {"segment", "treatment", "group", "variant", "arm", "campaign", "test", "experiment"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class LabelFound:
    """The column of the outcome, its two values, and why; `others` might be it as well."""

    facts: Facts
    positive: str
    negative: str
    why: str
    others: tuple[str, ...]

    @property
    def series(self) -> pl.Series:
        """0 or 1."""
        return (self.facts.values == self.positive).cast(pl.Int8)


def find_label(table: Table) -> LabelFound | None:
    """The outcome: a column of two values, named like one, or the last."""
    last = list(table.columns)[-1]
    scored: list[tuple[float, float, Facts]] = []
    for each in table.columns.values():
        pair = _pair(each)
        if pair is None or each.filled < 0.5:
            continue
        part = float((each.values == pair[0]).sum()) / each.present
        named = max([_NAMED.get(word, 0) for word in each.words] + [4 * bool(each.words & _OUTCOMES)])
        scored.append((named + 2 * (each.name == last) + (part < 0.6), part, each))
    scored.sort(key=lambda entry: entry[:2], reverse=True)
    if not scored or scored[0][0] < _LEAST:
        return None
    _, part, best = scored[0]
    positive, negative = _pair(best) or ("", "")
    why = f"two values, {positive!r} in {share(part)} of the rows"
    why += "; it is the last column" if best.name == last else "; its name says so"
    others = tuple(each.name for points, _, each in scored[1:] if points >= _LEAST)
    return LabelFound(best, positive, negative, why, others)


def draft_snapshot(table: Table, label: LabelFound) -> Draft:
    """The recipe, all but how the file is written."""
    draft = Draft({"kind": "snapshot"})
    draft.say("kind", "snapshot", "nobody comes again, and a column looks like an outcome: one row is one person")
    _say_label(draft, label)
    when = roles.time(table)
    say_zone(draft, table, when.facts if when else None)
    _say_id(draft, table, label)
    _say_as_of(draft, table, when)
    arm = _treatment(table, label)
    if arm is not None:
        facts, control = arm
        draft.document["treatment"] = {"column": facts.name, "control": control}
        shown = ", ".join(f"{value} ({rows:,})" for value, rows in facts.counts[:5])
        draft.say(
            "treatment", facts.name, f"an experiment: {shown}; drawn before the outcome, so no feature of anybody"
        )
    _say_features(draft, table, label, [arm[0].name] if arm else [])
    return draft


def _pair(each: Facts) -> tuple[str, str] | None:
    """Its positive and its negative value, if it has two that are words of yes and no."""
    if each.distinct != 2:
        return None
    values = {value.lower(): value for value, _ in each.counts}
    yes, no = (next((values[word] for word in words if word in values), None) for words in (_YES, _NO))
    if yes is not None and no is not None and yes != no:
        return yes, no
    if yes is not None:
        return yes, next(value for value in values.values() if value != yes)
    return None


def _say_label(draft: Draft, label: LabelFound) -> None:
    name = label.facts.name
    problem, why = _problem(label.facts)
    draft.document |= {"problem": problem, "question": f"Will {name} be {label.positive}?", "horizon_days": 1}
    draft.say("problem", problem, why)
    draft.say("horizon_days", 1, "a guess: put the days after which the outcome is settled")
    draft.document["label"] = {"column": name, "positive": label.positive, "negative": label.negative}
    others = f"; {', '.join(label.others)} might be it as well" if label.others else ""
    draft.say("label", name, label.why + others)


def _problem(label: Facts) -> tuple[str, str]:
    if label.words & {"churn", "churned", "exited", "attrition", "lapsed"}:
        return "churn", "the label's name speaks of leaving"
    if label.words & {"visit", "visited", "conversion", "clicked", "purchased", "bought", "response", "responded"}:
        return "propensity", "the label's name speaks of an answer"
    return "lead_scoring", "a guess: put the problem that the label answers (kairos train --help)"


def _say_id(draft: Draft, table: Table, label: LabelFound) -> None:
    who = roles.customer(table, [label.facts.name])
    if who is not None and who.facts.unique:
        name = draft.column(who.facts, "id", who.why)
        draft.document["id"] = name
        draft.say("id", name, "no value stands there twice")
    else:
        draft.document["id"] = "row"
        draft.say("id", "row", "no column names anybody: each row is a person, its number is the id")


def _say_as_of(draft: Draft, table: Table, when: roles.Found | None) -> None:
    if when is not None:
        guess = when.facts.time
        assert guess is not None
        name = draft.column(when.facts, "time", when.why, **({"format": guess.format} if guess.format else {}))
        draft.document["as_of"] = {"time": name}
        draft.say("as_of", name, "when each row was known")
        return
    month, day = _month_and_day(table)
    if month is None or day is None:
        today = clock.now().strftime("%Y-%m-%d")
        draft.document["as_of"] = {"instant": today}
        why = "a guess: no column says when; put the day on which all this was known"
        draft.say("as_of", today, why)
        return
    months = draft.column(month, "category", f"names of months: {month.examples()}")
    days = draft.column(day, "number", "whole numbers from 1 to 31", unit="day of month")
    start, last = _start(month)
    draft.document["as_of"] = {"month": months, "day": days, "start": start}
    why = f"the year is a guess, so that the last row is of {last}: no year is stored, and rows stand in order of time"
    draft.say("as_of", f"{months}, {days} from {start}", why)


def _month_and_day(table: Table) -> tuple[Facts | None, Facts | None]:
    """Columns of months' names and of days of the month."""
    month = day = None
    for each in table.columns.values():
        names = {value.lower()[:3] for value, _ in each.counts}
        if each.has("month", "mon") and len(names) > 1 and names <= set(_MONTHS):
            month = each
        known = each.numbers.drop_nulls()
        if each.has("day", "dom") and each.whole and len(known) and known.min() >= 1 and known.max() <= 31:  # type: ignore[operator]
            day = each
    return month, day


def _start(month: Facts) -> tuple[str, str]:
    """The month of the first row such that the last row is not ahead of the clock, and the month of the last row."""
    numbers = (
        month.values.str.to_lowercase()
        .str.slice(0, 3)
        .replace_strict({name: i for i, name in enumerate(_MONTHS, 1)}, default=None, return_dtype=pl.Int32)
    )
    known = numbers.drop_nulls()
    years = int((known < known.shift(1)).sum())
    first, last, now = int(known[0]), int(known[-1]), clock.now()
    year = now.year - years - (last >= now.month)
    return f"{year}-{first:02}", f"{datetime(year + years, last, 1):%Y-%m}"  # noqa: DTZ001  a month of the calendar


def _treatment(table: Table, label: LabelFound) -> tuple[Facts, str] | None:
    """The column of an experiment's arms, and the arm to which nothing was done."""
    for each in table.but(label.facts.name):
        if each.words & _ARM and 2 <= each.distinct <= 10 and each.numeric < 0.5:
            controls = [value for value, _ in each.counts if _CONTROL.match(value)]
            if len(controls) == 1:
                return each, controls[0]
    return None


def _say_features(draft: Draft, table: Table, label: LabelFound, but: list[str]) -> None:
    truth = label.series
    excluded: dict[str, str] = {}
    telling: dict[str, float] = {}
    for each in table.but(label.facts.name, *but):
        reason = _unfit(each) or leak(each, truth)
        if reason and each.name not in draft.fields:
            excluded[each.name] = reason
            draft.say(f"excluded.{each.name}", "no feature", reason)
            continue
        if each.name in draft.fields:
            name = draft.fields[each.name]
        elif each.numeric == 1.0:
            name = draft.column(each, "number", f"all of its values are numbers; e.g. {each.examples()}")
        else:
            name = draft.column(each, "category", f"{each.distinct} different values; e.g. {each.examples()}")
        if draft.document["columns"][name]["type"] == "number":
            telling[name] = auc(each, truth)
    draft.document["excluded"] = excluded
    best = sorted(telling, key=lambda name: -telling[name])[:5]
    if best:
        draft.document["baseline"] = best
        draft.say("baseline", ", ".join(best), "the numbers that tell most by themselves: the simple model to beat")


def _unfit(each: Facts) -> str:
    """Why a column can be no feature, whatever the label is."""
    if each.present == 0:
        return "it is empty"
    if each.constant:
        return f"it is always {each.examples(1)}"
    if each.time is not None:
        return "it is a time; make a number of it, like days since, if it was known at the instant"
    if each.numeric < 1.0 and each.distinct > 1_000:
        return f"{each.distinct:,} different texts: nothing to learn from"
    if each.unique and (each.has("id", "uuid", "key", "no", "nr") or each.numeric < 1.0):
        return "no value stands there twice: an id"
    return ""
