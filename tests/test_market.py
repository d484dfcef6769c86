"""The simulated market: the same each time, within the event contract, and true to its own truth."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from scipy import integrate, stats
from sklearn.metrics import roc_auc_score

from features.compute import compute
from features.frames import EVENT_SCHEMA, events_frame, spine_of, to_events
from features.kernel.card import column_name
from features.kernel.errors import InvalidEvent, InvalidInput, NotFound
from features.kernel.events import EVENT_TYPES
from features.kernel.ledger import Ledger
from features.market import ACTIONS, Market, simulate
from features.simulation.lives import ACTIVE, LOSS_HAZARD, fading_hazard, order_probability
from features.simulation.processes import season

MIDDLE = datetime(2025, 6, 1, tzinfo=UTC)
SMALL_P = 1e-3


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate()


@pytest.fixture(scope="module")
def small() -> Market:
    return simulate(people=400)


def of(market: Market, *types: str) -> pl.DataFrame:
    return market.events.filter(pl.col("type").is_in(types))


def prop(name: str) -> pl.Expr:
    return pl.col("properties").str.json_path_match(f"$.{name}")


def happened(market: Market, as_of: datetime, days: int, ids: list[str]) -> NDArray[np.bool_]:
    """Who of `ids` ordered in the window, from the events alone."""
    when = pl.col("occurred_at")
    orders = of(market, "order").filter(when >= as_of, when < as_of + timedelta(days=days))
    return pl.Series(ids).is_in(orders["customer_id"].unique().implode()).to_numpy()


def calibration_p_value(probability: NDArray[np.float64], outcome: NDArray[np.bool_], bins: int = 10) -> float:
    """p of "each outcome is a draw from its probability": squared z-scores of equal-count bins add up to chi-square."""
    order = np.argsort(probability)
    z = [
        (outcome[part].sum() - probability[part].sum()) / np.sqrt((probability[part] * (1 - probability[part])).sum())
        for part in np.array_split(order, bins)
    ]
    return float(stats.chi2.sf(np.sum(np.square(z)), bins))


# -- the same, and well formed


def test_the_same_arguments_give_the_same_market_and_another_seed_another(small: Market) -> None:
    assert_frame_equal(simulate(people=400).events, small.events)
    assert not simulate(seed=8, people=400).events["occurred_at"].equals(small.events["occurred_at"])


def test_events_keep_the_schema_the_order_and_the_bounds(market: Market) -> None:
    events = market.events
    assert dict(events.schema) == EVENT_SCHEMA
    assert events["event_id"].is_unique().all()
    assert events["received_at"].is_sorted()
    assert events.select((pl.col("received_at") >= pl.col("occurred_at")).all()).item()
    assert events["occurred_at"].min() >= market.start and events["received_at"].max() < market.end
    assert market.end == datetime(2026, 11, 1, tzinfo=UTC)
    assert 300_000 < len(events) <= 450_000
    late = events.select((pl.col("received_at") - pl.col("occurred_at") > timedelta(minutes=30)).mean()).item()
    assert 0.01 < late < 0.03


def test_every_row_is_an_event_and_the_ledger_gives_back_the_same_frame(small: Market, tmp_path: object) -> None:
    converted = list(to_events(small.events))
    assert [each.event_id for each in converted] == small.events["event_id"].to_list()
    assert {each.type for each in converted} == set(EVENT_TYPES) - {"custom", "assignment"}
    some = small.events.filter(pl.col("customer_id").is_in(["c00001", "c00002", "c00003", "c00150"]))
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    assert {receipt.status for receipt in ledger.append_events(list(to_events(some)))} == {"accepted"}
    assert_frame_equal(events_frame(row for part in ledger.events() for row in part), some)
    ledger.close()


def test_a_row_that_breaks_the_contract_is_refused_by_name(small: Market) -> None:
    bad = small.events.head(1).with_columns(pl.lit("orderr").alias("type"))
    with pytest.raises(InvalidEvent, match="orderr"):
        list(to_events(bad))


def test_people_introduce_themselves_before_anything_else(small: Market) -> None:
    first = small.events.sort("occurred_at", maintain_order=True).unique("customer_id", keep="first")
    assert set(first["type"]) <= {"profile", "form"}
    profiles = of(small, "profile").with_columns(prop("timezone").alias("zone"))
    assert profiles["customer_id"].n_unique() == 400
    assert profiles["zone"].null_count() == 0
    consents = of(small, "consent").filter(pl.col("channel") != "push").select("customer_id", "channel").unique()
    assert len(consents) == 800


# -- messages


def test_answers_follow_their_send(market: Market) -> None:
    sends = of(market, "send").select("message_id", "customer_id", "channel", sent="occurred_at")
    assert sends["message_id"].is_unique().all()
    answers = of(market, "open", "click").join(sends, on=["message_id", "customer_id", "channel"], how="left")
    answers = answers.with_columns((pl.col("occurred_at") - pl.col("sent")).alias("delay"))
    orphans = answers.filter(pl.col("delay").is_null())  # a send received only after the end
    assert len(orphans) < 0.002 * len(answers)
    machine = answers.filter(prop("machine") == "true")
    assert machine.select(pl.col("delay").max()).item() <= timedelta(seconds=8)
    assert machine.select(pl.col("delay").min()).item() >= timedelta(seconds=1)
    human = answers.filter(prop("machine") == "false")
    assert timedelta(minutes=20) < human["delay"].median() < timedelta(hours=1)
    assert human.select((pl.col("delay") > timedelta(seconds=10)).all()).item()
    opened = human["message_id"].unique().implode()
    assert of(market, "click").filter(pl.col("channel") == "email")["message_id"].is_in(opened).mean() > 0.99


def test_nobody_is_written_to_without_consent_or_after_leaving(market: Market) -> None:
    mails = of(market, "send").filter(pl.col("channel") == "email")
    granted = of(market, "consent").filter(pl.col("channel") == "email", prop("granted") == "true")
    since = granted.group_by("customer_id").agg(pl.col("occurred_at").min().alias("since"))
    left = of(market, "unsubscribe").select("customer_id", left="occurred_at")
    checked = mails.join(since, on="customer_id", how="left").join(left, on="customer_id", how="left")
    allowed = pl.col("occurred_at") >= pl.col("since") - timedelta(seconds=2)
    assert (
        checked.select((allowed & (pl.col("left").is_null() | (pl.col("occurred_at") < pl.col("left")))).mean()).item()
        > 0.999
    )
    assert len(left) > 50


def local_hours(market: Market, mails: pl.DataFrame) -> pl.DataFrame:
    """Mails with `hour` of week, converted with each person's own time zone."""
    zones = of(market, "profile").select("customer_id", prop("timezone").alias("zone")).unique("customer_id")
    joined = mails.join(zones, on="customer_id")
    parts = []
    for (zone,), part in joined.group_by("zone"):
        local = part["occurred_at"].dt.convert_time_zone(str(zone))
        parts.append(part.with_columns(((local.dt.weekday().cast(pl.Int64) - 1) * 24 + local.dt.hour()).alias("hour")))
    return pl.concat(parts)


