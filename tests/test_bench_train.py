"""The member `train`: both sides predict the same, and every figure says how it was taken."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import MIN_REPEATS
from benchmarks.members.train import benchmark, made


def test_it_compares_a_fit_with_bare_lightgbm_and_reports_memory() -> None:
    """That predictions are equal is asserted before anything is timed."""
    rounds, early, memory = benchmark.run(True)
    assert [each.name for each in (rounds, early, memory)] == ["train_rounds", "train_early_stopping", "train_memory"]
    for each in (rounds, early):
        assert each.repeats >= MIN_REPEATS and each.unit == "s" and each.ratio > 0
        assert each.settings["parameters"]["num_threads"] == 1 and each.settings["rows"] == 2800
    assert memory.kairos == memory.settings["kairos"]["peak_mb"] > memory.settings["kairos"]["rows_made_mb"] > 0


def test_the_rows_are_the_same_every_time_and_can_be_learnt_from() -> None:
    one, two = made(900, 6), made(900, 6)
    assert one.data_hash == two.data_hash
    assert {name: len(each) for name, each in one.splits.items()} == {"train": 630, "validation": 135, "test": 135}
    assert 0.08 < np.isnan(one.train.x).mean() < 0.12 and 0.1 < one.train.y.mean() < 0.4
