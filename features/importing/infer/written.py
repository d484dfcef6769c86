"""A proposed recipe as YAML, with a comment above each part that says why it is so."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from features.importing.infer.proposal import Guess, Suspicion

__all__ = ["written"]

_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_ /.%*()<>+-]*[A-Za-z0-9_)%*]|[A-Za-z]")
_BLOCKS = ("columns", "refused", "used", "excluded", "profile")


def written(document: Mapping[str, Any], guesses: list[Guess], suspicious: list[Suspicion], about: str) -> str:
    """The YAML; parsed it gives the document again."""
    why = {each.where: each.why for each in guesses}
    lines = [f"# {each}" for each in _wrapped(f"Proposed by kairos import --infer from {about}. Read each guess.")]
    if suspicious:
        lines += ["#", "# Suspicious:"]
        for each in suspicious:
            lines += _comment(f"- {each.column + ': ' if each.column else ''}{each.what}", hang="#   ")
    for key, value in document.items():
        lines += ["", *_comment(why.get(key, ""))]
        lines += _block(key, value, why) if key in _BLOCKS and value else [f"{key}: {_flow(value)}"]
    return "\n".join(lines) + "\n"


def _block(key: str, value: Any, why: Mapping[str, str]) -> Iterator[str]:
    yield f"{key}:"
    if isinstance(value, list):
        for each in value:
            yield from _comment(why.get(f"{key}.{each['reason']}", ""), indent="  ")
            yield f"  - {_flow(each)}"
        return
    for name, each in value.items():
        if key != "excluded":  # the reason is the value there
            yield from _comment(why.get(f"{key}.{name}", ""), indent="  ")
        yield f"  {_flow(name)}: {_flow(each)}"


def _comment(text: str, indent: str = "", hang: str = "# ") -> list[str]:
    if not text:
        return []
    lines = _wrapped(text)
    return [f"{indent}# {lines[0]}", *(f"{indent}{hang}{each}" for each in lines[1:])]


def _wrapped(text: str) -> list[str]:
    printable = "".join(each if each.isprintable() else " " for each in " ".join(text.split()))
    return textwrap.wrap(printable, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(name)}: {_flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and yaml.safe_load(value) == value and ": " not in value and " #" not in value:
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())
