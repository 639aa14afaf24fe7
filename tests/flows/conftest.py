"""Workers for the tests of the flows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.scripted import Scripted, scripted


@pytest.fixture
async def scripted_worker() -> AsyncIterator[Scripted]:
    async with scripted("w0") as worker:
        yield worker


@pytest.fixture
async def second_worker() -> AsyncIterator[Scripted]:
    async with scripted("w1") as worker:
        yield worker
