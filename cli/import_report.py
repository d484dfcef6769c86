"""What an import tells: the fate of every row, examples, what was mended, what the ledger took; for people or JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from cli import console
from features.importing.expect import Breach
from features.importing.imported import Imported

__all__ = ["report", "show"]

_SHOWN = 100


def report(
    imported: Imported,
    receipts: dict[str, int],
    kept: Path | None,
    *,
    file: str,
    breaches: Sequence[Breach],
    dry_run: bool,
) -> dict[str, object]:
    """What `--json` prints.

    Args:
        receipts: of the ledger, by status; empty where nothing was recorded.
        kept: where the refused rows are.
        breaches: what the recipe expects and the table is not.
    """
    corrected = imported.corrections.counts()
    return {
        "file": file,
        "recipe": imported.recipe,
        "kind": imported.kind,
        "dry_run": dry_run,
        "rows_read": imported.rows_read,
        "used": imported.used,
        "refused": imported.counts,
        "corrected": corrected,
        "examples": {
            "refused": {reason: imported.examples(reason) for reason, rows in imported.counts.items() if rows},
            "corrected": {reason: imported.corrections.examples(reason) for reason in corrected},
        },
        "refused_rows": None if kept is None else str(kept),
        "breaches": breaches,
        "columns_not_named": imported.unused_columns,
        **(_of_events(imported, receipts) if imported.snapshot is None else _of_snapshots(imported)),
    }


def show(imported: Imported, receipts: dict[str, int], kept: Path | None, *, dry_run: bool) -> None:
    """The same for people."""
    total = imported.rows_read
    rows = [("used", name, *_share(count, total), "") for name, count in imported.used.items()]
    rows += [
        ("refused", name, *_share(count, total), _example(imported.examples(name)))
        for name, count in imported.named_counts.items()
    ]
    rows.append(("read", "every row, once", f"{total:,}", "100.0%", ""))
    rows += [
        ("corrected", name, *_share(count, total), _change(imported.corrections.examples(name)))
        for name, count in imported.corrections.counts().items()
    ]
    columns = ("", "reason", ">rows", ">share", "for example")
    console.table(f"{imported.recipe}: what became of the rows", columns, rows)
    if imported.unused_columns:
        console.out.print(f"Columns the recipe does not name: {', '.join(imported.unused_columns)}.", markup=False)
    if kept is not None:
        line = f"Refused rows are in {kept}: mend them and import that file by the same recipe."
        console.out.print(line, markup=False, soft_wrap=True)
    for line in _sentences(imported, receipts, dry_run=dry_run):
        console.out.print(line, markup=False)


def _of_events(imported: Imported, receipts: dict[str, int]) -> dict[str, object]:
    events = imported.events
    return {
        "events": dict(sorted(Counter(events["type"]).items())),
        "customers": events["customer_id"].n_unique(),
        "first": events["occurred_at"].min(),
        "last": events["occurred_at"].max(),
        "receipts": receipts,
    }


def _of_snapshots(imported: Imported) -> dict[str, object]:
    info, dates = imported.snapshot, imported.table["as_of"]
    assert info is not None
    return {
        "problem": info.problem,
        "features": imported.feature_columns,
        "excluded": info.excluded,
        "arms": info.arms,
        "positives": int(imported.table["label"].sum()),
        "first": dates.min(),
        "last": dates.max(),
    }


def _share(count: int, total: int) -> tuple[str, str]:
    return f"{count:,}", f"{count / total:.1%}"


def _example(examples: list[dict[str, Any]]) -> str:
    if not examples:
        return ""
    first = examples[0]
    said = first.get("text") or ", ".join(f"{name} = {value!r}" for name, value in first["values"].items())
    return _short(f"row {first['row']:,}{': ' if said else ''}{said}")


def _change(examples: list[dict[str, Any]]) -> str:
    first = examples[0]
    where = f" {first['column']}" if first["column"] else ""
    return _short(f"row {first['row']:,}{where}: {_plain(first['was'])} as {_plain(first['became'])}")


def _plain(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else repr(value)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


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
        if info.arms:
            lines.append(f"An experiment: {', '.join(info.arms[1:])} against {info.arms[0]}.")
        lines += [f"Excluded: {name}: {why}." for name, why in info.excluded.items()]
        return [*lines, "Snapshots are no events: nothing was written."]
    events = imported.events
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(Counter(events["type"]).items())) or "none"
    lines = [f"{events.height:,} events of {events['customer_id'].n_unique():,} people: {kinds}."]
    if dry_run:
        return [*lines, "Dry run: nothing was written."]
    if not receipts:
        return [*lines, "Nothing was written."]
    return [*lines, "Ledger: " + ", ".join(f"{count:,} {status}" for status, count in receipts.items() if count) + "."]
