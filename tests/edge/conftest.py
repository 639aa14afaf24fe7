"""A whole gateway for the tests of its routes: in front of one scripted worker, w0."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.farm import Client, Farm, farm
from tests.scripted import Scripted, scripted


@pytest.fixture
async def behind() -> AsyncIterator[Scripted]:
    async with scripted("w0") as worker:
        yield worker


@pytest.fixture
async def whole(state: str, behind: Scripted) -> AsyncIterator[Farm]:
    async with farm(state, behind) as gateway:
        yield gateway


@pytest.fixture
def caller(whole: Farm) -> Client:
    return whole.client()
