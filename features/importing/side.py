"""Refused rows in a file beside the ledger, to be mended and imported again by the same recipe.

It is CSV where the source had no types (CSV, NDJSON) and Parquet where it had; before the source's own columns stand
the row's number, the reason, the values at fault, and the text of a row that had no columns. An import knows such a
file by these columns, whatever format its recipe names, and leaves the numbers of rows as they were.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import polars as pl

from features.importing.imported import Imported
from features.kernel import clock
from features.kernel.errors import InvalidInput, Unavailable
from features.kernel.settings import Settings

__all__ = ["check_path", "keep", "place"]

_SUFFIXES = (".csv", ".parquet")


def check_path(path: Path) -> None:
    """Raise InvalidInput unless refused rows can be written there."""
    if path.suffix not in _SUFFIXES:
        raise InvalidInput(
            "must end with .csv or .parquet", field="refused", value=str(path), remedy="write refused.csv"
        )


def place(settings: Settings, imported: Imported) -> Path:
    """A file of its own for the rows that this import refuses: `<home>/imports/<recipe>-<instant>/refused.…`."""
    stamp = clock.now().strftime("%Y%m%dT%H%M%S.%fZ")
    suffix = "csv" if imported.format in ("csv", "ndjson") else "parquet"
    return settings.home / "imports" / f"{imported.recipe}-{stamp}-{os.getpid()}" / f"refused.{suffix}"


def keep(refused: pl.DataFrame, path: Path) -> None:
    """Write refused rows; the file is there whole or not at all.

    Raises:
        Unavailable: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            nested = [pl.col(name).cast(pl.String) for name, kind in refused.schema.items() if kind.is_nested()]
            refused.with_columns(nested).write_csv(temporary)
        else:
            refused.write_parquet(temporary)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise Unavailable(
            f"cannot be written: {error.strerror or error}", field="refused", value=str(path), remedy="make room there"
        ) from error
