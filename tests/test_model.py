"""The ctypes booster: the same bits as LightGBM's own package, from many threads, and clear refusals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator
from features.kernel.settings import quiet_libraries
from serving.model import Booster, Floats

quiet_libraries()
import lightgbm as lgb  # noqa: E402

WIDTH = 12
CATEGORY = 3


def rows(n: int, *names: object) -> Floats:
    """Numbers, one category column with unseen codes, and a tenth of everything missing."""
    rng = generator("model test", n, *names)
    x = rng.normal(size=(n, WIDTH))
    x[:, CATEGORY] = rng.integers(0, 9, n)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


@pytest.fixture(scope="module")
def trained() -> lgb.Booster:
    x = rows(2_000, "train")
    x[:, CATEGORY] = np.where(x[:, CATEGORY] > 6, np.nan, x[:, CATEGORY])  # codes 7 and 8 are seen in tests only
    y = np.nan_to_num(x[:, 0]) + np.isin(x[:, CATEGORY], [1, 4]) + generator("noise").normal(size=len(x)) > 0.5
    data = lgb.Dataset(x, y.astype(float), categorical_feature=[CATEGORY], feature_name=[f"c{i}" for i in range(WIDTH)])
    parameters = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "max_cat_to_onehot": 1,
        "min_data_per_group": 5,
    }
    booster = lgb.train(parameters, data, 60)
    assert "num_cat=0" not in booster.model_to_string().split("Tree=1")[0], "the model must split on the category"
    return booster


@pytest.fixture(scope="module")
def booster(trained: lgb.Booster) -> Booster:
    return Booster(trained.model_to_string().encode())


@pytest.mark.parametrize("n", [1, 2, 700])
def test_same_bits_as_lightgbm(trained: lgb.Booster, booster: Booster, n: int) -> None:
    x = rows(n, "same")
    assert np.array_equal(booster.raw(x), trained.predict(x, raw_score=True))
    assert np.array_equal(booster.contributions(x), trained.predict(x, pred_contrib=True))


def test_memory_order_does_not_matter(trained: lgb.Booster, booster: Booster) -> None:
    x = rows(50, "order")
    wide = np.zeros((50, 2 * WIDTH))
    wide[:, ::2] = x
    expected = trained.predict(x, raw_score=True)
    for same in (np.asfortranarray(x), wide[:, ::2], x[::-1][::-1]):
        assert np.array_equal(booster.raw(same), expected)
    assert np.array_equal(booster.raw(x.astype(np.float32)), trained.predict(x.astype(np.float32), raw_score=True))


def test_contributions_add_up_to_the_raw_score(booster: Booster) -> None:
    x = rows(200, "sum")
    np.testing.assert_allclose(booster.contributions(x).sum(axis=1), booster.raw(x), rtol=0, atol=1e-9)


def test_an_unseen_category_is_as_good_as_none(booster: Booster) -> None:
    unseen = rows(100, "unseen")
    unseen[:, CATEGORY] = 77
    missing = unseen.copy()
    missing[:, CATEGORY] = np.nan
    assert np.array_equal(booster.raw(unseen), booster.raw(missing))


def test_threads_share_one_booster(booster: Booster) -> None:
    batches = [rows(5 + i % 4, "thread", i) for i in range(200)]
    expected = [(booster.raw(each), booster.contributions(each)) for each in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: (booster.raw(each), booster.contributions(each)), batches))
    for (raw, contributions), (expected_raw, expected_contributions) in zip(found, expected, strict=True):
        assert np.array_equal(raw, expected_raw) and np.array_equal(contributions, expected_contributions)


def test_no_rows(booster: Booster) -> None:
    assert booster.raw(np.empty((0, WIDTH))).shape == (0,)
    assert booster.contributions(np.empty((0, WIDTH))).shape == (0, WIDTH + 1)


def test_names_and_width(booster: Booster) -> None:
    assert booster.names == tuple(f"c{i}" for i in range(WIDTH)) and booster.width == WIDTH


def test_refuses_another_width(booster: Booster) -> None:
    with pytest.raises(InvalidInput, match=f"must have {WIDTH} columns"):
        booster.raw(np.zeros((3, WIDTH - 1)))


def test_refuses_what_is_no_model(trained: lgb.Booster) -> None:
    with pytest.raises(InvalidInput, match="LightGBM says"):
        Booster(b"tree\nversion=v4\nthis is no model")


def test_refuses_many_outputs() -> None:
    x = rows(300, "multi")
    y = np.arange(300) % 3
    many = lgb.train(
        {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1}, lgb.Dataset(x, y), 2
    )
    with pytest.raises(InvalidInput, match="one output"):
        Booster(many.model_to_string().encode())
