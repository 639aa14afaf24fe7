"""OutputStore over Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from redis.asyncio import Redis

from gateway.adapters.redis_keys import Keys
from gateway.adapters.redis_scripts import translated
from gateway.domain.files.index import Kept
from gateway.domain.files.references import OutputFile

_READING = 3600.0
"""Seconds that somebody may still read what no record names any more."""


class RedisOutputs:
    def __init__(self, redis: Redis, keys: Keys, *, ttl: float) -> None:
        self._redis: Any = redis  # its replies are typed for all settings at once; ours are bytes
        self._keys = keys
        self._ttl = max(1, int(ttl))

    async def find(self, file: OutputFile) -> Kept | None:
        with translated():
            raw = await self._redis.get(self._keys.kept(file))
        return Kept(**json.loads(raw)) if raw else None

    async def keep(self, file: OutputFile, kept: Kept) -> None:
        before, now = await self.find(file), time.time()
        with translated():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(self._keys.kept(file), json.dumps(asdict(kept)), ex=self._ttl)
                pipe.zadd(self._keys.kept_blobs, {kept.blob: now + self._ttl + _READING})
                if before is not None and before.blob != kept.blob:
                    pipe.zadd(self._keys.kept_blobs, {before.blob: now + _READING})
                await pipe.execute()

    async def expired(self, count: int) -> list[str]:
        with translated():
            found = await self._redis.zrangebyscore(self._keys.kept_blobs, "-inf", time.time(), start=0, num=count)
        return [blob.decode() for blob in found]

    async def forget(self, blobs: Sequence[str]) -> None:
        if blobs:
            with translated():
                await self._redis.zrem(self._keys.kept_blobs, *blobs)
