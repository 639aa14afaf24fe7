from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.adapters.redis_client import connect
from gateway.domain.errors import StoreUnavailable
from tests.adapters.stores import KEYS, ROOM, new, opened
from tests.servers import StateServer

pytestmark = pytest.mark.anyio


async def test_more_callers_than_connections_take_turns(state: str) -> None:
    redis = connect(state)
    try:
        answers = await asyncio.gather(*(redis.set(f"k{number}", number, ex=9) for number in range(300)))
        assert answers == [True] * 300
        assert await redis.get("k7") == b"7", "bytes, not text"
        assert len(await redis.client_list()) <= 65
    finally:
        await redis.aclose()


async def test_a_server_that_restarts_is_waited_for_and_nothing_is_lost(short_path: Path) -> None:
    server = StateServer(short_path, durable=True)
    server.start()
    try:
        async with opened(server.url) as store:
            await store.jobs.accept(new("p"), ROOM)
            server.kill()
            asked = asyncio.create_task(store.jobs.accept(new("q"), ROOM))
            await asyncio.sleep(0)
            await asyncio.to_thread(server.start)
            assert (await asked).number == "1"
            assert await store.feed.all_ids() == ["p", "q"]
            assert await store.redis.get(KEYS.version) == b"2"
    finally:
        server.kill()


async def test_a_server_that_is_gone_is_said_to_be(short_path: Path) -> None:
    async with opened(f"unix://{short_path}/nobody") as store:
        async with asyncio.timeout(10):
            with pytest.raises(StoreUnavailable):
                await store.feed.since(0)
            with pytest.raises(StoreUnavailable):
                await store.farm.workers()


async def test_a_password_is_sent_and_no_connection_is_made_before_it_is_needed(short_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        redis = connect(f"redis://:secret@127.0.0.1:{listener.getsockname()[1]}/3")
        settings = redis.connection_pool.connection_kwargs
        assert (settings["password"], settings["db"]) == ("secret", 3)
        await redis.aclose()
