"""Feast's Redis store, told where Redis is by `KAIROS_REDIS_URL`, and giving up soon when it is not there.

Stock Feast takes `host:port,key=value` and has no place for a retry policy; this takes a URL. Only Feast imports it.
"""

from __future__ import annotations

from typing import Any, Literal

import redis
import redis.asyncio
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from pydantic import Field
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.kernel.settings import Settings

__all__ = ["KairosRedisOnlineStore", "KairosRedisOnlineStoreConfig"]

CONNECT_SECONDS = 1.0
READ_SECONDS = 5.0
"""Of one command; a pipeline of a thousand writes is one."""


def _default_url() -> str:
    return Settings.from_env().redis_url or "redis://127.0.0.1:6379/0"


class KairosRedisOnlineStoreConfig(RedisOnlineStoreConfig):  # type: ignore[misc]
    """Configuration of the store: stock Feast's, and a URL in place of its connection string."""

    type: Literal["features.online.KairosRedisOnlineStore"] = "features.online.KairosRedisOnlineStore"
    url: str = Field(default_factory=_default_url)


class KairosRedisOnlineStore(RedisOnlineStore):  # type: ignore[misc]
    """Stock Feast's Redis store but for its connection: keys, fields and values are its own."""

    _client: Any = None
    _client_async: Any = None

    def _get_client(self, online_store_config: KairosRedisOnlineStoreConfig) -> Any:
        if self._client is None:
            self._client = redis.Redis.from_url(
                online_store_config.url,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=READ_SECONDS,
                retry=Retry(NoBackoff(), 1),  # one more try, for a connection that went stale in the pool
            )
        return self._client

    async def _get_client_async(self, online_store_config: KairosRedisOnlineStoreConfig) -> Any:
        if self._client_async is None:
            self._client_async = redis.asyncio.Redis.from_url(
                online_store_config.url,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=READ_SECONDS,
                retry=AsyncRetry(NoBackoff(), 1),
            )
        return self._client_async
