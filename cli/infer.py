"""`kairos import --infer`: a proposed recipe, each guess with its evidence."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from cli import console
from features.importing.infer.proposal import Proposal
from features.importing.infer.propose import MOST, propose_for_file, propose_for_query
from features.kernel.errors import Conflict, InvalidInput, Unavailable

__all__ = ["infer_recipe"]


def infer_recipe(source: str, sql: str, out: Path | None, *, as_json: bool) -> None:
    """Propose a recipe for a file, or for a query; print it, or write it to `out`, and say why it is so.

    Raises:
        InvalidInput: none can be proposed, and the message says why.
        Conflict: there is such a file already.
    """
    if out is not None:
        _check_out(out)
    is_url = "://" in source
    with console.step("Look at the query's rows" if is_url or sql else f"Look at {Path(source).name}") as at:
        if is_url or sql:
            if not sql:
                raise InvalidInput("is missing", field="--sql", remedy="write the SELECT whose rows are to be read")
            proposal = propose_for_query(source if is_url else f"sqlite:///{source}", sql, at)
        else:
            proposal = propose_for_file(Path(source), at)
        at.note = f"{proposal.rows:,} rows" + ("" if proposal.whole else f", the first of more than {MOST:,}")
    if out is not None:
        _write(proposal.text, out)
    if as_json:
        console.print_json(_plain(proposal, out))
    elif out is None:
        typer.echo(proposal.text, nl=False)
    else:
        _show(proposal, source, out)


def _check_out(out: Path) -> None:
    if out.suffix not in (".yaml", ".yml"):
        raise InvalidInput("must end with .yaml", field="--out", value=str(out), remedy="write my_recipe.yaml")
    if out.exists():
        raise Conflict("is there already", field="--out", value=str(out), remedy="give another name, or move it away")


def _write(text: str, out: Path) -> None:
    temporary = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        raise Unavailable(f"cannot be written: {error.strerror}", field="--out", value=str(out)) from error


def _plain(proposal: Proposal, out: Path | None) -> dict[str, object]:
    return {
        "kind": proposal.kind,
        "rows": proposal.rows,
        "all_rows": proposal.whole,
        "recipe": proposal.document,
        "yaml": proposal.text,
        "guesses": proposal.guesses,
        "suspicious": proposal.suspicious,
        "used": proposal.used,
        "refused": proposal.refused,
        "written": None if out is None else str(out),
    }


def _show(proposal: Proposal, source: str, out: Path) -> None:
    rows = [(each.where, each.guess, each.why) for each in proposal.guesses]
    console.table(f"A recipe of the kind {proposal.kind}", ("part", "guess", "why"), rows)
    for each in proposal.suspicious:
        console.out.print(f"Look at {each.column or 'the rows'}: {each.what}.", markup=False)
    used, refused = sum(proposal.used.values()), sum(proposal.refused.values())
    console.out.print(f"It would use {used:,} rows and refuse {refused:,}.", markup=False)
    what = "" if "://" in source else f" {source}"
    line = f"Written to {out}. Read it, then: kairos import{what} --recipe {out} --dry-run"
    console.out.print(line, markup=False, soft_wrap=True)
