"""Whom a model was trained on, without naming anyone: each id's hash under a key that only this bundle has.

`members.bin` holds the key (32 random bytes), how many members were forgotten since (4 bytes, little-endian), and the
sorted hashes (16 bytes each). Who has an id can ask whether it is in; nobody can read the ids out of it or compare two
bundles. A hash still says something of a person to who knows the id, so it goes when they are forgotten. The file stays
out of MLflow.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput

__all__ = ["FILE", "among", "drop", "forgotten", "holds", "members"]

FILE = "members.bin"
_MAGIC, _KEY, _COUNT, _HASH = b"kairos members 1\n", 32, 4, 16
_HEAD = len(_MAGIC) + _KEY + _COUNT


def members(people: Iterable[str]) -> bytes:
    """The content of a bundle's `members.bin`; another key, and so other bytes, each time.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as bundle:
    ...     _ = (Path(bundle) / FILE).write_bytes(members(["ann", "bob"]))
    ...     holds(Path(bundle), "ann"), holds(Path(bundle), "cid")
    (True, False)
    """
    key = os.urandom(_KEY)
    return _MAGIC + key + bytes(_COUNT) + b"".join(sorted(_hash(key, each) for each in set(people)))


def holds(bundle: Path, customer_id: str) -> bool | None:
    """Whether a person is among those trained on; None if the bundle does not say, as those of before did not.

    Raises:
        InvalidInput: its list cannot be read.
    """
    read = _read(bundle)
    return None if read is None else _place(read, customer_id) is not None


def among(bundle: Path, people: Sequence[str]) -> NDArray[np.bool_]:
    """[n] whether each person is among those trained on; all False if the bundle does not say.

    Raises:
        InvalidInput: its list cannot be read.
    """
    read = _read(bundle)
    if read is None:
        return np.zeros(len(people), dtype=np.bool_)
    key = read[len(_MAGIC) : len(_MAGIC) + _KEY]
    hashes = {read[at : at + _HASH] for at in range(_HEAD, len(read), _HASH)}
    return np.array([_hash(key, each) in hashes for each in people], dtype=np.bool_)


def forgotten(bundle: Path) -> int:
    """How many of those trained on were forgotten since; 0 if the bundle does not say.

    Raises:
        InvalidInput: its list cannot be read.
    """
    read = _read(bundle)
    return 0 if read is None else int.from_bytes(read[_HEAD - _COUNT : _HEAD], "little")


def drop(bundle: Path, customer_id: str) -> bool:
    """Take a person off the list and count them as forgotten; whether they were on it.

    Raises:
        InvalidInput: its list cannot be read.
    """
    read = _read(bundle)
    place = None if read is None else _place(read, customer_id)
    if read is None or place is None:
        return False
    count = (forgotten(bundle) + 1).to_bytes(_COUNT, "little")
    whole = bundle / f".{FILE}-{os.getpid()}"
    whole.write_bytes(read[: _HEAD - _COUNT] + count + read[_HEAD:place] + read[place + _HASH :])
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    whole.replace(bundle / FILE)
    return True


def _read(bundle: Path) -> bytes | None:
    path = bundle / FILE
    if not path.exists():
        return None
    read = path.read_bytes()
    if not read.startswith(_MAGIC) or len(read) < _HEAD or (len(read) - _HEAD) % _HASH:
        raise InvalidInput("is no list of members", field=str(path), remedy="train the problem again")
    return read


def _place(read: bytes, customer_id: str) -> int | None:
    """Where the hash of a person begins."""
    key = read[len(_MAGIC) : len(_MAGIC) + _KEY]
    sought, starts = _hash(key, customer_id), range(_HEAD, len(read), _HASH)
    found = bisect_left(starts, sought, key=lambda at: read[at : at + _HASH])
    return starts[found] if found < len(starts) and read[starts[found] : starts[found] + _HASH] == sought else None


def _hash(key: bytes, customer_id: str) -> bytes:
    return hashlib.blake2b(customer_id.encode(errors="surrogatepass"), key=key, digest_size=_HASH).digest()
