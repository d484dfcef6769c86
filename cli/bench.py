"""`kairos bench`: Kairos measured side by side with its peers."""

from __future__ import annotations

from typing import Annotated

import typer

import benchmarks.members
from benchmarks.harness import Benchmark, describe
from cli import console
from cli.console import JsonOption
from features.kernel.discover import discover, pick

__all__ = ["run"]


def run(
    name: Annotated[str, typer.Argument(help="What to measure; without it the members are listed.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Small and short: shows that it works, not how fast.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure Kairos side by side with its peers: equal answers first, then both by turns, five times or more.

    The ratio is the peer's cost over Kairos's, so more is better; the median is shown with the least and the most.

    Example:

        kairos bench
        kairos bench online
        kairos bench score --json
    """
    members = discover(benchmarks.members, "benchmark", Benchmark)
    if not name:
        if as_json:
            console.print_json({each: member.about for each, member in members.items()})
        else:
            rows = [(each, member.about) for each, member in members.items()]
            console.table("kairos bench NAME", ["name", "measures"], rows)
        return
    member = pick(members, name, field="NAME")
    with console.step(f"Measuring {name}"):
        results = member.run(quick)
    if as_json:
        console.print_json(results)
        return
    columns = ["work", ">ratio", ">least to most", ">Kairos", ">peer", "unit"]
    console.table(f"{name}: {member.about}", columns, describe(results))
    for each in results:
        console.out.print(f"{each.name}: {each.settings}", markup=False, style="dim")
    console.out.print(f"{results[0].repeats} repetitions on {results[0].machine}", markup=False, style="dim")
