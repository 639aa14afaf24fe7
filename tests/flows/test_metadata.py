from __future__ import annotations

import asyncio

import pytest

from gateway.domain.errors import NoWorker, WorkerSilent
from gateway.flows import metadata as module
from gateway.flows.flights import Flights
from gateway.flows.metadata import Metadata
from tests.flows.worker_reads import FakeReads

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

PATH = "/view_metadata/lo%2Fras?filename=a%2Fb+%26.safetensors"
FOLDER, FILE = "lo/ras", "a/b &.safetensors"


async def test_what_a_worker_says_is_passed_on_and_remembered(flights: Flights) -> None:
    reads = FakeReads(a={}, b={PATH: b'{"ss": "1"}'})
    metadata = Metadata(reads, flights, 1)
    for _ in range(3):
        found = await metadata.answer(FOLDER, FILE)
        assert found is not None
        assert found.plain == b'{"ss": "1"}'
    assert sorted(reads.asked) == [("a", PATH), ("b", PATH)]


@pytest.mark.parametrize("filename", [None, "", "a.ckpt", "a.safetensors.txt"])
async def test_other_files_are_not_even_asked_for(flights: Flights, filename: str | None) -> None:
    reads = FakeReads(a={})
    assert await Metadata(reads, flights, 1).answer("loras", filename) is None
    assert reads.asked == []


async def test_the_fastest_worker_answers(flights: Flights) -> None:
    reads = FakeReads(a={PATH: b"{}"}, b={PATH: b"{}"})
    reads.holds("a")
    async with asyncio.timeout(1):
        assert await Metadata(reads, flights, 10).answer(FOLDER, FILE) is not None


async def test_nothing_is_remembered_of_a_worker_that_did_not_answer(flights: Flights) -> None:
    reads = FakeReads(a={}, b={PATH: WorkerSilent("busy")})
    metadata = Metadata(reads, flights, 1)
    assert await metadata.answer(FOLDER, FILE) is None
    reads.answers["b"][PATH] = b"{}"
    assert await metadata.answer(FOLDER, FILE) is not None


async def test_a_file_that_nobody_has_is_not_asked_for_again_at_once(flights: Flights) -> None:
    reads = FakeReads(a={})
    metadata = Metadata(reads, flights, 1)
    for _ in range(3):
        assert await metadata.answer(FOLDER, FILE) is None
    assert len(reads.asked) == 1


async def test_no_answer_at_all_is_no_404(flights: Flights) -> None:
    reads = FakeReads(a={PATH: WorkerSilent("busy")}, b={})
    reads.holds("b")
    with pytest.raises(NoWorker):
        await Metadata(reads, flights, 0.05).answer(FOLDER, FILE)


async def test_memory_is_bounded(flights: Flights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    files = {f"/view_metadata/l?filename={i}.safetensors": b"x" * 40 for i in range(5)}
    reads = FakeReads(a=files)
    metadata = Metadata(reads, flights, 1)
    for i in range(5):
        await metadata.answer("l", f"{i}.safetensors")
    assert [filename for _, filename in metadata._kept] == ["3.safetensors", "4.safetensors"]
    assert metadata._bytes == 80
