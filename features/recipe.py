"""Recipes: how a foreign table becomes events or labelled snapshots."""

from __future__ import annotations

from features.importing.imported import Imported, SnapshotColumn, SnapshotInfo

__all__ = ["Imported", "SnapshotColumn", "SnapshotInfo"]
