from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.adapters.blobs import ObjectBlobs, open_store
from gateway.adapters.redis_inputs import RedisInputs
from gateway.domain.files.index import Naming
from gateway.domain.files.refs import FileRef
from gateway.flows.keeping import Keep, Keeping
from tests.adapters.stores import KEYS, ROOM, new
from tests.flows.replica import Replica, replica

pytestmark = pytest.mark.anyio
LONG_AGO = 3_000_000  # seconds, which is more than a month


@dataclass(frozen=True, slots=True)
class Kept:
    replica: Replica
    store: RedisInputs
    blobs: ObjectBlobs

    async def put(self, name: str, data: bytes, idle: float = LONG_AGO) -> FileRef:
        """A file that was used so many seconds ago."""

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        ref = FileRef("input", name)
        blob = await self.blobs.put(chunks())
        placed = await self.store.place(Naming(ref, name, overwrite=False), blob, blob.digest)
        for key in placed.useless:
            await self.blobs.delete(key)
        await self.replica.store.redis.zadd(KEYS.inputs_used, {str(ref): (time.time() - idle) * 1000})
        return ref

    async def names(self) -> set[str]:
        return {ref.path for ref in await self.replica.store.feed.all_files()}

    async def stored(self) -> int:
        return len([key async for key in self.blobs.keys(-60)])

    async def tick(self, *, ttl: float = 30 * 86400.0, max_bytes: int = 2**40) -> None:
        await Keeping(self.store, self.blobs, self.replica.mirror, Keep(ttl, max_bytes)).tick()


@asynccontextmanager
async def keeping(state: str, folder: Path) -> AsyncIterator[Kept]:
    async with replica(state) as one:
        store = RedisInputs(one.store.redis, one.store.run, KEYS)
        yield Kept(one, store, ObjectBlobs(open_store(str(folder)), "inputs"))


async def test_what_nobody_used_for_long_goes(state: str, tmp_path: Path) -> None:
    async with keeping(state, tmp_path) as kept:
        await kept.put("old", b"old")
        await kept.put("young", b"young", idle=1000)
        await kept.tick()
        assert (await kept.names(), await kept.stored(), await kept.store.total()) == ({"young"}, 1, 5)


async def test_when_there_is_too_much_the_least_recently_used_goes(state: str, tmp_path: Path) -> None:
    async with keeping(state, tmp_path) as kept:
        for number in range(5):
            await kept.put(str(number), bytes([number]) * 10, idle=10_000 - number)
        await kept.tick(max_bytes=35)
        assert (await kept.names(), await kept.stored()) == ({"2", "3", "4"}, 3)


async def test_what_was_just_used_stays_though_there_is_too_much(state: str, tmp_path: Path) -> None:
    async with keeping(state, tmp_path) as kept:
        await kept.put("x", bytes(10), idle=1)
        await kept.tick(max_bytes=1)
        assert await kept.names() == {"x"}


async def test_what_a_waiting_prompt_names_stays_and_goes_after_it(state: str, tmp_path: Path) -> None:
    async with keeping(state, tmp_path) as kept:
        ref = await kept.put("x", b"x")
        await kept.put("y", b"y")
        await kept.replica.store.jobs.accept(new("p", files=frozenset({ref})), ROOM)
        await kept.tick()
        assert await kept.names() == {"x"}
        await kept.replica.store.jobs.cancel(new("p").id)
        await kept.put("x", b"x")  # the same bytes under the same name, which makes it old again
        await kept.tick()
        assert (await kept.names(), await kept.stored()) == (set(), 0)


async def test_a_prompt_that_names_it_just_now_is_in_time(state: str, tmp_path: Path) -> None:
    """Between the look at the prompts and the removal it is used: the removal sees that."""
    async with keeping(state, tmp_path) as kept:
        ref = await kept.put("x", b"x")
        [(_, idle)] = await kept.store.oldest(1)
        assert idle > LONG_AGO - 60
        await kept.store.touch([ref])
        assert await kept.store.remove(ref, 300) is None
        assert await kept.names() == {"x"}


async def test_a_blob_of_two_names_goes_with_the_last(state: str, tmp_path: Path) -> None:
    async with keeping(state, tmp_path) as kept:
        await kept.put("x", b"same")
        await kept.put("y", b"same", idle=1000)
        await kept.tick()
        assert await kept.names() == {"y"}
        assert await kept.store.total() == 4


async def test_blobs_that_no_name_has_are_swept_when_they_are_old(state: str, tmp_path: Path) -> None:
    async with keeping(state, tmp_path) as kept:
        await kept.put("x", b"named", idle=1)

        async def chunks() -> AsyncIterator[bytes]:
            yield b"left over"

        old, fresh = await kept.blobs.put(chunks()), await kept.blobs.put(chunks())
        for path in (tmp_path / "inputs").iterdir():
            if path.name != fresh.key:
                os.utime(path, (time.time() - 7200, time.time() - 7200))
        await kept.tick()
        left = {key async for key in kept.blobs.keys(-60)}
        assert old.key not in left
        assert left == {fresh.key, *await kept.store.known_blobs()}
