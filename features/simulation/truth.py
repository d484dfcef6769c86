"""The truth behind the market: the functions that generated it, to hold what models learn against."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from features.kernel.clock import to_micros
from features.kernel.errors import NotFound
from features.simulation.frame import DAY_MICROS
from features.simulation.lives import (
    LEAD,
    Lives,
    conversion_probability,
    loss_probability,
    order_probability,
)
from features.simulation.messages import (
    CAMPAIGNS,
    HOURS,
    click_chance,
    engagement,
    open_log_odds,
    text_click_chance,
)
from features.simulation.people import People
from features.simulation.processes import Floats, Ints, sigmoid
from features.simulation.push import App, push_open_log_odds
from features.simulation.win_back import DAYS

__all__ = ["ACTIONS", "Truth"]

ACTIONS = ("none", "reminder", "discount")
"""What decision point `win_back` chooses from."""


class Truth:
    """What is true of each person at an instant, given their hidden state then: no model can know more.

    Every method takes customer ids and answers in their order, float64. Probabilities over [as_of, as_of + days) are
    exact for whole days. nan stands where the question does not apply (a churn probability of a lead).
    """

    def __init__(self, people: People, lives: Lives, app: App, start: datetime) -> None:
        self._people, self._lives, self._app, self._start = people, lives, app, start
        self._row = {name: i for i, name in enumerate(people.ids)}
        self._responses = _responses(people)

    def purchase_probability(self, ids: Sequence[str], as_of: datetime, days: float) -> Floats:
        """P(at least one order in the window) [n].

        Customers order as a Poisson process of rate `order_rate · season(t)` while active, .35 of it while fading,
        none once lost (`features.simulation.lives.order_probability`). A lead's first order is its conversion.
        """
        at = self._days(as_of)
        orders = order_probability(self._people, self._lives.state(at), at, days)
        leads = conversion_probability(self._people, at, days)
        return self._at(ids, np.where(self._lives.state(at) == LEAD, leads, orders))

    def churn_probability(self, ids: Sequence[str], as_of: datetime, days: float) -> Floats:
        """P(lost for good by the end of the window) [n], 1 for who is lost already, nan for who is no customer.

        Hidden: active → fading with hazard exp(-.55·satisfaction + .3·thrift)/720 a day, fading → lost with 1/75. What
        can be seen, "no order in the window", has probability 1 - `purchase_probability`.
        """
        at = self._days(as_of)
        return self._at(ids, loss_probability(self._people, self._lives.state(at), days))

    def lead_conversion_probability(self, ids: Sequence[str], as_of: datetime, days: float) -> Floats:
        """P(a lead at `as_of` becomes a customer in the window) [n], nan for who is no lead then.

        Hazard .0062·exp(source + company size + .9·intent)/(1 + age/60) a day, age in days since arrival.
        """
        at = self._days(as_of)
        chance = conversion_probability(self._people, at, days)
        return self._at(ids, np.where(self._lives.state(at) == LEAD, chance, np.nan))

    def open_probability(self, ids: Sequence[str], as_of: datetime | None = None) -> Floats:
        """P(the person themself opens a mail) by local hour of week of the send [n, 168], Monday 00:00 first.

        sigmoid of `features.simulation.messages.open_log_odds`: a bump around the person's own hours. Of an engaged
        person; with `as_of` times their engagement then (less for cooling leads, the fading and the lost).
        """
        rows = self._rows(ids)
        chance = sigmoid(open_log_odds(self._people, rows[:, None], np.arange(HOURS)[None, :]))
        if as_of is None:
            return chance
        return chance * engagement(self._lives, self._days(as_of), rows)[:, None]

    def click_probability(self, ids: Sequence[str], as_of: datetime | None = None) -> Floats:
        """P(click in a message of any campaign at any hour) by channel [n, 3]: e-mail, text message, push.

        Of mails and pushes the mean over the 168 hours of P(open), times that of P(click | open) over the campaigns; of
        an engaged person, or with `as_of` at their engagement then. Consent is another matter.
        """
        rows = self._rows(ids)
        hours, campaigns = np.arange(HOURS)[None, :], np.arange(len(CAMPAIGNS))[None, :]
        who = rows[:, None]
        clicks = click_chance(self._people, who, campaigns).mean(axis=1)
        mail = sigmoid(open_log_odds(self._people, who, hours)).mean(axis=1) * clicks
        push = sigmoid(push_open_log_odds(self._people, self._app, who, hours)).mean(axis=1) * clicks
        chance = np.stack([mail, text_click_chance(self._people, who, campaigns).mean(axis=1), push], axis=1)
        return chance if as_of is None else chance * engagement(self._lives, self._days(as_of), rows)[:, None]

    def response(self, ids: Sequence[str], actions: Sequence[str]) -> Floats:
        """P(an order within the reward window | action of `win_back`) [n, len(actions)].

        log-odds: none -2.3 + .45·satisfaction; reminder -1.85 + .45·satisfaction + .3·interest; discount
        -.92 + .3·satisfaction + .7·thrift: about .10, .15 and .30 on average.

        Raises:
            NotFound: a person or an action is not of this market.
        """
        for action in actions:
            if action not in ACTIONS:
                raise NotFound("is no action here", field="action", value=action, remedy=f"use one of {ACTIONS}")
        return np.asarray(self._responses[self._rows(ids)][:, [ACTIONS.index(action) for action in actions]])

    def discount_effect(self, ids: Sequence[str], as_of: datetime, days: float = DAYS) -> Floats:
        """By how much a discount of the win-back test changes P(an order in the window) [n]; nan before they arrive.

        It brings one more order with the probability by which `response` to a discount exceeds that to none, which
        changes the outcome of those only who would not have ordered anyway.
        """
        pull = self.response(ids, ["discount"])[:, 0] - self.response(ids, ["none"])[:, 0]
        return np.asarray(pull * (1 - self.purchase_probability(ids, as_of, days)))

    def _days(self, as_of: datetime) -> float:
        return (to_micros(as_of) - to_micros(self._start)) / DAY_MICROS

    def _at(self, ids: Sequence[str], values: Floats) -> Floats:
        return values[self._rows(ids)]

    def _rows(self, ids: Sequence[str]) -> Ints:
        try:
            return np.array([self._row[name] for name in ids], dtype=np.int64)
        except KeyError as error:
            raise NotFound(
                "is nobody of this market", field="customer_id", value=error.args[0], remedy="use an id of its events"
            ) from None


def _responses(people: People) -> Floats:
    calm, keen, thrifty = people.satisfaction, people.interest, people.thrift
    log_odds = [-2.3 + 0.45 * calm, -1.85 + 0.45 * calm + 0.3 * keen, -0.92 + 0.3 * calm + 0.7 * thrifty]
    return sigmoid(np.stack(log_odds, axis=1))
