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
from features.importing.raw import Progress
from features.importing.schema import EventRecipe, Recipe, SnapshotRecipe
from features.importing.source import read_source

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


def read(
    recipe: EventRecipe | SnapshotRecipe, file: str | Path | None, *, url: str = "", progress: Progress | None = None
) -> Imported:
    """Read a file, or a database's answer, by a recipe.

    Args:
        file: the file; for a recipe of the format `sql` a SQLite database, or None where `url` names one.
        url: SQLAlchemy URL of the database, for a recipe of the format `sql`.
        progress: told how much has been read.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a folder, or may not be read.
        InvalidRecipe: the file is not what the recipe says: names the key, what was found and a remedy.
        Unavailable: the database cannot be reached.
    """
    raw = read_source(recipe, Path(file) if file is not None else None, url, progress)
    return read_events(recipe, raw) if isinstance(recipe, EventRecipe) else read_snapshot(recipe, raw)
