"""What every system test has: a farm of processes, a durable state server, and an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.servers import StateServer
from tests.system.processes import Farm


@pytest.fixture
async def farm(short_path: Path) -> AsyncIterator[Farm]:
    farm = Farm(short_path)
    yield farm
    await farm.end()


@pytest.fixture
def durable(short_path: Path) -> Iterator[StateServer]:
    """A Redis that keeps what it acknowledged when it is killed, for gateways to share."""
    folder = short_path / "redis"
    folder.mkdir()
    server = StateServer(folder, durable=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=64), timeout=aiohttp.ClientTimeout(total=30)
    ) as session:
        yield session
