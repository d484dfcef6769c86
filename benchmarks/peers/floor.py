"""The naive floor: a bare ASGI app that reads a customer's Redis hash with HMGET and calls `Booster.predict`.

No framework, no validation, no calibration, no log: what is left when everything is left out. Settings come from the
environment: `FLOOR_REDIS`, `FLOOR_MODEL` (LightGBM's text file). A hash `floor:<customer>` holds each input as text.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import redis
import redis.asyncio

__all__ = ["factory", "fill"]


def fill(url: str, rows: dict[str, Sequence[float]]) -> None:
    """Write the model's input of each customer, one hash field an input."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipeline:
        for customer, row in rows.items():
            pipeline.hset(f"floor:{customer}", mapping={str(i): repr(float(value)) for i, value in enumerate(row)})
        pipeline.execute()


def factory() -> Callable[..., Awaitable[None]]:
    """The app, for `uvicorn --factory`."""
    import lightgbm  # noqa: PLC0415

    booster = lightgbm.Booster(model_file=os.environ["FLOOR_MODEL"])
    fields = [str(i) for i in range(booster.num_feature())]
    store = redis.asyncio.Redis.from_url(os.environ["FLOOR_REDIS"])
    decoder, encoder = msgspec.json.Decoder(), msgspec.json.Encoder()
    headers = [(b"content-type", b"application/json")]

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return
        body = decoder.decode((await receive())["body"])
        texts = await store.hmget(f"floor:{body['customer_id']}", fields)
        row = np.array([texts], dtype=np.float64)
        probability = float(booster.predict(row, num_threads=1)[0])
        answer = encoder.encode({"probability": probability})
        length = (b"content-length", str(len(answer)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": answer})

    return app
