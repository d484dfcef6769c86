"""The kinds of questions: one file, one kind. `kind_of()` gives a problem's."""

from __future__ import annotations

import sys

from features.kernel.discover import discover, pick
from training.kind import Kind
from training.problem import Problem

__all__ = ["all_kinds", "kind_of"]


def all_kinds() -> dict[str, Kind]:
    """Every kind by name, sorted.

    >>> "binary" in all_kinds()
    True
    """
    return discover(sys.modules[__name__], "kind", Kind)


def kind_of(problem: Problem) -> Kind:
    """How the answers of a problem are learnt and judged; candidates are yes-or-no questions, one each.

    Raises:
        NotFound: there is no such kind.
    """
    name = "binary" if problem.kind == "candidates" else problem.kind
    kind = pick(all_kinds(), name, field=f"kind of {problem.name}")
    return kind if kind.of is None else kind.of(problem)
