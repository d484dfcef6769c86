"""`kairos results`: what Kairos reaches on public data whose results are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.reference import Claim, Reference
from benchmarks.references import all_references
from cli import console
from cli.console import JsonOption
from features.kernel.discover import pick
from features.kernel.errors import NotFound
from features.kernel.settings import quiet_libraries

__all__ = ["run"]

_ALL = "all"


def run(
    name: Annotated[str, typer.Argument(help="The data set, or 'all'; without it they are listed.")] = "",
    data: Annotated[Path, typer.Option(help="Folder of the data sets, one folder each.")] = Path("../shared/data"),
    as_json: JsonOption = False,
) -> None:
    """Hold Kairos against known results on public data, and against the truth of the simulated market.

    Every figure stands beside what it must be. Exit code 1 if one of them falls short.

    Example:

        kairos results
        kairos results market
        kairos results bank --data ../shared/data --json
    """
    references = all_references()
    if not name:
        _list(references, as_json=as_json)
        return
    chosen = references if name == _ALL else {name: pick(references, name, field="NAME")}
    quiet_libraries()
    found = {each: _claims(reference, data) for each, reference in chosen.items()}
    if as_json:
        console.print_json(found)
    else:
        for each, claims in found.items():
            _show(f"{each}: {chosen[each].about}", claims)
    if not all(claim.holds for claims in found.values() for claim in claims):
        raise typer.Exit(1)


def _claims(reference: Reference, data: Path) -> list[Claim]:
    if reference.needs and not (data / reference.needs).is_dir():
        raise NotFound("is not there", field=str(data / reference.needs), remedy="name its folder with --data")
    with console.step(f"Results of {reference.name}") as at:
        return reference.run(data, lambda what, share: at(share, 1.0, what))


def _list(references: dict[str, Reference], *, as_json: bool) -> None:
    if as_json:
        console.print_json({each: reference.about for each, reference in references.items()})
    else:
        rows = [(each, reference.about) for each, reference in references.items()]
        console.table("kairos results NAME", ["name", "holds against known results"], rows)


def _show(title: str, claims: list[Claim]) -> None:
    rows = [
        (
            claim.what,
            f"{claim.value:.4g}" + ("" if claim.low is None else f" [{claim.low:.4g}, {claim.high:.4g}]"),
            "" if claim.peer is None else f"{claim.peer:.4g}",
            claim.target,
            "yes" if claim.holds else "no",
        )
        for claim in claims
    ]
    console.table(title, ("figure", ">Kairos [95 %]", ">known", "must be", "holds"), rows)
    for claim in claims:
        if claim.note:
            console.out.print(f"  {claim.what}: {claim.note}", markup=False, style="dim")
