"""What a marketing system sees: an event is sent, scores follow, one of them is explained."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl
from rich.panel import Panel

from cli import console
from cli.console import Step
from cli.demo.calls import Service
from cli.demo.world import World
from features.kernel.errors import Unavailable

__all__ = ["Live", "score_one", "show"]

_WITHIN = 10.0
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Live:
    """One customer, scored on every problem before and after an event, and one score explained."""

    customer: str
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]]
    seconds_until_seen: float
    explained: str
    explanation: dict[str, Any]


def score_one(service: Service, world: World, problems: list[str], at: Step) -> Live:
    """Score a customer, send a visit to the pricing page and an order, and score again once they show.

    Raises:
        Unavailable: the order did not show in the scores within ten seconds.
    """
    customer, now = _liveliest(world), world.now
    before = _all_scores(service, customer, problems)
    currency = world.events["currency"].drop_nulls()[0]
    visit = {"customer_id": customer, "occurred_at": now.isoformat()}
    page = {"type": "page_view", "properties": {"page": "pricing", "session": "demo"}}
    order = {"type": "order", "amount": 59.0, "currency": currency, "properties": {"items": 1, "discount": 0.0}}
    service.post(
        "/v1/events",
        {
            "events": [visit | page | {"event_id": f"demo-visit-{i}"} for i in range(3)]
            + [visit | order | {"event_id": "demo-order", "occurred_at": (now + timedelta(milliseconds=1)).isoformat()}]
        },
    )
    started = time.perf_counter()
    after = _all_scores(service, customer, problems)
    # Features grow older until they are computed anew; what they then say may leave a probability as it was.
    while any(after[name]["age_seconds"] >= before[name]["age_seconds"] for name in problems):
        if time.perf_counter() - started > _WITHIN:
            raise Unavailable(f"the events of {customer} did not show in the scores within {_WITHIN:.0f} s")
        time.sleep(0.05)
        after = _all_scores(service, customer, problems)
    seconds = time.perf_counter() - started
    explained = next((each for each in problems if each.startswith("propensity")), problems[0])
    explanation = service.explanation(explained, {"customer_id": customer})
    at.note = f"events showed in the score after {seconds:.2f} s"
    return Live(customer, before, after, seconds, explained, explanation)


def _liveliest(world: World) -> str:
    """Whoever of the audience has most events but no order in the last month: for them an order changes most."""
    lately = world.events.filter(pl.col("occurred_at") >= world.now - timedelta(days=30))
    ordered = lately.filter(pl.col("type") == "order").select("customer_id").unique()
    counts = lately.filter(pl.col("customer_id").is_in(world.audience)).group_by("customer_id").len()
    counts = counts.join(ordered, on="customer_id", how="anti") if ordered.height else counts
    return str(counts.sort("len", "customer_id", descending=[True, False])["customer_id"][0])


def _all_scores(service: Service, customer: str, problems: list[str]) -> dict[str, dict[str, Any]]:
    return {name: service.scores(name, [{"customer_id": customer}])[0] for name in problems}


def show(live: Live) -> None:
    """Print the scores before and after, and the explanation with its sum."""
    rows = [
        (
            name,
            f"{live.before[name]['value']:.3g}",
            f"{live.after[name]['value']:.3g}",
            _best(each),
            each["rung"],
        )
        for name, each in live.after.items()
    ]
    title = f"Customer {live.customer}, before and {live.seconds_until_seen:.2f} s after an order"
    console.table(title, ["problem", ">before", ">after", "best", "rung"], rows)
    console.out.print(Panel(reasons(live.explanation), title=f"Why {live.explained}?", expand=False))


def reasons(explanation: dict[str, Any]) -> str:
    """The strongest families of reasons in words, and the sum that proves them."""
    points = sum(each["points"] for each in explanation["groups"])
    reference, value = explanation["reference"], explanation["value"]
    if abs(reference + points - value) > _SLACK * max(1.0, abs(value)):
        raise AssertionError(f"reasons sum to {reference + points}, not to {value}")
    strongest = explanation["groups"][:5]
    rest = points - sum(each["points"] for each in strongest)
    percent = explanation["probability"] is not None
    lines = [f"• {each['text']}" for each in strongest]
    lines.append(f"• everything else ({_signed(rest, percent)})")
    lines.append(
        f"{_size(reference, percent)} before anything is known {_signed(points, percent)} = {_size(value, percent)}"
    )
    return "\n".join(lines)


def _signed(amount: float, percent: bool) -> str:
    return f"{100 * amount:+.1f} points".replace("-", "−") if percent else f"{amount:+.3g}".replace("-", "−")


def _size(amount: float, percent: bool) -> str:
    return f"{100 * amount:.1f} %" if percent else f"{amount:.3g}"


def _best(score: dict[str, Any]) -> str:
    return str(score["best"]["label"]) if score.get("best") else ""
