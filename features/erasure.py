"""Forgetting a person wherever they stand: files under the home, the online store, the ledger.

The ledger goes last, because it alone knows what belongs to the person: as long as it does, running the command again
finds everything again. Afterwards the rest is looked through once more, since other processes may have written what
they had read before. So an erasure that was interrupted anywhere is completed by running it again, and notes no id.

What holds a person: every Parquet file under the home with a column `customer_id` (offline features, event history,
saved data sets; of a file of accounts, the accounts that nobody else belongs to), side files of refused rows, Redis.
Bundles of models hold no ids (`training.registry.membership` says whom they were trained on), nor does MLflow.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from features.compute import all_views
from features.kernel import erasure
from features.kernel.erasure import Traces
from features.kernel.errors import Unavailable
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.packed.store import PackedStore
from features.promotion import alone
from features.vectors import Status

__all__ = ["Found", "forget", "look", "mentions"]

Progress = Callable[[str], None]
"""Told what is done next."""

SHORTEST = 4
"""Characters of the shortest id that is searched for in free text; a shorter one would be found everywhere."""

_PASSES = 5
_REMEDY = "mend or remove it, see that the disk has room, then run the same command again"
_KEYS = ("customer_id", "account_id")
_UNFINISHED = ("offline", "history", "imports")
"""Folders in which a hidden file is what a writer that died has left."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is, or was, of a person."""

    ledger: Traces = field(default_factory=Traces)
    files: Mapping[str, int] = field(default_factory=dict)
    """Rows by file, its path relative to the home."""
    online: int | None = None
    """Whether Redis holds them: 0 or 1, or with their own accounts more; None if no Redis is named by the settings."""

    def __bool__(self) -> bool:
        return bool(self.ledger or self.files or self.online)


@dataclass(frozen=True, slots=True)
class _Person:
    customer_id: str
    accounts: tuple[str, ...]

    def ids(self, key: str) -> list[str]:
        return [self.customer_id] if key == "customer_id" else list(self.accounts)


def look(settings: Settings, ledger: Ledger, customer_id: str) -> Found:
    """What there is of a person; changes nothing.

    Raises:
        Unavailable: Redis is away, or a file cannot be read.
    """
    known = erasure.traces(ledger, customer_id)
    person = _Person(customer_id, known.accounts)
    with _files_errors():
        files = {_name(settings, path): rows for path in _files(settings) if (rows := _rows(path, person))}
    return Found(known, files, _online(settings, person))


def forget(settings: Settings, ledger: Ledger, customer_id: str, progress: Progress = lambda what: None) -> Found:
    """Remove a person; see the module. Running it again completes one that was interrupted, and else changes nothing.

    Returns:
        What there was.

    Raises:
        Unavailable: Redis, the ledger or a file cannot be reached, or another process goes on writing; run it again.
    """
    known = erasure.traces(ledger, customer_id)
    person = _Person(customer_id, known.accounts)
    with alone(settings.offline):
        files, online = _clear(settings, person, progress)
        progress("ledger")
        erasure.erase(ledger, customer_id)
        for _ in range(_PASSES):
            more_files, more_online = _clear(settings, person, progress)
            if not more_files and not more_online:
                break
        else:
            raise Unavailable(
                "the person keeps coming back: another process writes what it had read before",
                field="customer",
                remedy="let imports, builds and materialisations end, then run the same command again",
            )
    if erasure.unfinished(ledger):
        progress("bytes of the ledger")
        erasure.wipe(ledger)
    return Found(known, files, online)


def mentions(home: Path, customer_id: str) -> list[str]:
    """Other files under the home, such as logs and reports, that name the id; they are nobody's to rewrite.

    Databases are left out, and ids of fewer than `SHORTEST` characters are not searched for.
    """
    if len(customer_id) < SHORTEST:
        return []
    pattern = _pattern(customer_id)
    skipped = (".parquet", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".db")
    paths = [each for each in _walk(home) if not each.name.endswith(skipped)]
    return [str(each.relative_to(home)) for each in paths if _names(each, pattern)]


# -- files -------------------------------------------------------------------------------------------------------------


