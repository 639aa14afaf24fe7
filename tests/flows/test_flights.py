from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.domain.errors import WorkerSilent
from gateway.flows.flights import Flights

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


async def test_one_key_is_under_way_once() -> None:
    flights, gate, runs = Flights(2), asyncio.Event(), 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await gate.wait()
        return runs

    first, second = flights.start("k", work), flights.start("k", work)
    assert first is second
    gate.set()
    assert await first == 1
    assert await flights.start("k", work) == 2


async def test_only_odd_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    flights = Flights(2)

    async def fail(error: Exception) -> None:
        raise error

    with caplog.at_level(logging.INFO):
        for error in (WorkerSilent("no"), TimeoutError(), LookupError("a bug")):
            await asyncio.wait([flights.start(error, lambda error=error: fail(error))])  # type: ignore[misc]
            await asyncio.sleep(0)
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_closing_ends_all() -> None:
    flights = Flights(1)
    tasks = [flights.start(i, asyncio.Event().wait) for i in range(3)]
    await asyncio.sleep(0)
    await flights.close()
    assert all(task.cancelled() for task in tasks)
