"""What inference comes to: a recipe, why each part of it was guessed, and what is suspicious in the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from features.importing.infer.facts import Facts, tokens

__all__ = ["Draft", "Guess", "Proposal", "Suspicion", "Table", "field_name"]

_TAKEN = {"row", "id", "as_of", "label", "treatment"}


@dataclass(frozen=True, slots=True)
class Guess:
    """One part of the recipe: its place in it, what was guessed, and the evidence."""

    where: str
    guess: str
    why: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something in the table that a person should look at; `column` is empty where it is about whole rows."""

    column: str
    what: str


@dataclass(slots=True)
class Draft:
    """A recipe in the making: a document as YAML holds it, with a comment for each of its places."""

    document: dict[str, Any] = field(default_factory=dict)
    guesses: list[Guess] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    """By column of the source, the recipe's field."""

    def say(self, where: str, guess: object, why: str) -> None:
        """Note why a part of the recipe is as it is."""
        self.guesses.append(Guess(where, str(guess), why))

    def column(self, facts: Facts, kind: str, why: str, name: str = "", **more: Any) -> str:
        """Add a column as a field, if it is not there yet; its field's name."""
        if facts.name in self.fields:
            return self.fields[facts.name]
        chosen = name or field_name(facts.name, self.fields.values())
        self.fields[facts.name] = chosen
        entry: dict[str, Any] = {"column": facts.name} if chosen != facts.name else {}
        entry["type"] = kind
        if kind == "number" and facts.decimal == ",":
            entry["decimal"] = ","
        missing = [*facts.missing, *([facts.sentinel] if kind == "number" and facts.sentinel else [])]
        if kind == "number":
            missing = [each for each in missing if each == facts.sentinel]
        if missing:
            entry["missing"] = missing
        self.document.setdefault("columns", {})[chosen] = entry | more
        self.say(f"columns.{chosen}", kind, why)
        return chosen


@dataclass(frozen=True)
class Table:
    """The columns under inference."""

    columns: dict[str, Facts]
    rows: int

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Table:
        """Look at every column."""
        return cls({each.name: Facts.of(each) for each in frame.get_columns()}, frame.height)

    def but(self, *names: str) -> list[Facts]:
        """All columns but some."""
        return [each for name, each in self.columns.items() if name not in names]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe that was proposed for a table.

    Attributes:
        kind: events or snapshot.
        text: the recipe as YAML, its comments saying why.
        document: the same as a mapping.
        guesses: every part that was guessed, with the evidence.
        suspicious: what a person should look at.
        rows: rows that were looked at; `whole` whether these are all.
        used: of them, how many the recipe uses, by what they become.
        refused: and how many it refuses, by reason.
    """

    kind: str
    text: str
    document: dict[str, Any]
    guesses: tuple[Guess, ...]
    suspicious: tuple[Suspicion, ...]
    rows: int
    whole: bool
    used: dict[str, int]
    refused: dict[str, int]


def field_name(column: str, taken: Iterable[str]) -> str:
    """A name for a field: letters, digits and _, no keyword of SQL, not taken.

    >>> field_name("Unit Price (EUR)", []), field_name("order", []), field_name("€", []), field_name("a", ["a"])
    ('unit_price_eur', 'order_', 'column', 'a_2')
    """
    name = "_".join(each for each in tokens(column) if each.isascii()) or "column"
    name = name if name[0].isalpha() else f"c_{name}"
    if name in _TAKEN or not _is_name(name):
        name += "_"
    known, chosen, n = set(taken), name, 2
    while chosen in known:
        chosen, n = f"{name}_{n}", n + 1
    return chosen


def _is_name(name: str) -> bool:
    """Whether SQL takes it as a column's name, wherever a recipe may write it."""
    tried = (name, f"SUM(-{name})", f"{name} IS NULL")
    try:
        return all(set(pl.sql_expr(text).meta.root_names()) == {name} for text in tried)
    except pl.exceptions.PolarsError:
        return False
