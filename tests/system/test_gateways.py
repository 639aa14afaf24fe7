"""Gateways that are killed, or told to leave, in the middle of a load."""

from __future__ import annotations

import asyncio
import signal
import time

import aiohttp
import pytest

from tests.servers import StateServer, until
from tests.system.history import History
from tests.system.processes import SLOW, Farm
from tests.system.prompts import many, models

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SLOW)]

GRACE = 3.0
HANDOVER = 4.0
"""Seconds; on a quiet machine it is one, and without leases that are given back it would be LEASES."""
LEASES = 30.0


async def test_what_a_killed_gateway_answered_200_for_is_true_after_its_restart(
    farm: Farm, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abc"), w2=models("de"))
    gateway = farm.gateway("only", workers, "--lease-ttl", "2s")
    await gateway.start()
    history = History(http, [gateway])
    async with history.watched():
        posting = asyncio.create_task(history.post_all(many(100), ahead=30))
        for count in (20, 60):
            await history.ended(count)
            with history.excused(gateway):
                gateway.kill()
                await gateway.start()
        await posting
        await history.settled()
    assert len(history.results) == 100
    await history.in_order(workers)


async def test_when_one_of_two_gateways_is_killed_the_other_keeps_its_promises(
    farm: Farm, durable: StateServer, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abc"), w2=models("de"))
    gateways = [farm.gateway(name, workers, "--lease-ttl", "2s", state=durable.url) for name in ("east", "west")]
    for gateway in gateways:  # the first has all leases
        await gateway.start()
    history = History(http, gateways)
    async with history.watched():
        posting = asyncio.create_task(history.post_all(many(100), ahead=30))
        for gateway, count in zip(gateways, (20, 60), strict=True):
            await history.ended(count)
            with history.excused(gateway):
                gateway.kill()
                await history.ended(count + 20)
                await gateway.start()
        await posting
        await history.settled()
    assert len(history.results) == 100
    await history.in_order(workers)


async def test_a_gateway_that_is_told_to_leave_loses_nothing_and_hands_over_at_once(
    farm: Farm, durable: StateServer, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abc"), w2=models("de"))
    flags = ("--shutdown-grace", f"{GRACE}s", "--lease-ttl", f"{LEASES}s")
    gateways = [farm.gateway(name, workers, *flags, state=durable.url) for name in ("east", "west")]
    for gateway in gateways:  # the first has all leases
        await gateway.start()
    leaving = gateways[0]
    history = History(http, gateways)
    async with history.watched():
        posting = asyncio.create_task(history.post_all(many(100), ahead=30))
        await history.ended(20)
        with history.excused(leaving):
            leaving.signal(signal.SIGTERM)
            told = time.monotonic()
            assert await leaving.ended(GRACE + 3) == 0
            left, results = time.monotonic(), len(history.results)
            await until(lambda: len(history.results) > results, "the other one takes over", timeout=HANDOVER)
            print(f"left after {left - told:.2f} s, taken over after {time.monotonic() - left:.2f} s")
        await posting
        await history.settled()
    assert len(history.results) == 100
    await history.in_order(workers)
    assert "Traceback" not in leaving.log.read_text()
