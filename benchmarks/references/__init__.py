"""Results on data whose results are known: one file, one data set. `all_references()` finds them."""

from __future__ import annotations

import sys

from benchmarks.reference import Reference
from features.kernel.discover import discover

__all__ = ["all_references"]


def all_references() -> dict[str, Reference]:
    """Every reference by name, sorted."""
    return discover(sys.modules[__name__], "reference", Reference)
