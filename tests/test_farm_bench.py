"""`scripts/bench farm` in short: how often models are loaded for one trace, by both policies. Times would say more of
the machine than of them."""

from __future__ import annotations

import pytest
import redis.asyncio

from bench.farm import Drained, drained, rows, trace
from gateway.emulator.settings import EmulatorSettings
from tests.farm import emulated, farm

pytestmark = pytest.mark.anyio

WORKERS, PROMPTS, LOAD, FASTER = 4, 40, 30.0, 60.0


async def played(state: str, policy: str) -> Drained:
    async with (
        emulated(*(EmulatorSettings(name=f"w{number}") for number in range(WORKERS))) as workers,
        farm(state, *workers, policy=policy) as gateway,
    ):
        urls = [worker.url for worker in workers]
        return await drained(gateway.urls[0], urls, trace(PROMPTS, clients=4), load=LOAD, faster=FASTER)


async def test_the_default_loads_models_more_seldom(state: str) -> None:
    theirs = await played(state, "least-queue")
    async with redis.asyncio.Redis.from_url(state) as client:
        await client.flushall()
    ours = await played(state, "expected-completion")
    assert len(ours.times) == len(theirs.times) == PROMPTS
    assert ours.loads < theirs.loads / 1.5
    assert ours.loading < theirs.loading
    cases = {row.case: row.ratio for row in rows(ours, {"least-queue": theirs})}
    assert cases["farm: busy time spent loading"] > 1
