"""`kairos learn`: fold what came of decisions into the next states, give the verdict, prove that states replay."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from cli import console
from cli.console import JsonOption
from decisioning.learner import learn
from decisioning.point import DecisionPoint, all_points
from decisioning.replay import differences, replay
from decisioning.verdict import Contrast, Rate, Verdict
from decisioning.verdict import verdict as verdict_of
from features.kernel import clock
from features.kernel.discover import pick
from features.kernel.ledger import Ledger
from features.kernel.records import PolicyState
from features.kernel.settings import Settings

__all__ = ["app"]

app = typer.Typer()

AsOfOption = Annotated[
    str,
    typer.Option(
        "--as-of", help="The instant, ISO 8601 with a time zone, by which reward windows must have ended; now."
    ),
]
PointArgument = Annotated[str, typer.Argument(help="The decision point, for example win_back.")]


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    point: Annotated[str, typer.Option(help="One decision point; all of them if not given.")] = "",
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """Learn from every decision whose reward window has closed and publish the next state; say what worked.

    Learning may run at any time, as often as one likes and more than once at a time: the service goes on deciding with
    the newest state that was published.

    Example:

        kairos learn
        kairos learn --point win_back --as-of 2026-11-08T00:00:00Z --json
        kairos learn verdict win_back
        kairos learn replay win_back
    """
    if context.invoked_subcommand is not None:
        return
    points = all_points()
    chosen = [pick(points, point, field="--point")] if point else list(points.values())
    with Ledger.of(Settings.from_env()) as ledger:
        published = [(each, state) for each in chosen for state in learn(ledger, each, _instant(as_of))]
    if as_json:
        console.print_json([_learnt(each, state) for each, state in published])
    elif published:
        rows = [_learnt_row(each, state) for each, state in published]
        console.table("Learnt", ["decision point", "policy", ">version", "probability of each action"], rows)
    else:
        console.out.print("Nothing to learn: no further reward window has closed.")


@app.command()
def verdict(point: PointArgument, as_of: AsOfOption = "", as_json: JsonOption = False) -> None:
    """Say whether it helped, by how much, how sure, and how many customers it would take to know.

    Example:

        kairos learn verdict win_back
        kairos learn verdict win_back --as-of 2026-11-08T00:00:00Z --json
    """
    chosen = pick(all_points(), point, field="point")
    with Ledger.of(Settings.from_env()) as ledger:
        found = verdict_of(ledger, chosen, _instant(as_of))
    if as_json:
        console.print_json(found)
    else:
        _show(found)


@app.command("replay")
def check(point: PointArgument, as_json: JsonOption = False) -> None:
    """Rebuild every published state from the journal alone and compare byte for byte; exit code 1 if one differs.

    Example:

        kairos learn replay win_back
    """
    chosen = pick(all_points(), point, field="point")
    with Ledger.of(Settings.from_env()) as ledger:
        versions = {name: len(states) for name, states in replay(ledger, chosen).items()}
        wrong = differences(ledger, chosen)
    if as_json:
        console.print_json({"point": point, "versions": versions, "different": wrong})
    else:
        total = sum(versions.values())
        console.out.print(f"Different: {', '.join(wrong)}" if wrong else f"All {total:,} states replay byte for byte.")
    if wrong:
        raise typer.Exit(1)


def _instant(as_of: str) -> datetime:
    return clock.parse_instant(as_of, field="--as-of") if as_of else clock.now()


def _learnt(point: DecisionPoint, state: PolicyState) -> dict[str, Any]:
    pmf = point.learners[state.policy].pmf(state.state, {}, point.actions).tolist()
    return {
        "decision_point": point.name,
        "policy": state.policy,
        "version": state.version,
        "pmf": dict(zip(point.actions, pmf, strict=True)),
        "state": state.state,
    }


def _learnt_row(point: DecisionPoint, state: PolicyState) -> tuple[str, ...]:
    found = _learnt(point, state)
    shown = ", ".join(f"{action} {share:.3f}" for action, share in found["pmf"].items())
    return point.name, state.policy, str(state.version), shown


def _show(found: Verdict) -> None:
    rows = [_rate_row(each) for each in (*found.groups, *found.actions)]
    title = f"{found.decision_point}: {found.decisions:,} decisions counted, {found.waiting:,} still waiting"
    console.table(
        title, ["customers by group, decisions by action", ">n", ">converted", ">rate", "95 % interval"], rows
    )
    for each in found.comparisons:
        console.out.print(_answer(each), markup=False, soft_wrap=True)


def _rate_row(rate: Rate) -> tuple[str, ...]:
    if rate.rate is None:
        return rate.name, "0", "0", "", ""
    return rate.name, f"{rate.n:,}", f"{rate.conversions:,}", f"{rate.rate:.2%}", f"{rate.low:.2%} to {rate.high:.2%}"


def _answer(contrast: Contrast) -> str:
    if contrast.power is None or contrast.detectable is None:
        return contrast.sentence
    return (
        f"{contrast.sentence} (So many customers show a difference of {100 * contrast.detectable:.1f} points "
        "with power 0.9.)"
    )
