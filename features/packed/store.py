"""The packed online store: what every view knows of an entity in one Redis string. Needs no Feast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import polars as pl

from features.compute import all_views
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from features.packed.frames import columns_of, micros
from features.packed.layout import Schema, pack
from features.packed.scripts import DROP, WRITE
from features.packed.servers import open_servers, redis_errors
from features.view import FeatureView

__all__ = ["DEFAULT_URL", "PackedStore"]

DEFAULT_URL = "redis://127.0.0.1:6379/0"


class PackedStore:
    """Writes and reads packed vectors. Safe to share between threads; connects at its first use.

    Args:
        url: `redis://host:port/db`, or `redis+cluster://host:port` for any node of a cluster.
        schemas: the views it writes and reads.
        project: what its keys begin with.

    Raises:
        InvalidInput: the names of two views have the same hash.
    """

    def __init__(self, url: str, schemas: Iterable[Schema], project: str = "kairos") -> None:
        self.schemas = {each.name: each for each in schemas}
        self.project = project
        self._servers = open_servers(url)
        hashes = {each.view_hash: each.name for each in self.schemas.values()}
        for each in self.schemas.values():
            if hashes[each.view_hash] != each.name:
                raise InvalidInput(f"has the same hash as {hashes[each.view_hash]}", field="view", value=each.name)

    @classmethod
    def of(cls, settings: Settings, views: Mapping[str, FeatureView] | None = None) -> Self:
        """The store of these settings; its views are those of `features/views`, if None."""
        found = (all_views() if views is None else views).values()
        return cls(settings.redis_url or DEFAULT_URL, [Schema.of(each) for each in found])

    # -- writing ---------------------------------------------------------------------------------------------------

    def push(self, frames: Mapping[str, pl.DataFrame]) -> int:
        """Write view frames: the view's key, `as_of` and every feature. An older row never replaces a newer one.

        All views of an entity are written at once. Rows of which nothing is known (nulls only) are left out.

        Returns:
            How many rows were written; those that met a newer one were not.

        Raises:
            InvalidInput: a value cannot be kept; nothing was written.
            Unavailable: Redis cannot be reached; each entity has its old or its new values, whole.
        """
        by_key: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        for name, frame in frames.items():
            schema = self.schemas[name]
            known = frame.filter(pl.any_horizontal(pl.col([each.name for each in schema.fields]).is_not_null()))
            segments = pack(schema, columns_of(schema, known), micros(known["as_of"]))
            for entity, segment in zip(known[schema.key].to_list(), segments, strict=True):
                by_key[schema.key][entity].append(segment)
        return sum(
            self.write_segments(key, list(entities), [b"".join(each) for each in entities.values()])
            for key, entities in by_key.items()
        )

    def write_segments(self, key: str, ids: Sequence[str], segments: Sequence[bytes]) -> int:
        """Compare-and-set of packed segments, pipelined: of each entity one segment, or several joined.

        Args:
            key: what the ids are of: `customer_id`, `account_id`.
            ids: entities, as `entity_key` takes them; one may come twice.

        Returns:
            How many segments were written; those that met a later one were not.

        Raises:
            Unavailable: Redis cannot be reached. What was written until then stays; writing again does no harm.
        """
        with redis_errors():
            return sum(self._servers.run(WRITE, self._keys(key, ids), segments))

    def forget(self, ids: Iterable[str], key: str = "customer_id") -> int:
        """Remove all that is online of these entities; returns of how many there was something.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with redis_errors():
            return self._servers.unlink(self._keys(key, list(dict.fromkeys(ids))))

    def drop(self, views: Iterable[tuple[str, int]]) -> int:
        """Remove every segment of views, of any schema, in batches between which others are served.

        Args:
            views: key and view hash of each.

        Returns:
            How many segments there were.

        Raises:
            Unavailable: Redis cannot be reached; run it again.
        """
        hashes: dict[str, bytes] = defaultdict(bytes)
        for key, view in views:
            hashes[key] += view.to_bytes(4, "little")
        with redis_errors():
            return sum(
                sum(self._servers.run(DROP, keys, [gone]))
                for key, gone in hashes.items()
                for keys in self._servers.scan(self._prefix(key))
            )

    def close(self) -> None:
        """Give back the connections."""
        with redis_errors():
            self._servers.close()

    def _keys(self, key: str, ids: Iterable[str]) -> list[bytes]:
        prefix = self._prefix(key)
        return [b"%b%b}" % (prefix, each.encode()) for each in ids]

    def _prefix(self, key: str) -> bytes:
        return f"{self.project}:{key}:{{".encode()
