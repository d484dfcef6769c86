"""`kairos import`: a foreign table through a recipe into the ledger and the history; `--infer` proposes the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cli import console
from cli.console import JsonOption
from cli.import_report import report, show
from cli.infer import infer_recipe
from features.importing import side
from features.importing.expect import breaches, require
from features.importing.query import shown
from features.importing.record import record, update_history
from features.importing.schema import FileFormat
from features.kernel.errors import Conflict, InvalidInput
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.recipe import EventRecipe, Imported, SnapshotRecipe, load_recipe, read

__all__ = ["run"]


_Source = Annotated[
    str, typer.Argument(envvar="KAIROS_SOURCE_URL", help="The file, or a database's URL for a recipe of SQL.")
]
_Recipe = Annotated[str, typer.Option(help="Name of a recipe of Kairos, or your own .yaml file.")]
_Sql = Annotated[str, typer.Option(help="The query to read in place of what the recipe says of its file.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and count, but write nothing.")]
_Infer = Annotated[bool, typer.Option("--infer", help="Propose a recipe and explain each guess.")]
_Out = Annotated[
    Path | None,
    typer.Option("--out", "--refused", help="Where the refused rows are kept; with --infer, where the recipe goes."),
]


def run(
    source: _Source,
    recipe: _Recipe = "",
    sql: _Sql = "",
    dry_run: _DryRun = False,
    infer: _Infer = False,
    out: _Out = None,
    as_json: JsonOption = False,
) -> None:
    """Read a foreign table through a recipe; every row is used or counted under a named reason.

    CSV, NDJSON (both may be gzipped), Parquet, and SQL queries to SQLite and PostgreSQL. Events go into the ledger
    and the history; importing a file twice changes nothing, and an import that was cut off is run again. Labelled
    snapshots are no events: they are checked and counted. Refused rows are kept in KAIROS_HOME/imports with their
    reasons: mend them there and import that file by the same recipe. docs/recipes.md explains recipes.

    Example:

        kairos import --infer calls.csv --out my_calls.yaml
        kairos import calls.csv --recipe my_calls.yaml --dry-run --refused refused.csv
        kairos import onlineretail.parquet --recipe online_retail --json
        kairos import shop.db --recipe my_shop.yaml --sql "SELECT * FROM sales"
        KAIROS_SOURCE_URL=postgresql://me:secret@host/shop kairos import --recipe my_shop.yaml
    """
    if infer:
        infer_recipe(source, sql, out, as_json=as_json)
        return
    if not recipe:
        raise InvalidInput("is missing", field="--recipe", remedy="name one, or let --infer propose one")
    if out is not None:
        side.check_path(out)
    loaded = load_recipe(recipe)
    if sql:
        loaded = msgspec.structs.replace(loaded, file=FileFormat(format="sql", query=sql))
    _import(loaded, source, out, dry_run=dry_run, as_json=as_json)


def _import(
    recipe: EventRecipe | SnapshotRecipe, source: str, out: Path | None, *, dry_run: bool, as_json: bool
) -> None:
    """Read, check, record, report.

    Raises:
        InvalidRecipe: the table cannot be read by the recipe.
        QualityBreach: it is not what the recipe expects of it; nothing was written.
        Conflict: events of the same ids but another content were recorded before.
        Unavailable: the ledger or the disk takes no more; what was taken before stays.
    """
    imported, name = _read(recipe, source)
    broken = breaches(recipe, imported)
    writes = not dry_run and not broken and imported.kind == "events"
    settings = Settings.from_env()
    kept = _keep_refused(imported, settings, out, wanted=writes)
    receipts = _record(imported, settings) if writes else {}
    if as_json:
        console.print_json(report(imported, receipts, kept, file=name, breaches=broken, dry_run=dry_run))
    else:
        show(imported, receipts, kept, dry_run=dry_run)
    require(recipe, imported)
    _no_conflict(receipts)


def _read(recipe: EventRecipe | SnapshotRecipe, source: str) -> tuple[Imported, str]:
    """What was read, and the source's name as it may be printed."""
    is_url = "://" in source
    name = shown(source) if is_url else source
    with console.step(f"Read {name if is_url else Path(source).name} by the recipe {recipe.name}") as at:
        imported = read(recipe, None if is_url else source, url=source if is_url else "", progress=at)
        at.note = f"{imported.rows_used:,} of {imported.rows_read:,} rows used"
    return imported, name


def _keep_refused(imported: Imported, settings: Settings, out: Path | None, *, wanted: bool) -> Path | None:
    """Where the refused rows are kept: where it was asked for, else beside the ledger if anything is written at all."""
    if imported.refused.is_empty() or (out is None and not wanted):
        return None
    path = out or side.place(settings, imported)
    side.keep(imported.refused, path)
    return path


def _record(imported: Imported, settings: Settings) -> dict[str, int]:
    """Append the events to the ledger, then bring the history up to date; how many receipts of each status."""
    with Ledger.of(settings) as ledger:
        with console.step("Record the events in the ledger") as at:
            receipts = record(imported.events, ledger, at)
            at.note = f"{receipts['accepted']:,} new"
        with console.step("Write the columnar history"):
            update_history(settings, ledger)
    return receipts


def _no_conflict(receipts: dict[str, int]) -> None:
    if receipts.get("conflict"):
        raise Conflict(
            f"{receipts['conflict']:,} events were recorded before with another content; they stay as they were",
            field="event_id",
            remedy="give a changed recipe another name (ids begin with it), or import into an empty KAIROS_HOME",
        )
