"""SHAP values: one row as serving explains it, many rows as `kairos explain` does, against LightGBM's `pred_contrib`.

The peer is `lightgbm.Booster.predict(rows, pred_contrib=True)`; the same model, the same rows, a tenth of the values
missing. One row must be equal bit by bit. Many rows must agree as WOODELF does, to 1e-5; it uses one thread, and is
compared with LightGBM on one, and on all. With a split by category WOODELF does not apply, and LightGBM itself answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Benchmark, Result, Side, compare, per_call
from features.kernel.seeds import generator
from serving.model import Booster
from training.booster import load
from training.explanation.bulk import AGREES, BulkShap, blocks

__all__ = ["benchmark"]

FEATURES, TREES, LEAVES = 60, 200, 8
MANY, WITH_CATEGORY = 100_000, 10_000
_TRAINED_ON = 5_000
_CATEGORY = FEATURES - 1

Matrix = NDArray[np.float32]


def run(quick: bool) -> list[Result]:
    """One row; many rows where WOODELF applies, and where it does not."""
    plain, by_category = _model(category=False), _model(category=True)
    many, fewer = _rows(2_000 if quick else MANY, "many"), _rows(500 if quick else WITH_CATEGORY, "category")
    return [
        _one_row(plain, _rows(1, "one"), 0.05 if quick else 1.0),
        _many("many_rows", plain, many, threads=1),
        _many("many_rows_all_cores", plain, many, threads=0),
        _many("many_rows_by_category", by_category, fewer, threads=0),
    ]


def _one_row(text: str, row: Matrix, seconds: float) -> Result:
    ours, theirs = Booster(text.encode()), load(text)
    return compare(
        "one_row",
        Side(
            "serving's shared library through ctypes",
            lambda: ours.contributions(row),
            per_call(lambda: ours.contributions(row), seconds=seconds, scale=1e6),
            {"threads": 1},
        ),
        Side(
            "lightgbm.Booster.predict",
            lambda: theirs.predict(row, pred_contrib=True, num_threads=1),
            per_call(lambda: theirs.predict(row, pred_contrib=True, num_threads=1), seconds=seconds, scale=1e6),
            {"threads": 1},
        ),
        unit="µs a row",
        equal=lambda a, b: np.array_equal(a, b),
        settings=_shared(1),
    )


def _many(name: str, text: str, rows: Matrix, *, threads: int) -> Result:
    """`threads` of the peer; 0 is every core."""
    bulk, theirs = BulkShap(text, rows), load(text)

    def ours() -> Matrix:
        return np.concatenate(list(blocks(rows, bulk, lambda done, total: None)))

    def peer() -> NDArray[np.float64]:
        return np.asarray(theirs.predict(rows, pred_contrib=True, num_threads=threads))[:, :-1]

    used = {"path": bulk.path, "why": bulk.why, "threads": 1 if bulk.path == "woodelf" else "all"}
    return compare(
        name,
        Side("training.explanation.bulk", ours, per_call(ours, seconds=0.0), used),
        Side("lightgbm.Booster.predict", peer, per_call(peer, seconds=0.0), {"threads": threads or "all"}),
        unit="s",
        equal=lambda a, b: bool(np.abs(a - b).max() <= AGREES * max(1.0, np.abs(b).max())),
        settings=_shared(len(rows)),
    )


def _rows(n: int, name: str) -> Matrix:
    rng = generator("bench shap", name)
    x = rng.normal(size=(n, FEATURES))
    x[:, FEATURES // 2 :] = rng.poisson(3, size=(n, FEATURES - FEATURES // 2))
    x[rng.random(x.shape) < 0.1] = np.nan
    return x.astype(np.float32)


def _model(*, category: bool) -> str:
    import lightgbm  # noqa: PLC0415

    x = _rows(_TRAINED_ON, "train")
    known = np.nan_to_num(x.astype(np.float64))
    pull = known[:, 0] + known[:, 1] * known[:, 2] + 0.5 * known[:, 31] + np.isin(known[:, _CATEGORY], [1, 4])
    y = pull + generator("bench shap", "noise").normal(size=len(x)) > np.median(pull)
    data = lightgbm.Dataset(x, y.astype(np.float64), categorical_feature=[_CATEGORY] if category else [])
    parameters: dict[str, Any] = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05, "seed": 7}
    fitted = lightgbm.train(parameters | {"verbosity": -1, "num_threads": 1, "max_cat_to_onehot": 1}, data, TREES)
    return str(fitted.model_to_string())


def _shared(rows: int) -> dict[str, Any]:
    return {"rows": rows, "features": FEATURES, "trees": TREES, "leaves": LEAVES, "missing": 0.1}


benchmark = Benchmark("SHAP values of one row and of many, against LightGBM's pred_contrib", run)
