"""From a file or a query to a proposed recipe: look at the columns, guess, try the guess, and say all of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from features.importing.as_events import read_events
from features.importing.as_snapshot import read_snapshot
from features.importing.infer import roles
from features.importing.infer.events import draft_events, repeating_customer
from features.importing.infer.facts import share
from features.importing.infer.proposal import Draft, Guess, Proposal, Suspicion, Table
from features.importing.infer.snapshots import draft_snapshot, find_label
from features.importing.infer.sniff import Sniffed, sniff
from features.importing.infer.suspicious import suspicions
from features.importing.infer.written import written
from features.importing.load import parsed, recipe_of
from features.importing.query import read_query, shown
from features.importing.raw import Progress, Raw
from features.importing.schema import EventRecipe, FileFormat
from features.importing.source import read_file
from features.kernel.errors import InvalidInput

__all__ = ["MOST", "propose_for_file", "propose_for_query"]

MOST = 1_000_000
"""Rows looked at."""
_FEWEST = 10


def propose_for_file(path: Path, progress: Progress | None = None) -> Proposal:
    """A recipe for a file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no file that can be read, or no recipe can be proposed for it; says why not.
        InvalidRecipe: it is empty.
    """
    found = sniff(path)
    raw = read_file(found.format, path, progress, MOST)
    return _proposed(raw, found, path.stem, path.name)


def propose_for_query(url: str, query: str, progress: Progress | None = None) -> Proposal:
    """A recipe for a database's answer.

    Raises:
        InvalidInput: the URL is none, or no recipe can be proposed; says why not.
        InvalidRecipe: the database cannot answer the query.
        Unavailable: it cannot be reached.
    """
    raw = read_query(url, query, progress, MOST)
    sniffed = Sniffed(FileFormat(format="sql", query=query))
    return _proposed(raw, sniffed, "query", f"a query to {shown(url)}")


def _proposed(raw: Raw, sniffed: Sniffed, stem: str, where: str) -> Proposal:
    if raw.frame.height < _FEWEST:
        raise _declined([f"it has {raw.frame.height} readable rows, and {_FEWEST} are needed to guess from"])
    if raw.broken.height > raw.frame.height:
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in raw.broken["reason"].value_counts().iter_rows())
        raise _declined([f"most of its rows cannot be read: {reasons}"])
    table = Table.of(raw.frame)
    draft = _draft(table)
    document = _document(draft, sniffed, where)
    guesses = [*(Guess(f"file.{key}", getattr(sniffed.format, key), why) for key, why in sniffed.why.items())]
    guesses += draft.guesses
    suspicious = [*suspicions(table, raw), *_leaks(document)]
    rows = f"{where}, {raw.height:,} rows" + ("" if raw.height < MOST else " (of its beginning)")
    said = [*guesses, Guess("file", "", "; ".join(f"{key}: {why}" for key, why in sniffed.why.items()))]
    text = written(document, said, suspicious, rows)
    used, refused = _tried(raw, text, stem)
    return Proposal(
        document["kind"],
        text,
        document,
        tuple(guesses),
        tuple(suspicious),
        raw.height,
        raw.height < MOST,
        used,
        refused,
    )


def _draft(table: Table) -> Draft:
    """Events where people come again; snapshots where they do not and there is an outcome; else a refusal."""
    when, label = roles.time(table), find_label(table)
    who = repeating_customer(table, when)
    if when is not None and who is not None:
        return draft_events(table, who, when)
    if label is not None:
        draft = draft_snapshot(table, label)
        if not any(each["type"] in ("number", "category") for each in draft.document.get("columns", {}).values()):
            left_out = [f"{name}: {why}" for name, why in draft.document["excluded"].items()]
            raise _declined([f"beside the outcome {label.facts.name} no column can be a feature", *left_out])
        return draft
    alone = roles.customer(table, [when.facts.name] if when else [])
    if when is not None and alone is not None:
        return draft_events(table, alone, when)
    raise _declined([*_no_time(table, when), *([] if who or alone else [_no_customer(table)]), _no_label(table)])


def _no_time(table: Table, when: roles.Found | None) -> list[str]:
    if when is not None:
        return []
    near = [each for each in table.columns.values() if each.time is not None]
    if not near:
        return ["no column reads as times"]
    best = max(near, key=lambda each: each.time.share if each.time else 0.0)
    assert best.time is not None
    return [f"no column reads as times: the nearest is {best.name}, {share(best.time.share)} as {best.time.format}"]


def _no_customer(table: Table) -> str:
    return f"no column is named like a customer's id, among {', '.join(list(table.columns)[:12])}"


def _no_label(table: Table) -> str:
    pairs = [each.name for each in table.columns.values() if each.distinct == 2]
    near = f" ({', '.join(pairs[:5])} have two values, but not an outcome's name)" if pairs else ""
    return f"no column is an outcome{near}"


def _declined(reasons: list[str]) -> InvalidInput:
    return InvalidInput(
        f"no recipe can be proposed: {'; '.join(reasons)}",
        field="file",
        remedy="name the columns in a recipe of your own, see docs/recipes.md",
    )


def _document(draft: Draft, sniffed: Sniffed, where: str) -> dict[str, Any]:
    form = sniffed.format
    file: dict[str, Any] = {"format": form.format}
    if form.format == "csv" and form.separator != ",":
        file["separator"] = form.separator
    if form.encoding != "utf8":
        file["encoding"] = form.encoding
    if form.header:
        file["header"] = list(form.header)
    if form.query:
        file["query"] = form.query
    about = {"kind": draft.document["kind"], "about": f"Rows of {where}", "file": file}
    order = ("problem", "question", "horizon_days", "time_zone", "currency", "id", "as_of", "label", "treatment")
    rest = ("columns", "excluded", "refused", "used", "profile", "baseline")
    found = {key: draft.document[key] for key in (*order, *rest) if key in draft.document}
    return about | {key: value for key, value in found.items() if value not in ({}, [])}


def _leaks(document: dict[str, Any]) -> list[Suspicion]:
    return [Suspicion(name, f"left out: {why}") for name, why in document.get("excluded", {}).items()]


def _tried(raw: Raw, text: str, stem: str) -> tuple[dict[str, int], dict[str, int]]:
    """What the proposed recipe makes of the rows it was guessed from."""
    name = re.sub(r"\W+", "_", stem) or "proposed"
    recipe = recipe_of(parsed(text, "the proposed recipe"), name)
    imported = read_events(recipe, raw) if isinstance(recipe, EventRecipe) else read_snapshot(recipe, raw)
    return imported.used, {reason: rows for reason, rows in imported.counts.items() if rows}
