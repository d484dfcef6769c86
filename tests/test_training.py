"""From events to a served model: training sets that do not leak, models that repeat, cards that suffice."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from features.kernel.card import column_name
from features.kernel.errors import InvalidInput
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from features.market import Market, simulate
from serving.bundles import load_bundle
from serving.known import Known
from serving.score import score
from training import pipeline
from training.booster import DEFAULTS, LARGE, Trainer, load, threads
from training.calibration import calibrate
from training.headline import headline
from training.kinds import binary
from training.plan import Plan
from training.problems import all_problems
from training.rows import cutoffs, dataset
from training.synthetic import Synthetic, draw
from training.testing import Computed
from training.trainingset import TrainingSet

quiet_libraries()
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=7, people=700)


def training_set(name: str, events: pl.DataFrame, market: Market) -> TrainingSet:
    problem = all_problems()[name]
    plan = cutoffs.for_problem(market.start, market.end, problem.horizon)
    return dataset.build(problem, events, Computed(events), plan)


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return draw(generator("training"), 1200)


@pytest.fixture(scope="module")
def found(made: Synthetic) -> pipeline.Fitted:
    return pipeline.fit(made.data, plan=Plan(trials=3))


# -- models ------------------------------------------------------------------------------------------------------------


def test_the_same_data_give_the_same_model_and_card(made: Synthetic, found: pipeline.Fitted) -> None:
    again = pipeline.fit(draw(generator("training"), 1200).data, plan=Plan(trials=3))
    assert again.model == found.model and again.card.model_sha256 == found.card.model_sha256
    assert dataclasses.replace(again, card=found.card, data=found.data).evaluation.metrics == found.card.metrics
    assert again.card.calibration == found.card.calibration
    other = pipeline.fit(draw(generator("another"), 1200).data, plan=Plan(trials=0))
    assert other.card.data_hash != found.card.data_hash and other.model.sha256 != found.model.sha256


def test_it_comes_close_to_the_truth(made: Synthetic, found: pipeline.Fitted) -> None:
    """Of what separates the baseline from knowing even what nobody sees of a person, it gains two fifths at least."""
    best = roc_auc_score(made.data.test.y, made.truth)
    auc = found.card.metric("auc")
    assert auc.baseline is not None and auc.baseline + 0.4 * (best - auc.baseline) < auc.value < best + 0.01
    p = calibrate.apply(found.calibration, found.model.raw(made.data.test.x))
    assert abs(p.mean() - made.truth.mean()) < 0.02
    assert np.corrcoef(p, made.truth)[0, 1] > 0.85


def test_out_of_fold_scores_come_from_models_that_do_not_know_the_person() -> None:
    """Labels that follow from who it is alone: known persons are told apart, unknown ones cannot be."""
    made = draw(generator("folds"), 400, signal=0.0)
    data = made.data
    number = np.array([int(each.removeprefix("p")) for each in data.train.person.tolist()])
    loyal, tell = number % 10 < 5, generator("who").permutation(400)[number]
    x = data.train.x.copy()
    x[:, 0] = tell  # a number that is each person's own
    learnable = dataclasses.replace(data, train=dataclasses.replace(data.train, x=x, y=loyal.astype(float)))
    trainer = Trainer(learnable, binary.kind.objective)
    parameters = {**DEFAULTS, "num_leaves": 63, "min_data_in_leaf": 2, "feature_fraction": 1.0}
    model = dataclasses.replace(trainer.fit(parameters), rounds=60)
    assert roc_auc_score(loyal, trainer.fit(parameters, rounds=60).raw(x)) > 0.55
    assert abs(roc_auc_score(loyal, trainer.out_of_fold(model)) - 0.5) < 0.1


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_large_data_give_the_same_trees_on_any_number_of_cores(cores: int, made: Synthetic) -> None:
    """With weights of many sizes, whose sums hang on their order, and the same as one thread row by row."""
    weight = generator("heavy").lognormal(0, 4, len(made.data.train))
    data = dataclasses.replace(made.data, train=dataclasses.replace(made.data.train, weight=weight))
    small, large = Trainer(data, binary.kind.objective), Trainer(data, binary.kind.objective)
    assert threads(LARGE - 1)["num_threads"] == 1 and threads(LARGE)["num_threads"] == 0
    large.fixed = large.fixed | threads(LARGE) | {"num_threads": cores}
    del large.fixed["force_row_wise"]
    trees = [each.fit(DEFAULTS, rounds=60).text.partition("\nparameters:")[0] for each in (small, large)]
    assert trees[0] == trees[1] and trees[0].count("\nTree=") > 20


def test_known_directions_are_kept(made: Synthetic) -> None:
    problem = dataclasses.replace(made.data.problem, monotone={"x:a": 1})
    model = Trainer(dataclasses.replace(made.data, problem=problem), binary.kind.objective).fit(DEFAULTS)
    rows = np.repeat(made.data.test.x[:50], 40, axis=0)
    rows[:, 0] = np.tile(np.linspace(-3, 3, 40), 50)
    assert np.all(np.diff(model.raw(rows).reshape(50, 40), axis=1) >= 0)


def test_contributions_add_up(found: pipeline.Fitted) -> None:
    x = found.data.test.x[:300]
    assert found.model.contributions(x).sum(axis=1) == pytest.approx(found.model.raw(x), abs=1e-9)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"model\.txt"):
        load("tree\nnot really")


@pytest.mark.parametrize("name", ["churn", "send_time"])
def test_serving_answers_from_text_and_card_what_training_found(name: str, market: Market, tmp_path: Path) -> None:
    """The bundle alone, through LightGBM's C API, gives the very probabilities of the trained object."""
    data = training_set(name, market.events, market)
    trained = pipeline.train(data, Settings(home=tmp_path), plan=Plan(trials=0))
    served = load_bundle(trained.bundle)
    model = pipeline.fit(data, plan=Plan(trials=0)).model
    people = dict.fromkeys(zip(data.test.person[-300:].tolist(), data.test.as_of[-300:].tolist(), strict=True))
    spine = pl.DataFrame(list(people), schema={"customer_id": pl.String, "as_of": pl.Datetime("us")}, orient="row")
    spine = spine.with_columns(pl.col("as_of").dt.replace_time_zone("UTC"))
    rows = Computed(market.events).historical(spine, served.refs).select(map(column_name, served.refs)).rows()
    answers = score(served, [Known("fresh", dict(zip(served.refs, row, strict=True)), 0.0) for row in rows])
    expected = calibrate.apply(trained.card.calibration, model.raw(data.test.x))
    place = {key: i for i, key in enumerate(people)}
    for i in range(len(data.test) - 300, len(data.test)):
        answer = answers[place[(str(data.test.person[i]), data.test.as_of[i].item())]]
        if data.candidates is None:
            assert answer.value == expected[i]
        else:
            assert answer.candidates is not None
            hour, day = (int(data.test.x[i, data.columns.index(each)]) for each in ("hour_of_day", "day_of_week"))
            assert answer.candidates[day * 24 + hour] == expected[i]


