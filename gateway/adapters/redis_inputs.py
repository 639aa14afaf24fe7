"""InputStore over Redis: which files were uploaded, and what each worker was sent of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.adapters.redis_keys import Keys
from gateway.adapters.redis_scripts import Arg, Scripts, translated
from gateway.domain.files.index import Kept, Naming
from gateway.domain.files.refs import FileRef, of_text
from gateway.domain.ids import WorkerName
from gateway.domain.ports.blobs import Blob
from gateway.domain.ports.inputs import Placed, Sent

_SENT_KEPT = 20_000
_WEEK = 7 * 86400


class RedisInputs:
    def __init__(self, redis: Redis, run: Scripts, keys: Keys) -> None:
        self._redis: Any = redis  # its replies are typed for all settings at once; ours are bytes
        self._run = run
        self._keys = keys

    async def place(self, naming: Naming, blob: Blob, compared: str) -> Placed:
        args: list[Arg] = [*naming.parts, blob.digest, blob.key, blob.size, compared, int(naming.overwrite)]
        count, name, *useless = await self._run("input_place", self._index, args)
        return Placed(int(count), of_text(name.decode()), [key.decode() for key in useless])

    async def touch(self, refs: Sequence[FileRef]) -> None:
        if refs:
            await self._run("input_touch", [self._keys.inputs_used], [str(ref) for ref in refs])

    async def oldest(self, count: int) -> list[tuple[FileRef, float]]:
        with translated():
            now = (await self._redis.time())[0]
            found = await self._redis.zrange(self._keys.inputs_used, 0, count - 1, withscores=True)
        return [(of_text(name.decode()), now - used / 1000) for name, used in found]

    async def remove(self, ref: FileRef, idle: float) -> str | None:
        reply = await self._run("input_remove", self._index, [str(ref), int(idle * 1000)])
        return reply[0].decode() or None if reply else None

    async def total(self) -> int:
        with translated():
            return int(await self._redis.hget(self._keys.input_blobs, "bytes") or 0)

    async def known_blobs(self) -> set[str]:
        with translated():
            found = await self._redis.hgetall(self._keys.input_blobs)
        return {json.loads(raw)["blob"] for digest, raw in found.items() if digest != b"bytes"}

    async def sent(self, worker: WorkerName, refs: Sequence[FileRef]) -> Mapping[FileRef, Sent]:
        with translated():
            found = await self._redis.hmget(self._keys.sent(worker), [str(ref) for ref in refs]) if refs else []
        return {ref: Sent(*json.loads(raw)) for ref, raw in zip(refs, found, strict=True) if raw}

    async def note_sent(self, worker: WorkerName, ref: FileRef, sent: Sent) -> None:
        key = self._keys.sent(worker)
        with translated():
            if await self._redis.hlen(key) >= _SENT_KEPT:
                await self._redis.delete(key)  # what is forgotten is sent again
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(key, str(ref), json.dumps([sent.digest, sent.etag]))
                pipe.expire(key, _WEEK)
                await pipe.execute()

    @property
    def _index(self) -> list[str]:
        k = self._keys
        return [k.version, k.changes, k.inputs, k.inputs_used, k.input_blobs]


def kept(raw: bytes) -> Kept:
    """An entry of the index as input_place.lua writes it."""
    found = json.loads(raw)
    return Kept(found["blob"], found["digest"], found["size"], found["at"])
