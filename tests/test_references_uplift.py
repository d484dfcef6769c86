"""What Kairos reaches on Hillstrom's e-mail test, and how far it is from the truth of the simulated market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.references import hillstrom, market
from features.market import simulate
from features.recipe import load_recipe, read
from training.trainingset import TrainingSet

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data (../shared/data) are not here")


@pytest.mark.real_data
@needs_data
def test_the_womens_mail_can_be_targeted_and_the_mens_has_no_proven_gain() -> None:
    told: list[float] = []
    found = hillstrom.reference.run(DATA, lambda what, share: told.append(share))
    assert [each.what for each in found if not each.holds] == []
    women, men = (next(each for each in found if each.what.startswith(f"{who} e-mail: Qini")) for who in _WHO)
    assert women.value >= 5 and women.low is not None and women.low > 2
    assert men.low is not None and men.high is not None and men.low <= 0 < men.high
    assert told == sorted(told) and told[-1] == 1.0


_WHO = ("women's", "men's")


@pytest.mark.real_data
@needs_data
def test_every_customer_is_answered_once_by_a_model_that_never_saw_them() -> None:
    imported = read(load_recipe("hillstrom"), DATA / "hillstrom" / "hillstrom.csv")
    sets: list[TrainingSet] = [
        hillstrom.training_set(imported, hillstrom.WOMEN, fold) for fold in range(hillstrom.FOLDS)
    ]
    judged = np.concatenate([each.test.person for each in sets])
    assert len(judged) == len(set(judged.tolist())) == 21_387 + 21_306
    for each in sets:
        assert not set(each.test.person.tolist()) & set(each.members)
        assert each.split == "random" and not {"visit", "conversion", "spend", "segment"} & set(each.inputs)


@pytest.mark.parametrize("name", ["propensity", "uplift"])
def test_models_of_the_market_come_near_its_truth(name: str) -> None:
    found = market.claims(name, simulate(seed=7, people=1_500))
    assert len(found) == 2 and [each.what for each in found if not each.holds] == []