def test_every_problem_of_the_market_is_learnt_and_its_truth_is_not_beaten(market: Market) -> None:
    """On a small market the gates may well refuse; but every model must have learnt something, and none can cheat."""
    truth = market.truth.purchase_probability
    asked = [name for name, each in all_problems().items() if each.kind in ("binary", "candidates")]
    assert len(asked) >= 5
    for name in asked:
        data = training_set(name, market.events, market)
        found = pipeline.fit(data, plan=Plan(trials=0))
        auc = found.card.metric("auc")
        assert auc.low > 0.5, name
        assert {each.code: each.outcome for each in found.findings}["KT103"] == "passed", name
        if name in ("churn", "propensity"):
            p = np.empty(len(data.test))
            for cutoff in data.cutoffs.test:
                mine = data.test.as_of == np.datetime64(cutoff.replace(tzinfo=None))
                p[mine] = truth(data.test.person[mine].tolist(), cutoff, data.problem.horizon.days)
            best = roc_auc_score(data.test.y, 1 - p if name == "churn" else p)
            assert 0.5 < auc.value < best + 0.01, name


def test_a_card_says_its_weakness_first(found: pipeline.Fitted, made: Synthetic) -> None:
    first, second = found.card.headline.split("; ")
    assert "otherwise" in first and "rightly" in second and found.card.headline.endswith(".")
    few = dataclasses.replace(found.evaluation, positives=40)
    assert "only 40 positives" in headline(found.data, few).split(";")[0]


# -- the way there -----------------------------------------------------------------------------------------------------


def test_progress_says_what_is_done_and_only_goes_forward(made: Synthetic) -> None:
    told: list[tuple[str, float]] = []
    pipeline.fit(made.data, plan=Plan(trials=2), progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] <= 1
    assert list(dict.fromkeys(what for what, _ in told)) == ["tune", "calibrate", "evaluate"]


def test_whoever_interrupts_leaves_a_study_to_go_on_with_and_no_half_registered_model(
    made: Synthetic, tmp_path: Path
) -> None:
    settings, plan = Settings(home=tmp_path / "home"), Plan(trials=3, storage=tmp_path / "studies.sqlite")

    def interrupt(what: str, share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.train(made.data, settings, plan=plan, progress=interrupt)
    assert not list(settings.home.rglob("*")), "no bundle, no run"
    told: list[float] = []
    resumed = pipeline.fit(made.data, plan=plan, progress=lambda what, share: told.append(share))
    assert told[1] > 0.3, "what was tried before counts"
    assert resumed.model == pipeline.fit(made.data, plan=plan).model


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*``noload`` loader strategy")  # MLflow's own, of SQLAlchemy 2.1
def test_mlflow_run_trains_a_problem(market: Market, tmp_path: Path) -> None:
    """`mlflow run . -e train -P problem=churn --env-manager local`, in a home that holds nothing but events."""
    from features.frames import to_events
    from features.kernel.ledger import Ledger

    home = tmp_path / "home"
    ledger = Ledger(f"sqlite:///{home / 'ledger.sqlite'}")
    ledger.append_events(list(to_events(market.events)))
    ledger.close()
    uri = f"sqlite:///{tmp_path / 'mlflow.sqlite'}"
    binaries = Path(sys.executable).parent
    environment = {
        "PATH": f"{binaries}:/usr/bin:/bin", "KAIROS_HOME": str(home), "MLFLOW_TRACKING_URI": uri,
        "KAIROS_NOW": market.end.isoformat(), "HOME": str(tmp_path), "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    command = [str(binaries / "mlflow"), "run", str(ROOT), "-e", "train", "-P", "problem=churn", "-P", "trials=1"]
    done = subprocess.run(
        [*command, "--env-manager", "local"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version_by_alias("kairos-churn", "champion")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED" and run.data.params["problem"] == "churn" and run.data.metrics["auc"] > 0.6
    assert not (home / "mlflow.sqlite").exists()
    listed = subprocess.run(
        [str(binaries / "kairos"), "models", "show", "churn", "--json"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(listed.stdout)["run_id"] == version.run_id
