"""What tests and notebooks build training sets from without a feature store on disk."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from features.compute import compute, wide

__all__ = ["Computed"]


class Computed:
    """`training.rows.dataset.Historical` that computes what it is asked for from the events given; keeps nothing."""

    def __init__(self, events: pl.DataFrame) -> None:
        self.events = events

    def historical(self, spine: pl.DataFrame, refs: Sequence[str]) -> pl.DataFrame:
        """`customer_id`, `as_of` and `column_name(ref)` of each reference, as known then, in the spine's order."""
        return wide(compute(self.events, spine), refs)
