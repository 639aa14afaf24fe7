from __future__ import annotations

import asyncio

import pytest

from gateway.domain.ids import PromptId
from gateway.domain.jobs import Job
from gateway.flows import ends
from gateway.flows.ends import Ends
from tests.domain import facts

pytestmark = pytest.mark.anyio

A, B = PromptId("a"), PromptId("b")


def ended(id: PromptId) -> Job:
    return facts.job(id)


async def test_ends_are_told_in_the_order_in_which_they_came() -> None:
    waiting = Ends(lambda id: False)
    for id in (A, B):
        waiting.put(ended(id))
    async with waiting.next() as first:
        assert first.id == A
    async with waiting.next() as second:
        assert second.id == B


async def test_who_waits_for_an_end_goes_on_once_it_is_told() -> None:
    live = {A}
    waiting = Ends(live.__contains__)
    told = asyncio.create_task(waiting.told(A))
    await asyncio.sleep(0)
    live.clear()
    waiting.put(ended(A))
    async with waiting.next():
        await asyncio.sleep(0)
        assert not told.done()
    await asyncio.wait_for(told, 5)
    await asyncio.wait_for(waiting.told(B), 5)


async def test_nothing_is_held_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "_PATIENCE", 0.01)
    await asyncio.wait_for(Ends(lambda id: True).told(A), 5)
