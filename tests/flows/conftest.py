"""Workers for the tests of the flows, and what reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.flows.flights import Flights
from tests.scripted import Scripted, scripted


@pytest.fixture
async def scripted_worker() -> AsyncIterator[Scripted]:
    async with scripted("w0") as worker:
        yield worker


@pytest.fixture
async def second_worker() -> AsyncIterator[Scripted]:
    async with scripted("w1") as worker:
        yield worker


@pytest.fixture
async def flights(anyio_backend: str) -> AsyncIterator[Flights]:
    flights = Flights(4)
    yield flights
    await flights.close()
