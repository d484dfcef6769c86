"""One shared key, if `KAIROS_API_KEY` is set: `Authorization: Bearer …`, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.errors import Unauthorized

__all__ = ["key_check"]

_bearer = HTTPBearer(auto_error=False, description="The key of `KAIROS_API_KEY`, where the deployment has set one.")


def key_check(api_key: str) -> Callable[..., Awaitable[None]]:
    """A FastAPI dependency that refuses requests without `api_key`; with an empty key everyone may ask."""
    expected = api_key.encode()

    async def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        if not expected:
            return
        given = credentials.credentials.encode("utf-8", "replace") if credentials else b""
        if not hmac.compare_digest(given, expected):
            raise Unauthorized(
                "the request carries no key, or a wrong one",
                field="Authorization",
                remedy="send Authorization: Bearer with the key of this deployment",
            )

    return check
