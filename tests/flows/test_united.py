from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from gateway.domain.bodies import Body
from gateway.domain.errors import NoWorker
from gateway.flows.flights import Flights
from gateway.flows.united import NoFarmFiles, United
from tests.domain.catalogues import RECORDINGS, recorded
from tests.flows.worker_reads import FakeReads
from tests.servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


def nodes(body: Body) -> list[str]:
    return list(json.loads(body.plain))


async def test_one_workers_nodes_are_told_as_it_tells_them(flights: Flights) -> None:
    reads = FakeReads(a={})
    reads.knows("a", "X")
    object.__setattr__(reads.workers()[0], "catalogue", recorded())
    body = await United(reads, flights, 1, NoFarmFiles()).all()
    told = json.loads((RECORDINGS / "object_info_subset.json").read_text())
    assert json.loads(body.plain) == told
    assert body.plain == json.dumps(told).encode()
    assert body.packed is not None
    assert gzip.decompress(body.packed) == body.plain


async def test_nodes_of_all_workers_are_one_answer(flights: Flights) -> None:
    reads = FakeReads(a={}, b={}, c={})
    reads.knows("a", "Both", "OnlyA", model=["x"])
    reads.knows("b", "Both", "OnlyB", model=["y", "x"])
    united = United(reads, flights, 1, NoFarmFiles())
    assert nodes(await united.all()) == ["Both", "OnlyA", "Load", "OnlyB"]
    one = json.loads((await united.one("Load")).plain)
    assert one["Load"]["input"]["required"]["model"][0] == ["x", "y"]


async def test_the_first_answer_waits_for_one_worker_but_not_for_ever(flights: Flights) -> None:
    reads = FakeReads(a={}, b={})
    with pytest.raises(NoWorker):
        await United(reads, flights, 0.05, NoFarmFiles()).all()
    united = United(reads, flights, 10, NoFarmFiles())
    waiting = asyncio.create_task(united.all())
    await asyncio.sleep(0)
    reads.knows("b", "B")
    united.refresh()
    assert nodes(await waiting) == ["B"]


async def test_without_any_worker_the_first_answer_waits_a_moment_only(
    flights: Flights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.flows.united._NOBODY", 0.05)
    async with asyncio.timeout(5):
        with pytest.raises(NoWorker):
            await United(FakeReads(), flights, 60, NoFarmFiles()).all()


async def test_a_farm_that_starts_with_its_client_is_waited_for(
    flights: Flights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.flows.united._NOBODY", 0.05)
    reads = FakeReads(a={})
    united = United(reads, flights, 10, NoFarmFiles())
    waiting = asyncio.create_task(united.all())
    done, _ = await asyncio.wait({waiting}, timeout=0.15)
    assert not done
    reads.knows("a", "A")
    united.refresh()
    assert nodes(await waiting) == ["A"]


async def test_a_newer_edition_is_made_behind_the_old_one(flights: Flights) -> None:
    reads = FakeReads(a={}, b={})
    reads.knows("a", "A")
    united = United(reads, flights, 1, NoFarmFiles())
    first = await united.all()
    assert await united.all() is first
    single = await united.one("A")
    assert await united.one("A") is single
    reads.knows("b", "B")
    assert await united.all() is first  # never waits for the new one

    async def newer() -> bool:
        return nodes(await united.all()) == ["A", "B"]

    await until(newer, "the new edition is there")
    assert (await united.all()).etag != first.etag
    reads.leaves("b")
    await united.all()
    await until(lambda: united._edition and len(united._edition.base.digests) == 1, "the worker's nodes are gone")
    assert nodes(await united.all()) == ["A"]
    assert (await united.all()).etag == first.etag


async def test_workers_that_answer_alike_cost_one_edition(flights: Flights) -> None:
    reads = FakeReads(a={}, b={})
    reads.knows("a", "A")
    united = United(reads, flights, 1, NoFarmFiles())
    first = await united.all()
    reads.knows("b", "A")
    assert await united.all() is first
    await asyncio.sleep(0.05)
    assert await united.all() is first
