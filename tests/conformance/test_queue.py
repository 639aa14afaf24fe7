"""The queue: its shape, its order, and what is taken out of it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.conformance.client import Client, picture, sleeping

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/queue", "/api/queue"])
async def test_running_and_waiting_prompts_are_shown(client: Client, path: str) -> None:
    async with client.busy() as busy:
        graph = sleeping(0.1)
        waiting = await client.submit(graph, extra_data={"mine": 1})
        told = (await client.get(path)).json
        assert list(told) == ["queue_running", "queue_pending"]
        assert busy in [item[1] for item in told["queue_running"]]
        shown = [item for items in told.values() for item in items if item[1] == waiting]
        if not client.target.is_gateway:
            assert shown[0] in told["queue_pending"]
        for _, _, stored, extra_data, outputs in shown:
            extra_data.pop("create_time", None)
            assert (stored, extra_data, outputs) == (graph, {"mine": 1, "client_id": client.client_id}, ["3"])
    await client.finished(waiting)


async def test_the_count_is_of_what_waits_and_what_runs(client: Client) -> None:
    async with client.busy():
        ids = [await client.submit(sleeping(0.1)) for _ in range(2)]
        told = (await client.get("/prompt")).json
        assert list(told) == ["exec_info"]
        running, pending = await client.queue()
        assert 1 <= told["exec_info"]["queue_remaining"] <= 3
        assert len(running) + len(pending) <= told["exec_info"]["queue_remaining"]
    for prompt_id in ids:
        await client.finished(prompt_id)


async def test_an_idle_server_has_nothing_to_show(client: Client) -> None:
    assert (await client.get("/queue")).json == {"queue_running": [], "queue_pending": []}
    assert (await client.get("/prompt")).json == {"exec_info": {"queue_remaining": 0}}


async def test_a_prompt_is_in_the_queue_or_in_the_history_at_every_moment(client: Client) -> None:
    ids = [await client.submit(sleeping(0.2)) for _ in range(4)]
    left = list(ids)
    async with asyncio.timeout(30):
        while left:
            running, pending = await client.queue()
            for prompt_id in left:
                if prompt_id not in running and prompt_id not in pending:
                    assert await client.record(prompt_id) is not None
            left = [prompt_id for prompt_id in left if prompt_id in running or prompt_id in pending]


async def test_a_deleted_prompt_leaves_no_trace(client: Client) -> None:
    async with Crowd(client) as crowd:
        gone = await client.submit(picture())
        stays = await client.submit(picture())
        answer = await client.post("/queue", {"delete": [gone]})
        assert (answer.status, answer.body) == (200, b"")
        assert "Content-Type" not in answer.headers
        running, pending = await client.queue()
        assert gone not in running + pending
        assert stays in pending
        await crowd.end()
        await client.finished(stays)
        assert await client.record(gone) is None


async def test_deleting_what_runs_or_what_nobody_knows_does_nothing(client: Client) -> None:
    async with client.busy() as busy:
        assert (await client.post("/queue", {"delete": [busy, "nobody"]})).status == 200
        assert busy in (await client.queue())[0]


async def test_delete_given_one_string(client: Client) -> None:
    async with Crowd(client):
        prompt_id = await client.submit(picture())
        assert (await client.post("/queue", {"delete": prompt_id})).status == 200
        assert (prompt_id in (await client.queue())[1]) is not client.target.differs("delete-one")
        await client.post("/queue", {"delete": [prompt_id]})


async def test_clear_takes_all_that_waits(client: Client) -> None:
    async with Crowd(client) as crowd:
        ids = [await client.submit(picture()) for _ in range(3)]
        answer = await client.post("/queue", {"clear": True})
        assert (answer.status, answer.body) == (200, b"")
        running, pending = await client.queue()
        assert set(running) == set(crowd.ids)
        assert not set(ids) & set(pending)
    assert [await client.record(prompt_id) for prompt_id in ids] == [None] * 3


async def test_front_and_number_decide_the_order(client: Client) -> None:
    async with Crowd(client):
        last = await client.submit(picture())
        front = await client.submit(picture(), front=True)
        newer_front = await client.submit(picture(), front=True)
        numbered = await client.submit(picture(), number=-0.5)
        pending = (await client.queue())[1]
        assert [p for p in pending if p in (last, front, newer_front, numbered)] == [newer_front, front, numbered, last]
        await client.post("/queue", {"clear": True})


async def test_front_negates_the_counter_and_a_number_leaves_it_alone(client: Client) -> None:
    first = (await client.post("/prompt", {"prompt": picture()})).json["number"]
    numbered = await client.post("/prompt", {"prompt": picture(), "number": "7.5"})
    assert numbered.json["number"] == 7.5
    front = (await client.post("/prompt", {"prompt": picture(), "front": True})).json["number"]
    assert front == -(first + 1)


@pytest.mark.parametrize("body", [b"", b"{", b"5", b'{"delete": null}'])
async def test_a_broken_body_is_a_bare_500(client: Client, body: bytes) -> None:
    assert (await client.ask("POST", "/queue", data=body)).status == 500


@pytest.mark.parametrize("path", ["/queue", "/history"])
@pytest.mark.parametrize("body", [b"[]", b'"nothing"', b'{"delete": {"nobody": 1}}', b'{"clear": 0}'])
async def test_a_body_that_edits_nothing_is_an_empty_200(client: Client, path: str, body: bytes) -> None:
    answer = await client.ask("POST", path, data=body)
    assert (answer.status, answer.body) == (200, b"")


class Crowd:
    """So many busy prompts that whatever is submitted next has to wait."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ids: list[str] = []

    async def __aenter__(self) -> Crowd:
        async with asyncio.timeout(30):
            while not self.ids or len((await self._client.queue())[0]) == len(self.ids):
                self.ids.append(await self._client.submit(sleeping(15)))
                await self._runs_or_waits(self.ids[-1])
        waits = self.ids.pop()
        await self._client.post("/queue", {"delete": [waits]})
        return self

    async def _runs_or_waits(self, prompt_id: str) -> None:
        """The first runs for sure. Whether a farm has a worker left for the next is known when it has had its time."""
        if len(self.ids) == 1:
            await self._client.running(prompt_id)
        elif self._client.target.is_gateway:
            with contextlib.suppress(TimeoutError):
                await self._client.running(prompt_id, timeout=1)

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        for prompt_id in self.ids:
            await self._client.post("/interrupt", {"prompt_id": prompt_id})
            await self._client.finished(prompt_id)
