"""What clients are told of when their prompts start and end."""

from __future__ import annotations

import pytest

from tests.farm import farm, picture, timed
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio


async def test_the_eta_of_what_waits_counts_what_is_before_it(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.ended(await client.submit(timed(scripted_worker, 50.0)))
        for _ in range(5):
            await client.ended(await client.submit(timed(scripted_worker, 100.0)))
        scripted_worker.instant = False
        runs, *waiting = [await client.submit(timed(scripted_worker, 100.0)) for _ in range(3)]
        etas = [(await client.job(id))["eta"] for id in (runs, *waiting)]
        assert etas == pytest.approx([100, 200, 300], rel=0.2)
        starts = [(await client.job(id))["estimated_start_seconds"] for id in waiting]
        assert starts == pytest.approx([100, 200], rel=0.2)


async def test_a_full_queue_says_when_the_next_prompt_will_start(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    async with farm(state, scripted_worker, max_queue=1) as gateway:
        client = gateway.client()
        for _ in range(6):
            await client.ended(await client.submit(timed(scripted_worker, 90.0)))
        scripted_worker.instant = False
        for _ in range(2):
            await client.submit(timed(scripted_worker, 90.0))
        answer = await client.post(picture())
        assert answer.status == 503
        assert 60 < int(answer.headers["Retry-After"]) < 120