def test_sends_are_spread_evenly_over_the_local_week_and_opens_are_not(market: Market) -> None:
    mails = local_hours(market, of(market, "send").filter(pl.col("channel") == "email"))
    assert stats.chisquare(np.bincount(mails["hour"], minlength=168)).pvalue > SMALL_P
    human = of(market, "open").filter(prop("machine") == "false")["message_id"].implode()
    opened = mails.filter(pl.col("message_id").is_in(human))
    assert stats.chisquare(np.bincount(opened["hour"], minlength=168)).pvalue < 1e-100


def test_opens_are_draws_from_the_true_probability_at_the_local_hour(market: Market) -> None:
    as_of, until = MIDDLE, MIDDLE + timedelta(days=28)  # engagement hardly changes within four weeks
    when = pl.col("occurred_at")
    mails = of(market, "send").filter(pl.col("channel") == "email", when >= as_of, when < until)
    mails = local_hours(market, mails).sort("message_id")
    ids = mails["customer_id"].to_list()
    known = ~np.isnan(market.truth.purchase_probability(ids, as_of, 1))  # arrived by then
    truth = market.truth.open_probability(ids, as_of)[np.arange(len(ids)), mails["hour"].to_numpy()]
    human = of(market, "open").filter(prop("machine") == "false")["message_id"].implode()
    opened = mails["message_id"].is_in(human).to_numpy()
    assert calibration_p_value(truth[known], opened[known]) > SMALL_P
    assert roc_auc_score(opened[known], truth[known]) > 0.75
    assert market.truth.open_probability(ids[:3]).shape == (3, 168)


