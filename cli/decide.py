"""`kairos decide`: the next best action for one customer, asked of the running service; and what can be asked."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from cli import console
from cli.console import JsonOption
from decisioning.point import DecisionPoint, all_points
from features.kernel.discover import pick
from features.kernel.errors import InvalidInput, Unavailable
from features.kernel.settings import Settings

__all__ = ["run"]

_TIMEOUT = 10.0
_POINTS = "points"


def run(
    point: Annotated[str, typer.Argument(help="The decision point, for example win_back; 'points' lists them.")],
    customer: Annotated[str, typer.Argument(help="The customer's id.")] = "",
    request_id: Annotated[str, typer.Option(help="Asking again with the same id gives the same decision.")] = "",
    url: Annotated[str, typer.Option(help="Where the service runs; by default KAIROS_HOST and KAIROS_PORT.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Ask the running service for a customer's next best action; it is journaled like any other decision.

    `kairos decide points` lists the decision points and needs no service.

    Example:

        kairos decide points
        kairos decide win_back c00042
        kairos decide win_back c00042 --request-id may-c00042 --json
    """
    points = all_points()
    if point == _POINTS:
        _list(list(points.values()), as_json)
        return
    pick(points, point, field="point")
    if not customer:
        raise InvalidInput("is missing", field="customer", remedy=f"write kairos decide {point} CUSTOMER")
    body = {"decision_point": point, "customer_id": customer} | ({"request_id": request_id} if request_id else {})
    decision = _ask(Settings.from_env(), url, body)
    if as_json:
        console.print_json(decision)
    else:
        _show(decision)


def _ask(settings: Settings, url: str, body: dict[str, str]) -> dict[str, Any]:
    base = url or f"http://{settings.host}:{settings.port}"
    if urlsplit(base).scheme not in ("http", "https"):
        raise InvalidInput("must begin with http:// or https://", field="--url", value=base)
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    try:
        answer = httpx.post(f"{base}/v1/next-best-action", json=body, headers=headers, timeout=_TIMEOUT)
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(
            f"no Kairos answers ({error})", field=base, remedy="start it with `kairos up` or `kairos serve`"
        ) from error
    if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise Unavailable(found.get("detail", answer.reason_phrase), field=base)
    if answer.is_error:
        raise InvalidInput(found.get("detail", answer.reason_phrase))
    return found


def _list(points: list[DecisionPoint], as_json: bool) -> None:
    if as_json:
        console.print_json(points)
        return
    for each in points:
        groups = ", ".join(f"{group.name} {group.share:.0%} ({group.policy})" for group in each.groups)
        success = f"{each.reward.kind} within {each.reward.within_days:g} days"
        rows = [("actions", ", ".join(each.actions)), ("groups", groups), ("success", success)]
        rows += [(f"rule for {', '.join(rule.actions)}", f"else: {rule.reason}") for rule in each.rules]
        rows += [(f"cap on {', '.join(cap.actions)}", f"else: {cap.reason}") for cap in each.caps]
        console.table(f"{each.name}: {each.question}", ["", ""], rows)


def _show(decision: dict[str, Any]) -> None:
    title = f"{decision['customer_id']}: {decision['action']}"
    rows = [(action, f"{share:.3f}", "") for action, share in decision["pmf"].items()]
    rows += [(action, "", reason) for action, reason in decision["exclusions"].items()]
    console.table(title, ["action", ">probability", "excluded because"], rows)
    console.out.print(
        f"group {decision['group']}, policy {decision['policy']}, state {decision['state_version']}, "
        f"rung {decision['rung']}; decision {decision['decision_id']}",
        markup=False,
        soft_wrap=True,
    )
