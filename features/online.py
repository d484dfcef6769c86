"""Feast's way to the packed online store: an `OnlineStore` plugin on the very bytes that `features.packed` keeps.

Named in `feature_store.yaml`, so that `get_online_features`, push, materialise, apply and teardown, and every Feast
client and server, work as with any store. A row older than its view's TTL is answered as Feast answers one that is not
there, with its event time beside it. Only Feast imports this module.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import numpy as np
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import Field

from features.kernel.clock import from_micros, now, to_micros
from features.kernel.errors import InvalidInput
from features.kernel.settings import Settings
from features.packed.layout import Schema, pack, segment_of, unpack
from features.packed.protos import columns_of, entity_of, key_of, schema_of, values_of
from features.packed.store import DEFAULT_URL, PackedStore

__all__ = ["PackedRedisOnlineStore", "PackedRedisOnlineStoreConfig", "schema_of"]

_log = logging.getLogger(__name__)

Row: TypeAlias = "tuple[EntityKey, Mapping[str, Value], datetime, datetime | None]"
Read: TypeAlias = "list[tuple[datetime | None, dict[str, Value] | None]]"


def _default_url() -> str:
    return Settings.from_env().redis_url or DEFAULT_URL


class PackedRedisOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """Where Redis is: `redis://host:port/db`, or `redis+cluster://host:port`; `KAIROS_REDIS_URL`, if not said."""

    type: Literal["features.online.PackedRedisOnlineStore"] = "features.online.PackedRedisOnlineStore"
    url: str = Field(default_factory=_default_url)


class PackedRedisOnlineStore(OnlineStore):  # type: ignore[misc]
    """One Redis string an entity; see `features.packed.layout`."""

    def __init__(self) -> None:
        self._stores: dict[tuple[str, str], PackedStore] = {}

    def packed(self, config: RepoConfig) -> PackedStore:
        """The store of a repository; it knows no schemas, so it writes and reads whole segments."""
        where = config.online_store.url, config.project
        if where not in self._stores:
            self._stores.setdefault(where, PackedStore(where[0], [], where[1]))
        return self._stores[where]

    # -- rows ------------------------------------------------------------------------------------------------------

    def online_write_batch(
        self, config: RepoConfig, table: Any, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows, each if it is not older than the one that is there."""
        schema = schema_of(table)
        for dated in (False, True):
            rows = [each for each in data if (each[3] is not None) == dated]
            if rows:
                columns = columns_of(schema, [values for _, values, _, _ in rows])
                created = _micros([each[3] for each in rows]) if dated else None
                segments = pack(schema, columns, _micros([each[2] for each in rows]), created)
                ids = [entity_of(key)[1] for key, _, _, _ in rows]
                self.packed(config).write_segments(schema.key, ids, segments)
        if progress is not None:
            progress(len(data))

    def online_read(
        self, config: RepoConfig, table: Any, entity_keys: Sequence[EntityKey], requested_features: Any = None
    ) -> Read:
        """Of each entity the row's time and values: no values where it has expired, neither where there is none."""
        schema = schema_of(table)
        values = self.packed(config).read_values(schema.key, [entity_of(each)[1] for each in entity_keys])
        return _rows(table, schema, values, requested_features or [each.name for each in table.features])

    # -- asynchronous ----------------------------------------------------------------------------------------------

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Both: on a thread, which works on any event loop and with a cluster as well."""
        return SupportedAsyncMethods(read=True, write=True)

    async def online_read_async(
        self, config: RepoConfig, table: Any, entity_keys: Sequence[EntityKey], requested_features: Any = None
    ) -> Read:
        """See `online_read`."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    async def online_write_batch_async(
        self, config: RepoConfig, table: Any, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """See `online_write_batch`."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    async def close(self) -> None:
        """Give back the connections."""
        for each in self._stores.values():
            each.close()

    # -- the repository --------------------------------------------------------------------------------------------

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Refuse views that cannot be kept, and drop what removed ones left in Redis."""
        for each in tables_to_keep:
            schema_of(each)
        self.teardown(config, tables_to_delete, entities_to_delete)

    def teardown(self, config: RepoConfig, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Drop everything of these views, in batches between which Redis serves others."""
        if tables:
            self.packed(config).drop((key_of(each), each.name) for each in tables)


def _micros(instants: Sequence[datetime | None]) -> np.ndarray[Any, np.dtype[np.int64]]:
    aware = [each if each.tzinfo else each.replace(tzinfo=UTC) for each in instants if each is not None]
    return np.array([to_micros(each) for each in aware], np.int64)


def _rows(table: Any, schema: Schema, values: Sequence[bytes | None], names: Sequence[str]) -> Read:
    """The rows in values as Redis gave them; a damaged one is as good as none."""
    segments = {i: each for i, value in enumerate(values) if value and (each := segment_of(schema, value))}
    found: Read = [(None, None)] * len(values)
    try:
        columns, events, _ = unpack(schema, list(segments.values()))
        fields = values_of(table, schema, columns, names)
    except (InvalidInput, UnicodeDecodeError):
        if len(values) > 1:
            return [row for value in values for row in _rows(table, schema, [value], names)]
        _log.warning("a value of %s in Redis was damaged; it counts as missing", schema.name)
        return found
    for place, (i, event) in enumerate(zip(segments, events.tolist(), strict=True)):
        expired = schema.ttl_us is not None and to_micros(now()) - event > schema.ttl_us
        row = None if expired else {name: field[place] for name, field in zip(names, fields, strict=True)}
        found[i] = from_micros(event), row
    return found
