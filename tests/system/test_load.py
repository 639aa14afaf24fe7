"""A load of prompts on several workers, through two gateways on one state."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.servers import StateServer
from tests.system.history import History
from tests.system.processes import SLOW, Farm, Process
from tests.system.prompts import many, models

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SLOW)]


async def two_gateways(farm: Farm, state: StateServer, workers: list[Process]) -> list[Process]:
    gateways = [farm.gateway(name, workers, state=state.url) for name in ("east", "west")]
    await asyncio.gather(*(gateway.start() for gateway in gateways))
    return gateways


async def test_200_prompts_of_five_model_sets_on_four_workers_are_neither_lost_nor_doubled(
    farm: Farm, durable: StateServer, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abcde"), w2=models("abc"), w3=models("de"))
    history = History(http, await two_gateways(farm, durable, workers))
    async with history.watched():
        await history.post_all(many(200))
        await history.settled()
    await history.in_order(workers)


async def test_an_id_that_is_posted_to_both_gateways_at_once_runs_once(
    farm: Farm, durable: StateServer, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abcde"), w2=models("abcde"))
    east, west = gateways = await two_gateways(farm, durable, workers)
    history = History(http, gateways)
    prompts = many(80)
    alternately, at_once = prompts[:60], prompts[60:]
    async with history.watched():
        for one, other in zip(alternately[::2], alternately[1::2], strict=True):
            await asyncio.gather(history.post(one, east), history.post(other, west))
        for prompt in at_once:
            await asyncio.gather(history.post(prompt, east), history.post(prompt, west))
        await history.settled()
    assert len(history.results) == 80
    await history.in_order(workers)