# -- pushes and categories


def test_pushes_go_to_those_with_the_app_from_the_day_they_have_it(market: Market) -> None:
    granted = of(market, "consent").filter(pl.col("channel") == "push").select("customer_id", since="occurred_at")
    assert granted["customer_id"].is_unique().all()
    pushes = of(market, "send").filter(pl.col("channel") == "push").join(granted, on="customer_id", how="left")
    assert pushes.select((pl.col("occurred_at") >= pl.col("since") - timedelta(seconds=3)).mean()).item() > 0.999
    hours = local_hours(market, pushes)
    assert stats.chisquare(np.bincount(hours["hour"], minlength=168)).pvalue > SMALL_P


def test_clicks_are_draws_from_the_true_click_probability_of_their_channel(market: Market) -> None:
    as_of, until = MIDDLE, MIDDLE + timedelta(days=28)
    when = pl.col("occurred_at")
    sends = of(market, "send").filter(when >= as_of, when < until).sort("message_id")
    ids = sends["customer_id"].to_list()
    truth = market.truth.click_probability(ids, as_of)
    known = ~np.isnan(market.truth.purchase_probability(ids, as_of, 1))  # arrived by then
    clicked = sends["message_id"].is_in(of(market, "click")["message_id"].implode()).to_numpy()
    for channel, name in enumerate(("email", "sms", "push")):
        these = known & (sends["channel"] == name).to_numpy()
        assert these.sum() > 150
        assert calibration_p_value(truth[these, channel], clicked[these], bins=3) > SMALL_P, name
    best = market.truth.click_probability(market.people.ids)[:, [0, 2]].argmax(axis=1).mean()
    assert 0.3 < best < 0.7  # neither mail nor push is best for all


def test_people_come_back_to_their_favourite_category(market: Market) -> None:
    orders = of(market, "order").sort("occurred_at", "event_id").with_columns(prop("category").alias("category"))
    assert set(orders["category"]) == {"books", "kitchen", "garden", "toys"}
    again = orders.with_columns(before=pl.col("category").shift().over("customer_id")).drop_nulls("before")
    same = again.select((pl.col("category") == pl.col("before")).mean()).item()
    shares = orders["category"].value_counts(normalize=True)["proportion"].to_numpy()
    assert same > np.square(shares).sum() + 0.1


# -- lives


@pytest.mark.parametrize("days", [30, 90])
def test_orders_are_draws_from_the_true_purchase_probability(market: Market, days: int) -> None:
    ids = market.people.ids
    for month in range(1, 9):
        as_of = datetime(2025, month, 1, tzinfo=UTC)
        truth = market.truth.purchase_probability(ids, as_of, days)
        known = ~np.isnan(truth) & (truth > 0)
        assert calibration_p_value(truth[known], happened(market, as_of, days, ids)[known]) > SMALL_P / 8
        assert not happened(market, as_of, days, ids)[truth == 0].any()


def test_lead_conversions_are_draws_from_their_truth_and_can_be_told_apart(market: Market) -> None:
    ids, probabilities, outcomes = market.people.ids, [], []
    for month in range(12):
        as_of = datetime(2025, month + 1, 1, tzinfo=UTC)
        truth = market.truth.lead_conversion_probability(ids, as_of, 28)
        leads = ~np.isnan(truth)
        probabilities.append(truth[leads])
        outcomes.append(happened(market, as_of, 28, ids)[leads])
    probability, outcome = np.concatenate(probabilities), np.concatenate(outcomes)
    assert calibration_p_value(probability, outcome) > SMALL_P
    assert 0.75 < roc_auc_score(outcome, probability) < 0.85


