from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from gateway.emulator.settings import EmulatorSettings
from tests.farm import Farm, emulated, failing, farm, picture, sleeping
from tests.servers import until

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Event:
    place: str
    type: str
    data: Any


@pytest.fixture
async def two(state: str) -> AsyncIterator[Farm]:
    async with emulated(EmulatorSettings()) as workers, farm(state, *workers, replicas=2) as whole:
        yield whole


async def events(response: aiohttp.ClientResponse, count: int = -1) -> list[Event]:
    """So many, or all until it ends."""
    found: list[Event] = []
    while len(found) != count and (block := await block_of(response)):
        if not block[0].startswith(":"):
            told = dict(line.split(": ", 1) for line in block)
            assert list(told) == ["id", "event", "data"]
            found.append(Event(told["id"], told["event"], json.loads(told["data"])))
    return found


async def block_of(response: aiohttp.ClientResponse) -> list[str]:
    lines = []
    while (line := (await response.content.readline()).decode()) not in ("", "\n"):
        lines.append(line.removesuffix("\n"))
    return lines


def stream(whole: Farm, id: str, at: int = 0, place: str = "") -> Any:
    headers = {"Last-Event-ID": place} if place else {}
    timeout = aiohttp.ClientTimeout(sock_read=10)
    return whole.http.get(f"{whole.urls[at]}/gateway/jobs/{id}/events", headers=headers, timeout=timeout)


async def test_a_prompts_events_are_told_as_they_come_and_end_with_it(two: Farm) -> None:
    client = two.client()
    id = await client.submit(sleeping(0.5))
    async with stream(two, id, at=1) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        first = await events(response, 2)
        assert await client.record(id) is None, "it runs still"
        told = [*first, *await events(response)]
    assert told[0].type == "execution_start"
    assert [one.type for one in told].count("executed") == 1
    assert told[-1].type == "execution_success"
    assert all(one.data["prompt_id"] == id for one in told)
    assert (
        {"executing"}
        <= {one.type for one in told}
        <= {
            "execution_start",
            "execution_cached",
            "executing",
            "executed",
            "execution_success",
        }
    )
    record = await client.ended(id)
    assert [told[-1].type, told[-1].data] == record["status"]["messages"][-1]


async def test_it_is_taken_up_on_the_other_gateway_without_a_gap_or_a_double(two: Farm) -> None:
    id = await two.client().submit(sleeping(0.4))
    told: list[Event] = []
    for turn in range(50):
        async with stream(two, id, turn % 2, told[-1].place if told else "") as response:
            more = await events(response, 1)
        if not more:
            break
        told += more
    assert told[-1].type == "execution_success"
    for at in (0, 1):
        async with stream(two, id, at) as response:
            assert await events(response) == told
    async with two.http.get(f"{two.urls[0]}/gateway/jobs/{id}/events?last_event_id={told[1].place}") as response:
        assert await events(response) == told[2:]


async def test_an_error_is_an_end_too(two: Farm) -> None:
    id = await two.client().submit(failing())
    async with stream(two, id, at=1) as response:
        told = await events(response)
    assert told[-1].type == "execution_error"
    assert told[-1].data["exception_message"].startswith("probe failure")


async def test_a_place_that_it_never_gave_is_refused(two: Farm) -> None:
    id = await two.client().submit(picture())
    path = f"/gateway/jobs/{id}/events"
    for place in ("x", "1", "1-", "-1", "1-2-3", "9" * 20 + "-0", "\u0661-\u0661", "1-1\n", "+"):
        answer = await two.client().ask("GET", path, params={"last_event_id": place})
        assert answer.status == 400, place
        assert "Last-Event-ID" in answer.json["error"]["message"]
    assert (await two.client().ask("GET", path, headers={"Last-Event-ID": "0"})).status == 400
    await two.client().ended(id)
    async with stream(two, id, place="9" * 19 + "-" + "9" * 19) as response:  # the last that there can be
        assert (response.status, await events(response)) == (200, [])


async def test_what_nobody_knows_is_not_found(two: Farm) -> None:
    answer = await two.client().ask("GET", "/gateway/jobs/nothing/events")
    assert answer.status == 404
    assert "nothing" in answer.json["error"]["message"]


async def test_who_leaves_ends_its_task(two: Farm) -> None:
    client = two.client()
    id = await client.submit(sleeping())
    await client.runs(id)

    def streams() -> int:
        coroutines = (task.get_coro() for task in asyncio.all_tasks())
        return sum("RequestResponseCycle" in getattr(one, "__qualname__", "") for one in coroutines)

    async with stream(two, id) as response:
        await events(response, 1)
        assert streams()
    await until(lambda: not streams(), "nobody is told any more")
    await client.send("/interrupt", {"prompt_id": id})
    await client.ended(id)
