"""`kairos import`: a foreign table through a recipe into the ledger and the history."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from cli import console
from cli.console import JsonOption
from features import history
from features.frames import to_events
from features.kernel.errors import Conflict
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.recipe import Imported, load_recipe, read

__all__ = ["record", "report", "run"]

_BATCH = 20_000
_STATUSES = ("accepted", "duplicate", "conflict", "quarantined")


def run(
    file: Annotated[Path, typer.Argument(help="The table: CSV or Parquet, as the recipe says.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of Kairos, or your own .yaml file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count, but write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read a foreign table through a recipe; every row is used or counted under a named reason.

    Events go into the ledger and the history; importing a file twice changes nothing. Labelled snapshots are no
    events: they are checked and counted. docs/recipes.md explains how to write a recipe.

    Example:

        kairos import onlineretail.parquet --recipe online_retail --dry-run
        kairos import onlineretail.parquet --recipe online_retail
        kairos import calls.csv --recipe my_calls.yaml --json

    Raises:
        InvalidRecipe: the recipe or the table cannot be right.
        Conflict: events of the same ids but another content were recorded before.
    """
    loaded = load_recipe(recipe)
    with console.step(f"Read {file.name} by the recipe {loaded.name}") as at:
        imported = read(loaded, file)
        at.note = f"{imported.rows_used:,} of {imported.rows_read:,} rows used"
    receipts: dict[str, int] = {}
    if imported.kind == "events" and not dry_run:
        receipts = record(imported, Settings.from_env())
    if as_json:
        console.print_json(report(imported, file, receipts, dry_run=dry_run))
    else:
        _show(imported, receipts, dry_run=dry_run)
    if receipts.get("conflict"):
        raise Conflict(
            f"{receipts['conflict']:,} events were recorded before with another content; they stay as they were",
            field="event_id",
            remedy="give a changed recipe another name (ids begin with it), or import into an empty KAIROS_HOME",
        )


def record(imported: Imported, settings: Settings) -> dict[str, int]:
    """Append the events to the ledger, then rebuild the history from it; how many receipts of each status."""
    ledger = Ledger(settings.ledger, skew=timedelta(seconds=settings.skew_seconds))
    seen: Counter[str] = Counter()
    try:
        with console.step("Record the events in the ledger") as at:
            for start in range(0, imported.events.height, _BATCH):
                batch = list(to_events(imported.events.slice(start, _BATCH)))
                seen.update(each.status for each in ledger.append_events(batch))
                at(start + len(batch), imported.events.height)
            at.note = f"{seen['accepted']:,} new"
        with console.step("Write the columnar history"):
            history.rebuild(settings, ledger)
    finally:
        ledger.close()
    return {status: seen[status] for status in _STATUSES}


def report(imported: Imported, file: Path, receipts: dict[str, int], *, dry_run: bool) -> dict[str, object]:
    """What `--json` prints."""
    found: dict[str, object] = {
        "file": str(file),
        "recipe": imported.recipe,
        "kind": imported.kind,
        "dry_run": dry_run,
        "rows_read": imported.rows_read,
        "used": imported.used,
        "refused": imported.counts,
        "columns_not_named": imported.unused_columns,
    }
    if imported.snapshot is not None:
        dates = imported.table["as_of"]
        return found | {
            "problem": imported.snapshot.problem,
            "features": imported.feature_columns,
            "excluded": imported.snapshot.excluded,
            "positives": int(imported.table["label"].sum()),
            "first": dates.min(),
            "last": dates.max(),
        }
    events = imported.events
    return found | {
        "events": dict(sorted(Counter(events["type"]).items())),
        "customers": events["customer_id"].n_unique(),
        "first": events["occurred_at"].min(),
        "last": events["occurred_at"].max(),
        "receipts": receipts,
    }


def _show(imported: Imported, receipts: dict[str, int], *, dry_run: bool) -> None:
    read_rows = imported.rows_read
    rows = [("used", name, f"{count:,}", f"{count / read_rows:.1%}") for name, count in imported.used.items()]
    rows += [
        ("refused", name, f"{count:,}", f"{count / read_rows:.1%}") for name, count in imported.named_counts.items()
    ]
    rows.append(("read", "every row, once", f"{read_rows:,}", "100.0%"))
    console.table(f"{imported.recipe}: what became of the rows", ("", "reason", ">rows", ">share"), rows)
    if imported.unused_columns:
        console.out.print(f"Columns the recipe does not name: {', '.join(imported.unused_columns)}.", markup=False)
    for line in _sentences(imported, receipts, dry_run=dry_run):
        console.out.print(line, markup=False)


def _sentences(imported: Imported, receipts: dict[str, int], *, dry_run: bool) -> list[str]:
    if imported.snapshot is not None:
        info, table = imported.snapshot, imported.table
        first, last = table.select(
            pl.col("as_of").min().dt.to_string("%Y-%m-%d %H:%M").alias("first"),
            pl.col("as_of").max().dt.to_string("%Y-%m-%d %H:%M").alias("last"),
        ).row(0)
        lines = [f"{table.height:,} labelled snapshots for {info.problem}."]
        if table.height:
            share = (table["label"] == 1).sum() / table.height
            lines = [f"{lines[0]} {first} to {last} UTC, {share:.1%} with {info.target} = {info.positive}."]
        lines += [f"Excluded: {name}: {why}." for name, why in info.excluded.items()]
        return [*lines, "Snapshots are no events: nothing was written."]
    events = imported.events
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(Counter(events["type"]).items())) or "none"
    lines = [f"{events.height:,} events of {events['customer_id'].n_unique():,} people: {kinds}."]
    if dry_run:
        return [*lines, "Dry run: nothing was written."]
    return [*lines, "Ledger: " + ", ".join(f"{count:,} {status}" for status, count in receipts.items() if count) + "."]