def test_losses_are_draws_from_the_true_churn_probability(market: Market) -> None:
    at = (MIDDLE - market.start).days
    truth = market.truth.churn_probability(market.people.ids, MIDDLE, 120)
    still = (truth < 1) & ~np.isnan(truth)
    assert calibration_p_value(truth[still], (market.lives.lost < at + 120)[still], bins=5) > SMALL_P
    assert (market.lives.lost[truth == 1] <= at).all()
    assert (market.lives.converted[np.isnan(truth)] > at).all()


def test_churn_shows_as_slower_orders_and_fewer_visits_before_it(market: Market) -> None:
    lost = market.lives.lost
    rows = pl.DataFrame({"customer_id": market.people.ids, "lost": lost, "converted": market.lives.converted})
    rows = rows.filter((pl.col("lost") < 900) & (pl.col("lost") - pl.col("converted") > 300))
    for kind in ("order", "page_view"):
        day = (pl.col("occurred_at") - market.start).dt.total_seconds() / 86_400
        before = of(market, kind).join(rows, on="customer_id").select((pl.col("lost") - day).alias("days"))["days"]
        last, earlier = before.is_between(0, 60).sum(), before.is_between(180, 240).sum()
        assert last < 0.8 * earlier


def test_churn_probability_agrees_with_the_integral_of_its_hazards(small: Market) -> None:
    at = (MIDDLE - small.start).days
    active = int(np.flatnonzero(small.lives.state(float(at)) == ACTIVE)[0])
    hazard = fading_hazard(small.people)[active]

    def fades_at_and_is_lost_by_the_end(day: float) -> float:
        return float(hazard * np.exp(-hazard * day) * -np.expm1(-LOSS_HAZARD * (100 - day)))

    expected, _ = integrate.quad(fades_at_and_is_lost_by_the_end, 0, 100)
    assert_allclose(small.truth.churn_probability([small.people.ids[active]], MIDDLE, 100), expected, rtol=1e-6)


def test_order_probability_agrees_with_the_closed_form_over_a_moment_and_an_adaptive_solver(small: Market) -> None:
    state = np.full(len(small.people), ACTIVE)
    rate = small.people.order_rate * float(season(100.0))
    assert_allclose(order_probability(small.people, state, 100.0, 1e-3), rate * 1e-3, rtol=1e-2)
    hazard, person = fading_hazard(small.people)[0], small.people.order_rate[0]

    def slope(t: float, v: list[float]) -> list[float]:
        r = person * float(season(t))
        return [(r + hazard) * v[0] - hazard * v[1], (0.35 * r + LOSS_HAZARD) * v[1] - LOSS_HAZARD]

    exact = integrate.solve_ivp(slope, (190.0, 100.0), [1.0, 1.0], rtol=1e-10, atol=1e-12).y[0, -1]
    assert_allclose(order_probability(small.people, state, 100.0, 90.0)[0], 1 - exact, atol=1e-7)


def test_a_longer_window_never_makes_an_event_less_likely(small: Market) -> None:
    ids, truth = small.people.ids, small.truth
    for function in (truth.purchase_probability, truth.churn_probability, truth.lead_conversion_probability):
        short, long = function(ids, MIDDLE, 30), function(ids, MIDDLE, 60)
        assert (np.isnan(short) | (short <= long)).all()


# -- decisions


def test_responses_are_draws_from_the_true_response(market: Market) -> None:
    ids, rng = market.people.ids, np.random.default_rng(1)
    response = market.truth.response(ids, ACTIONS)
    assert_allclose(response.mean(axis=0), [0.10, 0.15, 0.30], atol=0.02)
    for column, action in enumerate(ACTIONS):
        drawn = np.array([market.respond(each, action, u) for each, u in zip(ids, rng.random(len(ids)), strict=True)])
        assert calibration_p_value(response[:, column], drawn) > SMALL_P
    assert_allclose(market.truth.response(ids[:5], ["discount", "none"]), response[:5, [2, 0]])


