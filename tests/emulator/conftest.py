"""An emulated worker inside the test, and a small client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.conformance.client import Client, Target

Start = Callable[..., AbstractAsyncContextManager[tuple[Running, Client]]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`async with start(speed=10) as (worker, client)`"""

    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[tuple[Running, Client]]:
        chosen = EmulatorSettings(**{"directory": tmp_path, **settings})
        async with running(chosen) as worker, aiohttp.ClientSession() as http:
            yield worker, Client(Target(worker.url, is_new=chosen.is_new), http)

    return started
