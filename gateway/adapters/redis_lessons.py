"""What was learned, in Redis: one value, written by the leading replica every few seconds, and read at the start."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from gateway.adapters.redis_keys import LEARNED_TTL, Keys
from gateway.adapters.redis_scripts import translated

log = logging.getLogger(__name__)


class RedisLessons:
    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # its replies are typed for all settings at once; ours are bytes
        self._key = keys.learned

    async def save(self, learned: Mapping[str, Any]) -> None:
        raw = await asyncio.to_thread(_packed, learned)
        with translated():
            await self._redis.set(self._key, raw, ex=LEARNED_TTL)

    async def load(self) -> dict[str, Any]:
        with translated():
            raw = await self._redis.get(self._key)
        if raw is None:
            return {}
        try:
            found = json.loads(zlib.decompress(raw))
        except (zlib.error, ValueError) as error:
            log.warning("what was learned cannot be read: %s", error)
            return {}
        return found if isinstance(found, dict) else {}


def _packed(learned: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(learned, separators=(",", ":")).encode(), 1)
