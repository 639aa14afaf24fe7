from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest
from tenacity import wait_none

from gateway.domain.errors import StoreUnavailable
from gateway.flows.sharing import Shared, Tasks, forever, insisting, stopped
from tests.servers import until

pytestmark = pytest.mark.anyio


class Slow:
    """Work whose end a test decides; counts how often it began."""

    def __init__(self) -> None:
        self.began = 0
        self.gates: list[asyncio.Future[None]] = []

    async def __call__(self) -> None:
        self.began += 1
        self.gates.append(asyncio.get_running_loop().create_future())
        await self.gates[-1]


async def test_one_run_serves_all_who_asked_before_it_began() -> None:
    work = Slow()
    shared = Shared(work)
    first = asyncio.gather(shared(), shared(), shared())
    await until(lambda: work.began, "it begins")
    work.gates[0].set_result(None)
    await first
    assert work.began == 1


async def test_who_asks_during_a_run_gets_the_next() -> None:
    work = Slow()
    shared = Shared(work)
    early = asyncio.create_task(shared())
    await until(lambda: work.began, "it begins")
    late = [asyncio.create_task(shared()) for _ in range(2)]
    await asyncio.sleep(0)
    work.gates[0].set_result(None)
    await early
    await until(lambda: work.began == 2, "it begins again")
    assert not any(task.done() for task in late)
    work.gates[1].set_result(None)
    await asyncio.gather(*late)
    assert work.began == 2


async def test_a_failure_reaches_those_who_waited_for_it_and_no_others() -> None:
    work = Slow()
    shared = Shared(work)
    early = asyncio.create_task(shared())
    await until(lambda: work.began, "it begins")
    late = asyncio.create_task(shared())
    await asyncio.sleep(0)
    work.gates[0].set_exception(StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        await early
    await until(lambda: work.began == 2, "it begins again")
    work.gates[1].set_result(None)
    await late


async def test_one_who_gives_up_does_not_stop_the_others() -> None:
    work = Slow()
    shared = Shared(work)
    one, other = asyncio.create_task(shared()), asyncio.create_task(shared())
    await until(lambda: work.began, "it begins")
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    work.gates[0].set_result(None)
    await other


async def test_insisting_outlasts_a_store_that_is_away_and_nothing_else() -> None:
    errors: list[Exception] = [StoreUnavailable("away"), StoreUnavailable("away"), ValueError("a bug")]
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise errors.pop(0)

    with pytest.raises(ValueError, match="a bug"):
        await insisting().copy(wait=wait_none())(fail)
    assert tries == 3


async def test_tasks_end_within_the_grace_or_are_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    tasks, gate, forever = Tasks(), asyncio.Event(), asyncio.Event()
    ends = tasks.start(gate.wait(), "ends")
    stays = tasks.start(forever.wait(), "stays")
    assert len(tasks) == 2
    gate.set()
    await tasks.close(0.05)
    assert ends.result() is True
    assert stays.cancelled()
    assert len(tasks) == 0
    with pytest.raises(RuntimeError, match="late one: too late"):
        tasks.start(forever.wait(), "late one")
    assert caplog.records == []


async def test_a_task_that_fails_is_told_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        raise ValueError("broken")

    tasks = Tasks()
    tasks.start(failing(), "post p-1")
    await tasks.close(1)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "task post p-1 failed")
    assert record.exc_info is not None


async def lost() -> None:
    """Like a library that says something else when it is cancelled."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise StoreUnavailable("closed") from None


async def test_what_goes_on_for_ever_ends_though_its_cancellation_came_out_as_an_error() -> None:
    task = asyncio.create_task(forever(lost))
    await asyncio.sleep(0)
    task.cancel()
    _, going = await asyncio.wait([task], timeout=5)
    assert not going


async def test_one_that_heeds_no_cancellation_is_cancelled_again() -> None:
    async def stubborn() -> None:
        with suppress(StoreUnavailable):
            await lost()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stopped([task])
    assert task.cancelled()
