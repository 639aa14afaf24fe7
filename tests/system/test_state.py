"""The state server dies under a load and comes back with its data."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.servers import StateServer
from tests.system.history import History
from tests.system.processes import SLOW, Farm
from tests.system.prompts import Prompt, many, models

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SLOW)]


async def test_while_the_state_is_away_prompts_get_a_503_or_are_taken_and_none_is_lost(
    farm: Farm, durable: StateServer, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abcde"), w2=models("abcde"))
    gateways = [farm.gateway(name, workers, state=durable.url) for name in ("east", "west")]
    await asyncio.gather(*(gateway.start() for gateway in gateways))
    history = History(http, gateways)
    async with history.watched():
        posting = asyncio.create_task(history.post_all(many(120), ahead=30))
        for count in (20, 60):
            await history.ended(count)
            with history.excused(*gateways):
                durable.kill()
                refused = history.refused + 2
                unlucky = [asyncio.create_task(history.post(Prompt(1000 + count), gateway)) for gateway in gateways]
                await history.refused_at_least(refused)
                durable.start()
                await asyncio.gather(*unlucky)
                await history.ended(count + 20)
        await posting
        await history.settled()
    assert all(gateway.alive for gateway in gateways)
    await history.in_order()
