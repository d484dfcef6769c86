"""Recipes: how a foreign table becomes events or labelled snapshots, every row used or counted under a named reason.

    imported = read(load_recipe("online_retail"), Path("onlineretail.parquet"))

The YAML format is explained in docs/recipes.md; the parts are in `features.importing`.
"""

from __future__ import annotations

from pathlib import Path

from features.importing.as_events import read_events
from features.importing.as_snapshot import read_snapshot
from features.importing.imported import Imported, SnapshotColumn, SnapshotInfo
from features.importing.load import load_recipe, recipe_names
from features.importing.schema import EventRecipe, Recipe, SnapshotRecipe
from features.importing.table import read_table

__all__ = [
    "EventRecipe",
    "Imported",
    "Recipe",
    "SnapshotColumn",
    "SnapshotInfo",
    "SnapshotRecipe",
    "load_recipe",
    "read",
    "recipe_names",
]


def read(recipe: EventRecipe | SnapshotRecipe, file: str | Path) -> Imported:
    """Read a file by a recipe.

    Raises:
        NotFound: there is no such file.
        InvalidRecipe: the file is not what the recipe says: names the key, what was found and a remedy.
    """
    raw = read_table(recipe, Path(file))
    return read_events(recipe, raw) if isinstance(recipe, EventRecipe) else read_snapshot(recipe, raw)
