"""From a file or a query to a `Raw` table, in whichever format; nothing is typed yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from features.importing.csv_rows import read_csv
from features.importing.ndjson import read_ndjson
from features.importing.query import read_query
from features.importing.raw import Progress, Raw
from features.importing.schema import FileFormat, Recipe, SnapshotRecipe, did_you_mean
from features.importing.stream import check_file
from features.kernel.errors import InvalidInput, InvalidRecipe

__all__ = ["REASON", "ROW", "TEXT", "VALUES", "read_source", "source_of"]

ROW, REASON, VALUES, TEXT = "kairos_row", "kairos_reason", "kairos_values", "kairos_text"
"""Columns that a side file of refused rows has before those of its source. A mended side file keeps its row numbers."""


def source_of(recipe: Recipe, name: str) -> str:
    """The file's column behind a field."""
    return recipe.columns[name].column or name


def read_source(recipe: Recipe, file: Path | None, url: str = "", progress: Progress | None = None) -> Raw:
    """The table as it stands: text columns of CSV and NDJSON, a Parquet file's or a database's own types.

    Args:
        file: the file; for a recipe of the format `sql` a SQLite database, unless `url` names another.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a folder, a file that may not be read, or no file and no URL.
        InvalidRecipe: it is empty, is of another format, or lacks a column the recipe names.
        Unavailable: the database cannot be reached.
    """
    if recipe.file.format == "sql" and not (file and _side_format(file)):
        raw = read_query(_url(file, url), recipe.file.query, progress)
    elif url:
        raise InvalidInput("is for recipes of the format sql", field="url", remedy="leave it out or add --sql")
    elif file is None:
        raise InvalidInput("is missing", field="file", remedy="name the file to import")
    else:
        raw = read_file(recipe.file, file, progress)
    _has_columns(recipe, raw.frame)
    if raw.height == 0:
        raise InvalidRecipe("has no rows", field="file", value=str(file or "query"), remedy="give a file with rows")
    return raw


def read_file(form: FileFormat, path: Path, progress: Progress | None = None, most: int | None = None) -> Raw:
    """A file's table, or about its first `most` rows; the file may be a side file of refused rows."""
    check_file(path)
    side = _side_format(path)
    form = side or form
    try:
        if form.format == "parquet":
            frame = pl.read_parquet(path, glob=False, n_rows=most)
            raw = Raw.of(frame, "parquet")
        else:
            raw = (read_csv if form.format == "csv" else read_ndjson)(form, path, progress, most)
    except (PolarsError, UnicodeError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "check file.format, file.separator and file.encoding of the recipe"
        raise InvalidRecipe(
            f"cannot be read as {form.format}: {first}", field="file", value=str(path), remedy=remedy
        ) from error
    return _renumbered(raw) if side else raw


def _url(file: Path | None, url: str) -> str:
    if url:
        return url
    if file is None:
        raise InvalidInput(
            "is missing", field="url", remedy="name the database: --url sqlite:///shop.db or KAIROS_SOURCE_URL"
        )
    check_file(file)
    return f"sqlite:///{file}"


def _side_format(path: Path) -> FileFormat | None:
    """The format of a side file of refused rows, whatever a recipe says; None of any other file."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"PAR1"):
            return FileFormat(format="parquet") if REASON in pl.read_parquet_schema(path) else None
    except (OSError, PolarsError):
        return None
    known = head.removeprefix(b"\xef\xbb\xbf").startswith(f"{ROW},{REASON}".encode())
    return FileFormat(format="csv") if known else None


def _renumbered(raw: Raw) -> Raw:
    numbers = raw.frame[ROW].cast(pl.Int64, strict=False)
    if numbers.null_count():
        raise InvalidRecipe("is missing in a row", field=ROW, remedy="leave that column as it was in the side file")
    frame = raw.frame.drop(ROW, REASON, VALUES, TEXT, strict=False)
    return Raw(frame, numbers, raw.format, raw.broken, raw.corrections, raw.frame[REASON].cast(pl.String))


def _has_columns(recipe: Recipe, frame: pl.DataFrame) -> None:
    needed = {f"columns.{name}": source_of(recipe, name) for name in recipe.columns}
    if isinstance(recipe, SnapshotRecipe):
        needed["label.column"] = recipe.label.column
        needed |= {f"excluded.{name}": name for name in recipe.excluded}
        needed |= {"treatment.column": recipe.treatment.column} if recipe.treatment else {}
    for path, name in needed.items():
        if name not in frame.columns:
            raise InvalidRecipe(
                "the file has no such column", field=path, value=name, remedy=_remedy(recipe, name, frame.columns)
            )


def _remedy(recipe: Recipe, name: str, columns: Iterable[str]) -> str:
    names = list(columns)
    if len(names) == 1 and recipe.file.format == "csv":
        found, separator = names[0][:60], recipe.file.separator
        return f"the file has the one column {found!r}: is file.separator {separator!r} right?"
    return did_you_mean(name, names)
