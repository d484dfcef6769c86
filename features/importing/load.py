"""From a recipe's YAML to a `Recipe` that can be relied on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from features.importing.checks import check_common, check_events, check_snapshot
from features.importing.expect import check_expected
from features.importing.schema import EventRecipe, SnapshotRecipe, checked, did_you_mean
from features.kernel.errors import InvalidRecipe, NotFound

__all__ = ["load_recipe", "parsed", "recipe_names", "recipe_of"]

_FOLDER = Path(__file__).parent.parent / "recipes"
_SUFFIXES = (".yaml", ".yml")
_KINDS: dict[str, type[EventRecipe] | type[SnapshotRecipe]] = {"events": EventRecipe, "snapshot": SnapshotRecipe}


def recipe_names() -> list[str]:
    """The recipes that come with Kairos."""
    return sorted(each.stem for each in _FOLDER.glob("*.yaml"))


def load_recipe(name_or_path: str | Path) -> EventRecipe | SnapshotRecipe:
    """A recipe by its name, or from a YAML file of your own.

    Raises:
        NotFound: there is no such recipe or file.
        InvalidRecipe: it says something that cannot be right; names the key, the value and a remedy.

    >>> load_recipe("online_retail").time_zone
    'Europe/London'
    """
    text = str(name_or_path)
    path = Path(text) if text.endswith(_SUFFIXES) or "/" in text else _FOLDER / f"{text}.yaml"
    if not path.is_file():
        remedy = did_you_mean(text, recipe_names()) + " or give the path of a .yaml file"
        raise NotFound("there is no such recipe", field="recipe", value=text, remedy=remedy)
    return recipe_of(_yaml(path), path.stem)


def recipe_of(document: dict[Any, Any], name: str) -> EventRecipe | SnapshotRecipe:
    """A recipe from what its YAML says.

    Raises:
        InvalidRecipe: it says something that cannot be right; names the key, the value and a remedy.
    """
    kind = document.get("kind")
    if kind not in _KINDS:
        raise InvalidRecipe("must be events or snapshot", field="kind", value=kind, remedy="say which the rows become")
    if "name" in document:
        raise InvalidRecipe("is the file's name", field="name", value=document["name"], remedy="leave it out")
    document = document | {"name": name}
    checked(document, _KINDS[kind], "")
    recipe = msgspec.convert(document, _KINDS[kind])
    check_common(recipe)
    if isinstance(recipe, EventRecipe):
        check_events(recipe)
    else:
        check_snapshot(recipe)
    check_expected(recipe)
    return recipe


class _StrictLoader(yaml.SafeLoader):
    """PyYAML lets the last of two equal keys win in silence; here it is an error. A date is text as it stands."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return "tag:yaml.org,2002:str" if tag == "tag:yaml.org,2002:timestamp" else tag

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InvalidRecipe("stands there twice", field=str(key), remedy="keep one of them")
        return super().construct_mapping(node, deep)


def _yaml(path: Path) -> dict[Any, Any]:
    try:
        return parsed(path.read_text("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise InvalidRecipe(f"is no YAML: {error}", field=str(path), remedy="save it as UTF-8") from None


def parsed(text: str, where: str) -> dict[Any, Any]:
    """What a recipe's YAML says; InvalidRecipe, naming `where`, if it is none."""
    try:
        document = yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise InvalidRecipe(f"is no YAML: {error}", field=where, remedy="check its indentation") from None
    if not isinstance(document, dict):
        raise InvalidRecipe("holds no recipe", field=where, remedy="see docs/recipes.md")
    return document
