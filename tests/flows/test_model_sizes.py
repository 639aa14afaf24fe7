from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.domain.errors import WorkerSilent
from gateway.domain.models import FOLDERS
from gateway.domain.placement import Model, Work
from gateway.flows import model_sizes as module
from gateway.flows.flights import Flights
from gateway.flows.model_sizes import ModelSizes
from tests.flows.worker_reads import FakeReads
from tests.servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

CHECKPOINTS, LORAS = "/experiment/models/checkpoints", "/experiment/models/loras"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SOON", 0.0)
    monkeypatch.setattr(module, "_EVERY", 0.0)


def file(name: object, size: object) -> dict[str, Any]:
    return {"name": name, "pathIndex": 0, "modified": 0.0, "created": 0.0, "size": size}


def sizes(found: ModelSizes, *names: str) -> list[int]:
    """Of models of which 7 was guessed."""
    weighed = {model.name: model.size for model in found.weighed(work(*names)).models}
    return [weighed[name] for name in names]


def work(*names: str) -> Work:
    return Work("shape", models=frozenset(Model(name, 7) for name in names))


async def looked(found: ModelSizes, reads: FakeReads, worker: str) -> None:
    """Until it has read all folders of this worker."""
    before = len(reads.asked)

    def read() -> bool:
        found.refresh()
        return sum(name == worker for name, _ in reads.asked[before:]) >= len(FOLDERS)

    await until(read, f"{worker} is read")
    await asyncio.sleep(0)


async def test_what_a_worker_tells_replaces_the_guess(flights: Flights) -> None:
    reads = FakeReads(a={CHECKPOINTS: [file("x", 100), file("y", 200)], LORAS: [file("x", 3)]})
    found = ModelSizes(reads, flights)
    assert sizes(found, "x") == [7]
    await looked(found, reads, "a")
    await until(lambda: sizes(found, "x", "y", "z") == [100, 200, 7], "the larger file of that name counts")


async def test_the_next_worker_is_asked_only_for_what_is_missing(flights: Flights) -> None:
    reads = FakeReads(a={CHECKPOINTS: [file("x", 100)]}, b={CHECKPOINTS: [file("y", 200)]})
    found = ModelSizes(reads, flights)
    await looked(found, reads, "a")
    await until(lambda: sizes(found, "x") == [100], "x is known")
    await looked(found, reads, "a")
    assert not any(name == "b" for name, _ in reads.asked)
    assert sizes(found, "y") == [7]
    await looked(found, reads, "b")
    await until(lambda: sizes(found, "x", "y") == [100, 200], "both are known")


@pytest.mark.parametrize(
    "answer",
    [None, b"no json", b"\xff", {"x": 100}, [1, None], [file("x", True), file("x", -1)], [file(7, 1), file("x", "1")]],
    ids=["older", "no JSON", "no text", "no list", "no files", "no sizes", "no names"],
)
async def test_whatever_else_is_told_leaves_the_guess(flights: Flights, answer: Any) -> None:
    found = ModelSizes(FakeReads(a={CHECKPOINTS: answer, LORAS: [file("y", 3)]}), flights)
    found.refresh()
    await until(lambda: sizes(found, "y") == [3], "the other folders are read all the same")
    assert sizes(found, "x") == [7]


async def test_a_worker_that_does_not_answer_is_asked_again(flights: Flights) -> None:
    reads = FakeReads(a={CHECKPOINTS: WorkerSilent("down")})
    found = ModelSizes(reads, flights)
    found.refresh()
    await until(lambda: bool(reads.asked), "it is asked")
    reads.answers["a"] = {CHECKPOINTS: [file("x", 100)]}

    def known() -> bool:
        found.refresh()
        return sizes(found, "x") == [100]

    await until(known, "it is asked again")


async def test_it_is_bounded(flights: Flights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    reads = FakeReads(a={CHECKPOINTS: [file("x", 1), file("y", 2), file("z", 3)]})
    found = ModelSizes(reads, flights)
    await looked(found, reads, "a")
    await until(lambda: sizes(found, "x", "y", "z") == [7, 2, 3], "the latest are kept")
