"""Queue, history and jobs as clients read them."""

from __future__ import annotations

import pytest

from gateway.domain.ids import PromptId
from gateway.flows.query import RecordCache, chosen
from tests.farm import farm, picture, sleeping
from tests.scripted import Scripted
from tests.servers import until

pytestmark = pytest.mark.anyio

IDS = [PromptId(id) for id in "abcde"]


@pytest.mark.parametrize(
    ("max_items", "offset", "shown"),
    [
        (None, None, "abcde"),
        (2, None, "de"),
        (9, None, "abcde"),
        (2, -1, "de"),
        (0, None, ""),
        (None, 3, "de"),
        (None, -2, "abcde"),
        (2, 1, "bc"),
        (2, 4, "e"),
        (2, 5, ""),
        (0, 1, "b"),
        (-1, 1, "b"),
    ],
)
def test_the_two_numbers_choose_as_in_comfyui(max_items: int | None, offset: int | None, shown: str) -> None:
    """PromptQueue.get_history of execution.py: without an offset the newest, with one from there on."""
    assert "".join(chosen(IDS, max_items, offset)) == shown


class Records:
    """A store with one record for each of IDS, which counts what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[PromptId] = []

    async def records(self, ids: list[PromptId]) -> list[bytes | None]:
        self.asked += ids
        return [id.encode() * 10 if id in IDS else None for id in ids]


async def test_records_are_kept_up_to_a_number_of_bytes_the_last_used_ones() -> None:
    store = Records()
    cache = RecordCache(store, 30)  # type: ignore[arg-type]
    assert await cache.get(IDS[:3]) == {id: id.encode() * 10 for id in IDS[:3]}
    await cache.get([IDS[0]])
    await cache.get([IDS[3]])  # pushes the second out
    assert store.asked == IDS[:4]
    await cache.get([IDS[0], IDS[2], IDS[3]])
    assert store.asked == IDS[:4]
    await cache.get([IDS[1], PromptId("nobody")])
    assert store.asked == [*IDS[:4], IDS[1], "nobody"]
    assert await cache.get([PromptId("nobody")]) == {}


async def test_a_record_larger_than_all_room_is_given_and_not_kept() -> None:
    store = Records()
    cache = RecordCache(store, 5)  # type: ignore[arg-type]
    for _ in range(2):
        assert await cache.get(IDS[:1]) == {IDS[0]: b"a" * 10}
    assert store.asked == [IDS[0]] * 2


async def test_the_queue_is_in_the_order_of_its_numbers(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        running = await client.submit(sleeping())
        last = await client.submit(picture())
        front = await client.submit(picture(), front=True)
        newer = await client.submit(picture(), front=True)
        numbered = await client.submit(picture(), number=-0.5)
        assert await client.queue() == ([running], [newer, front, numbered, last])
        raw = (await client.ask("GET", "/queue")).body
        assert raw.startswith(b'{"queue_running": [[0, "')
        assert [item[0] for item in (await client.get("/queue"))["queue_pending"]] == [-3, -2, -0.5, 1]


async def test_a_record_can_be_read_by_the_query_and_by_pages(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        ids = [await client.submit(picture()) for _ in range(3)]
        for id in ids:
            await client.ended(id)
        assert sorted(await client.get("/history")) == sorted(ids)
        order = list(await client.get("/history"))
        assert list(await client.get("/history?max_items=1")) == order[-1:]
        assert list(await client.get("/api/history?max_items=1&offset=0")) == order[:1]
        assert list(await client.get(f"/history?prompt_id={ids[1]}")) == [ids[1]]
        assert await client.get("/history?prompt_id=nobody") == {}
        assert (await client.ask("GET", "/history?max_items=x")).status == 500


async def test_the_history_keeps_so_many_records_as_are_wanted(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    async with farm(state, scripted_worker, history_max=2) as gateway:
        client = gateway.client()
        ids = []
        for _ in range(4):
            ids.append(await client.submit(picture()))
            await client.ended(ids[-1])
        assert list(await client.get("/history")) == ids[2:]
        assert await client.record(ids[0]) is None
        assert (await client.get("/api/jobs"))["pagination"]["total"] == 2


async def test_jobs_are_told_in_each_of_their_states(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        done = await client.submit(picture())
        scripted_worker.finish()
        await client.ended(done)
        running = await client.submit(picture(), extra_data={"extra_pnginfo": {"workflow": {"id": "w-1"}}})
        waiting = await client.submit(picture())
        listed = await client.get("/api/jobs?sort_order=asc")
        assert [(job["id"], job["status"]) for job in listed["jobs"]] == [
            (done, "completed"),
            (running, "in_progress"),
            (waiting, "pending"),
        ]
        one = await client.get(f"/api/jobs/{done}")
        assert one["workflow"]["prompt"]
        assert one["execution_status"]["completed"]
        assert (await client.get("/api/jobs?status=pending"))["pagination"]["total"] == 1
        assert [job["id"] for job in (await client.get("/api/jobs?workflow_id=w-1"))["jobs"]] == [running]
        assert (await client.ask("GET", "/api/jobs/nobody")).status == 404


async def test_another_gateway_knows_at_once_what_this_one_answered(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker, replicas=2) as gateway:
        here, there = gateway.client("me", 0), gateway.client("me", 1)
        ids = []
        for _ in range(5):
            ids.append(await here.submit(picture()))
            running, pending = await there.queue()
            assert set(ids) == {*running, *pending}
            assert (await there.get("/prompt"))["exec_info"]["queue_remaining"] == len(ids)
        await there.send("/queue", {"delete": ids[1:]})
        assert await here.queue() == (ids[:1], [])
        scripted_worker.finish()
        await there.ended(ids[0])
        assert await here.record(ids[0]) is not None
        await until(lambda: len(scripted_worker.started) == 1, "nothing else runs")
