from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.redis_outputs import RedisOutputs
from gateway.domain.files import OutputFile
from gateway.domain.files.index import Kept
from tests.adapters.stores import KEYS, Store, opened

pytestmark = pytest.mark.anyio

X = OutputFile("output", "s", "x~w.png")


@pytest.fixture
async def store(state: str) -> AsyncIterator[Store]:
    async with opened(state) as store:
        yield store


def kept(blob: str) -> Kept:
    return Kept(blob, '"etag"', 5, 1.5)


async def test_what_is_kept_is_found_until_its_time_is_over(store: Store) -> None:
    outputs = RedisOutputs(store.redis, KEYS, ttl=60)
    await outputs.keep(X, kept("one"))
    assert await outputs.find(X) == kept("one")
    assert await outputs.find(X._replace(subfolder="")) is None
    assert await outputs.find(X._replace(type="temp")) is None
    assert 0 < await store.redis.ttl(KEYS.kept(X)) <= 60
    assert await outputs.expired(10) == []


async def test_blobs_go_when_nobody_can_be_reading_them_any_more(store: Store) -> None:
    outputs = RedisOutputs(store.redis, KEYS, ttl=60)
    await outputs.keep(X, kept("one"))
    await outputs.keep(X, kept("two"))
    due = {blob.decode(): at for blob, at in await store.redis.zrange(KEYS.kept_blobs, 0, -1, withscores=True)}
    assert due["one"] < due["two"]
    assert due["one"] > time.time() + 60, "it may be being read"
    await store.redis.zadd(KEYS.kept_blobs, {"one": 1.0})
    assert await outputs.expired(10) == ["one"]
    await outputs.forget(["one"])
    await outputs.forget([])
    assert await outputs.expired(10) == []
    await outputs.keep(X, kept("two"))
    assert await store.redis.zcard(KEYS.kept_blobs) == 1
