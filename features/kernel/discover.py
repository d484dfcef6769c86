"""Finding the members of an open family: one file of a folder, one member, known to all unasked."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TypeVar

from features.kernel.errors import NotFound

__all__ = ["discover", "pick"]

T = TypeVar("T")


def discover(package: ModuleType, attribute: str, kind: type[T]) -> dict[str, T]:
    """Every module of `package` that has `attribute` of the given kind, by module name, sorted.

    A module without the attribute is a mistake, not a helper: helpers live outside the folder.

    Raises:
        TypeError: a module lacks the attribute or has one of another kind.
    """
    found: dict[str, T] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        member = getattr(module, attribute, None)
        if not isinstance(member, kind):
            raise TypeError(f"{module.__name__} must define `{attribute}` of type {kind.__name__}")
        found[info.name] = member
    return found


def pick(family: dict[str, T], name: str, *, field: str) -> T:
    """The member called `name`.

    Raises:
        NotFound: there is none; the message lists those there are.
    """
    try:
        return family[name]
    except KeyError:
        raise NotFound(
            "is not known", field=field, value=name, remedy=f"choose one of: {', '.join(family) or '(none)'}"
        ) from None
