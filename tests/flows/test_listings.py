from __future__ import annotations

import asyncio
import json

import pytest

from gateway.domain.bodies import Body
from gateway.domain.errors import NoWorker, WorkerSilent
from gateway.flows import listings as module
from gateway.flows.flights import Flights
from gateway.flows.listings import Listings, Patience
from tests.flows.worker_reads import FakeReads
from tests.servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


def over(reads: FakeReads, flights: Flights, **patience: float) -> Listings:
    quick = {"every": 60.0, "read": 2.0, "first": 1.0, "rest": 0.5} | patience
    return Listings(reads, flights, Patience(**quick), lambda: 1.0)


def read(body: Body | None) -> object:
    assert body is not None
    return json.loads(body.plain)


async def test_a_list_is_the_union_in_the_farms_order(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["z", "b"]}, b={"/l": ["a", "b", {"odd": 1}]}, c={})
    lists = over(reads, flights)
    assert read(await lists.answer("/l")) == ["z", "b", "a", {"odd": 1}]
    assert await lists.answer("/unknown") is None


async def test_answers_come_from_memory(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["x"]})
    lists = over(reads, flights)
    first = await lists.answer("/l")
    assert await lists.answer("/l") is first
    lists.refresh()
    await asyncio.sleep(0.02)
    assert reads.asked == [("a", "/l")]


async def test_many_first_requests_ask_each_worker_once(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["x"]}, b={"/l": ["y"]})
    lists = over(reads, flights)
    answers = await asyncio.gather(*(lists.answer("/l") for _ in range(50)))
    assert [read(each) for each in answers] == [["x", "y"]] * 50
    assert sorted(reads.asked) == [("a", "/l"), ("b", "/l")]


async def test_a_slow_worker_does_not_hold_up_the_answer(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["slow"]}, b={"/l": ["quick"]})
    gate = reads.holds("a")
    lists = over(reads, flights, first=10, rest=0.05)
    async with asyncio.timeout(2):
        assert read(await lists.answer("/l")) == ["quick"]
    gate.set()

    async def both() -> bool:
        return read(await lists.answer("/l")) == ["slow", "quick"]

    await until(both, "the slow one's list is there too")


async def test_a_worker_that_knows_no_such_list_is_no_reason_to_say_so_at_once(flights: Flights) -> None:
    reads = FakeReads(a={}, b={"/l": ["late"]})
    gate = reads.holds("b")
    lists = over(reads, flights)
    asking = asyncio.create_task(lists.answer("/l"))
    await until(lambda: len(reads.asked) == 2, "both are asked")
    gate.set()
    assert read(await asking) == ["late"]


async def test_the_first_answer_waits_but_not_for_ever(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["x"]}, b={"/l": WorkerSilent("no")}, c={"/l": b"no JSON"}, d={"/l": {"no": "list"}})
    gate = reads.holds("a")
    lists = over(reads, flights, first=0.05)
    with pytest.raises(NoWorker):
        await lists.answer("/l")
    gate.set()
    assert read(await over(reads, flights).answer("/l")) == ["x"]
    with pytest.raises(NoWorker):
        await over(FakeReads(), flights).answer("/l")


async def test_lists_are_read_again_when_they_are_due(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["old"]}, b={"/l": ["b"]})
    lists = over(reads, flights, every=0.05)
    before = await lists.answer("/l")
    assert before is not None
    reads.answers["a"]["/l"] = ["new"]
    reads.falls("b")

    async def newer() -> bool:
        lists.refresh()
        return read(await lists.answer("/l")) == ["new", "b"]

    await until(newer, "the new list is there, with what the other had before it fell")
    after = await lists.answer("/l")
    assert after is not None
    assert after.etag != before.etag
    reads.leaves("b")
    assert read(await lists.answer("/l")) == ["new"]


async def test_a_failure_keeps_the_old_list_and_is_not_repeated_at_once(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["kept"]})
    lists = over(reads, flights, every=0.2)
    await lists.answer("/l")
    reads.answers["a"]["/l"] = WorkerSilent("busy")

    def asked_again() -> bool:
        lists.refresh()
        return len(reads.asked) == 2

    await until(asked_again, "it is read again")
    for _ in range(5):
        lists.refresh()
        await asyncio.sleep(0.01)
    assert len(reads.asked) == 2
    assert read(await lists.answer("/l")) == ["kept"]


async def test_a_worker_that_joins_is_read_too(flights: Flights) -> None:
    reads = FakeReads(a={"/l": ["x"]}, b={"/l": ["y"]})
    worker_b = reads._workers.pop("b")
    lists = over(reads, flights)
    assert read(await lists.answer("/l")) == ["x"]
    reads._workers["b"] = worker_b
    lists.refresh()

    async def both() -> bool:
        return read(await lists.answer("/l")) == ["x", "y"]

    await until(both, "the new worker's list is there")


async def test_few_reads_go_on_at_once() -> None:
    reads = FakeReads(**{f"w{i}": {"/l": [f"m{i}"]} for i in range(20)})
    flights = Flights(3)
    lists = over(reads, flights)
    assert len(json.loads((await lists.answer("/l")).plain)) == 20  # type: ignore[union-attr]
    assert reads.most_at_once == 3
    await flights.close()


async def test_paths_are_the_clients_to_choose_but_not_without_end(flights: Flights) -> None:
    reads = FakeReads(a={})
    lists = over(reads, flights)
    for i in range(module._MOST_LISTS + 20):
        assert await lists.answer(f"/models/{i}") is None
    assert len(lists._lists) == module._MOST_LISTS


async def test_a_list_nobody_asks_for_is_let_go(flights: Flights, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = over(FakeReads(a={"/l": []}), flights)
    await lists.answer("/l")
    lists.refresh()
    assert list(lists._lists) == ["/l"]
    monkeypatch.setattr(module, "_UNASKED", -1.0)
    lists.refresh()
    assert list(lists._lists) == []