def _clear(settings: Settings, person: _Person, progress: Progress) -> tuple[dict[str, int], int | None]:
    """Remove a person from files and the online store; what there was in each file, and online."""
    files = {}
    with _files_errors():
        for name in _UNFINISHED:
            _sweep(settings.home / name)
        for path in _files(settings):
            if rows := _rows(path, person):
                progress(_name(settings, path))
                _rewrite(path, person)
                files[_name(settings, path)] = rows
    if not settings.redis_url:
        return files, None
    progress("Redis")
    with closing(PackedStore.of(settings)) as store:
        return files, sum(store.forget(person.ids(key), key) for key in _KEYS if person.ids(key))


@contextmanager
def _files_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        named = getattr(error, "filename", None)
        raise Unavailable(
            f"cannot be read or rewritten: {error}", field=str(named or "file"), remedy=_REMEDY
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what writers that died have left. One that lives, and so writes what it read before, fails."""
    for path in sorted(folder.glob("**/.*"), reverse=True):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != ".lock":
            path.unlink(missing_ok=True)


def _files(settings: Settings) -> list[Path]:
    refused = settings.home.glob("imports/*/refused.*")
    return sorted({*(each for each in _walk(settings.home) if each.suffix == ".parquet"), *refused})


def _walk(home: Path) -> Iterator[Path]:
    return (each for each in home.rglob("*") if each.is_file() and not each.is_symlink())


def _rows(path: Path, person: _Person) -> int:
    """Rows of a file that are the person's; none if it has been replaced by another meanwhile."""
    if not path.exists():
        return 0
    if _is_refused(path):
        return sum(_named(path, person))
    gone = _gone(path, person)
    return 0 if gone is None else int(pl.scan_parquet(path).filter(gone).select(pl.len()).collect().item())


def _gone(path: Path, person: _Person) -> pl.Expr | None:
    """Which rows of a Parquet file are the person's; None if none can be."""
    try:
        schema = pl.read_parquet_schema(path)
    except pl.exceptions.PolarsError as error:
        raise Unavailable(f"is no Parquet file: {error}", field=str(path), remedy=_REMEDY) from error
    key = next((each for each in _KEYS if each in schema), None)
    if key is None or not person.ids(key):
        return None
    return pl.col(key).cast(pl.String).is_in(person.ids(key)).fill_null(False)


def _rewrite(path: Path, person: _Person) -> None:
    """The file without the person, in place of it, at once."""
    whole = path.with_name(f".{path.name}-{os.getpid()}")
    if not _is_refused(path):
        gone = _gone(path, person)
        assert gone is not None
        pl.scan_parquet(path).filter(~gone).sink_parquet(whole)
    elif path.suffix == ".parquet":
        pl.read_parquet(path).filter([not each for each in _named(path, person)]).write_parquet(whole)
    else:
        named = zip(_records(path), _named(path, person), strict=True)
        whole.write_bytes(b"".join(record for record, gone in named if not gone))
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    whole.replace(path)


def _is_refused(path: Path) -> bool:
    return path.name.startswith("refused.")


def _named(path: Path, person: _Person) -> list[bool]:
    """Of each refused row whether it names the person, in whatever column: nobody could read which one is the id."""
    pattern = _pattern(person.customer_id)
    return [pattern.search(each) is not None for each in _records(path)]


def _records(path: Path) -> Iterator[bytes]:
    """Rows as text. A line break within quotes does not end a row of CSV."""
    if path.suffix == ".parquet":
        yield from pl.read_parquet(path).write_ndjson().encode().splitlines()
        return
    record = b""
    with path.open("rb") as lines:
        for line in lines:
            record += line
            if path.suffix != ".csv" or record.count(b'"') % 2 == 0:
                yield record
                record = b""
    if record:
        yield record


def _pattern(customer_id: str) -> re.Pattern[bytes]:
    """The id as a word of its own, as it is or as JSON escapes it."""
    plain = customer_id.encode(errors="surrogatepass")
    escaped = json.dumps(customer_id)[1:-1].encode()
    either = b"|".join(re.escape(each) for each in dict.fromkeys((plain, escaped)))
    return re.compile(b"(?<![0-9A-Za-z])(?:%b)(?![0-9A-Za-z])" % either)


def _names(path: Path, pattern: re.Pattern[bytes]) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return pattern.search(text) is not None


def _name(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.home))


# -- online ------------------------------------------------------------------------------------------------------------


def _online(settings: Settings, person: _Person) -> int | None:
    if not settings.redis_url:
        return None
    refs = [each.refs[0] for each in all_views().values() if each.entity == "customer"]
    with closing(PackedStore.of(settings)) as store:
        return int((store.read_vectors([person.customer_id], refs).status != Status.MISSING).any())
