from __future__ import annotations

import pytest

from gateway.adapters.redis_keys import LEARNED_TTL
from gateway.adapters.redis_lessons import RedisLessons
from tests.adapters.stores import KEYS, opened

pytestmark = pytest.mark.anyio


async def test_what_was_learned_is_kept_for_a_while(state: str) -> None:
    async with opened(state) as store:
        lessons = RedisLessons(store.redis, KEYS)
        assert await lessons.load() == {}
        await lessons.save({"book": {"a": [1, 2]}})
        await lessons.save({"book": {"a": [1, 3]}, "place": 7})
        assert await lessons.load() == {"book": {"a": [1, 3]}, "place": 7}
        assert LEARNED_TTL - 60 < await store.redis.ttl(KEYS.learned) <= LEARNED_TTL


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"x\x9c\x03\x00\x00\x00\x00\x01"])
async def test_what_cannot_be_read_is_nothing(state: str, raw: bytes) -> None:
    async with opened(state) as store:
        await store.redis.set(KEYS.learned, raw, ex=60)
        assert await RedisLessons(store.redis, KEYS).load() == {}
