"""The packed online store: what every view knows of an entity in one Redis string. Needs no Feast."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import polars as pl

from features.compute import all_views
from features.kernel.clock import now, to_micros
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from features.packed.decode import Found, Part
from features.packed.frames import columns_of, micros
from features.packed.layout import Schema, pack
from features.packed.plan import CUSTOMER, Plan, compile_plan
from features.packed.schema import hash_of
from features.packed.scripts import DROP, WRITE
from features.packed.servers import open_servers, redis_errors
from features.vectors import Vectors
from features.view import FeatureView

__all__ = ["DEFAULT_URL", "PackedStore"]

DEFAULT_URL = "redis://127.0.0.1:6379/0"
MAX_PLANS = 1_000
"""Lists of references whose plans are kept."""

_log = logging.getLogger(__name__)


class PackedStore:
    """Writes and reads packed vectors. Safe to share between threads; connects at its first use.

    Args:
        url: `redis://host:port/db`, or `redis+cluster://host:port` for any node of a cluster.
        schemas: the views it writes and reads.
        project: what its keys begin with.

    Raises:
        InvalidInput: the URL is none, or the names of two views have the same hash.
    """

    def __init__(self, url: str, schemas: Iterable[Schema], project: str = "kairos") -> None:
        self.schemas = {each.name: each for each in schemas}
        self.url, self.project = url, project
        self.damaged = 0
        """Values read that were not whole, since it was made."""
        self._servers = open_servers(url)
        self._plans: dict[tuple[str, ...], Plan] = {}
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

    # -- reading ---------------------------------------------------------------------------------------------------

    def read_vectors(self, ids: Sequence[str], refs: Sequence[str]) -> Vectors:
        """The online features of these customers; see `features.vectors.Vectors`.

        One round trip; a second where views of accounts are asked for, by each customer's `profile:account_id`.

        Raises:
            NotFound: a reference names no feature.
            Unavailable: Redis cannot be reached.
        """
        plan = self._plan(tuple(refs))
        found = plan.nothing.of(len(ids))
        if ids and refs:
            self._decode(plan.customers, CUSTOMER, ids, found)
            if plan.accounts is not None and plan.account is not None:
                accounts = found.strings.get(plan.account, [None] * len(ids))
                self._decode(plan.accounts, plan.account_key, accounts, found)
        if found.damaged:
            self.damaged += found.damaged
            _log.warning("%d of %d values in Redis were damaged; their views count as missing", found.damaged, len(ids))
        return plan.vectors(found, to_micros(now()))

    def read_values(self, key: str, ids: Sequence[str]) -> list[bytes | None]:
        """The whole value of each entity, as `layout` has it; None where there is none.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with redis_errors():
            return self._servers.read(self._keys(key, ids))

    def _decode(self, part: Part, key: str, ids: Sequence[str | None], into: Found) -> None:
        unique = [each for each in dict.fromkeys(ids) if each is not None]
        read = self.read_values(key, unique)
        values: dict[str | None, bytes | None] = dict(zip(unique, read, strict=True))
        if len(ids) == 1:
            part.one(values.get(ids[0]) or b"", into)
        else:
            part.many([values.get(each) for each in ids], into)

    def _plan(self, refs: tuple[str, ...]) -> Plan:
        plan = self._plans.get(refs)
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            plan = self._plans[refs] = compile_plan(refs, self.schemas)
        return plan

    # -- removing --------------------------------------------------------------------------------------------------

    def forget(self, ids: Iterable[str], key: str = "customer_id") -> int:
        """Remove all that is online of these entities; returns of how many there was something.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with redis_errors():
            return self._servers.unlink(self._keys(key, list(dict.fromkeys(ids))))

    def drop(self, views: Iterable[tuple[str, str]]) -> int:
        """Remove every segment of views, of any schema, in batches between which others are served.

        Args:
            views: key and name of each.

        Returns:
            How many segments there were.

        Raises:
            Unavailable: Redis cannot be reached; run it again.
        """
        hashes: dict[str, bytes] = defaultdict(bytes)
        for key, name in views:
            hashes[key] += hash_of(name).to_bytes(4, "little")
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
        return [b"%b%b}" % (prefix, each.encode(errors="surrogatepass")) for each in ids]

    def _prefix(self, key: str) -> bytes:
        return f"{self.project}:{key}:{{".encode()