def test_who_saves_more_answers_more_to_a_discount_and_takes_more_of_them(market: Market) -> None:
    orders = of(market, "order").with_columns((prop("discount").cast(pl.Float64) > 0).alias("saved"))
    saved = orders.group_by("customer_id").agg(pl.col("saved").mean(), pl.len()).filter(pl.col("len") >= 5)
    response = market.truth.response(saved["customer_id"].to_list(), ["discount"])[:, 0]
    assert stats.spearmanr(saved["saved"].to_numpy(), response).statistic > 0.3


def thompson_rate(rates: NDArray[np.float64], rounds: int, size: int, floor: float, rng: np.random.Generator) -> float:
    """Conversion rate of Beta-Bernoulli Thompson sampling that learns between rounds of `size` decisions."""
    won, lost, total = np.ones(len(rates)), np.ones(len(rates)), 0.0
    for _ in range(rounds):
        best = np.bincount(rng.beta(won, lost, (2000, len(rates))).argmax(axis=1), minlength=len(rates)) / 2000
        pmf = floor + (1 - floor * len(rates)) * best
        counts = rng.multinomial(size, pmf)
        conversions = rng.binomial(counts, rates)
        won, lost, total = won + conversions, lost + counts - conversions, total + float(pmf @ rates)
    return total / rounds


def power(rate: float, n: int, against: float, m: int) -> float:
    """Power of the two-sided 5 % test of two proportions (normal approximation)."""
    error = np.sqrt(rate * (1 - rate) / n + against * (1 - against) / m)
    return float(stats.norm.cdf(abs(rate - against) / error - stats.norm.ppf(0.975)))


@pytest.mark.parametrize("rounds", [5, 10])
def test_two_thousand_decisions_show_both_lifts_with_power_of_nine_in_ten(market: Market, rounds: int) -> None:
    rates = market.truth.response(market.people.ids, ACTIONS).mean(axis=0)
    rng = np.random.default_rng(2)
    bandit = float(np.mean([thompson_rate(rates, rounds, 1000 // rounds, 0.02, rng) for _ in range(200)]))
    split = float(rates.mean())
    assert power(bandit, 1000, split, 600) >= 0.9
    assert power((1000 * bandit + 600 * split) / 1600, 1600, rates[0], 400) >= 0.9


# -- a changed market, and what is refused


def test_the_shifted_market_comes_after_the_end_and_shifts_what_it_says(market: Market) -> None:
    shifted = market.shifted(days=14)
    assert shifted.events["received_at"].min() >= market.end
    assert shifted.events["received_at"].max() < market.end + timedelta(days=14)
    assert not set(shifted.events["event_id"]) & set(market.events["event_id"])
    assert len(list(to_events(shifted.events))) == len(shifted.events)
    assert_frame_equal(market.shifted(days=14).events, shifted.events)
    surge = shifted.events.filter(pl.col("event_id").str.starts_with("sim7x-"))
    ids = surge["customer_id"].unique().sort().to_list()
    history = market.events.filter(pl.col("customer_id").is_in(ids))
    before = compute(history, spine_of(ids, market.end))
    after = compute(pl.concat([history, shifted.events]), spine_of(ids, market.end + timedelta(days=14)))
    for ref in shifted.refs:
        view, name = ref.split(":")
        pair = [frame[view][name].fill_null(-1.0).to_numpy() for frame in (before, after)]
        assert stats.ks_2samp(*pair).statistic > 0.2, column_name(ref)


def test_strangers_and_unknown_actions_are_named(small: Market) -> None:
    with pytest.raises(NotFound, match="nobody"):
        small.truth.purchase_probability(["nobody"], MIDDLE, 30)
    with pytest.raises(NotFound, match="bribe"):
        small.respond("c00001", "bribe", 0.5)
    with pytest.raises(InvalidInput, match="people"):
        simulate(people=3)
