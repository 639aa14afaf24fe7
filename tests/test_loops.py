from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.loops import Loop, running
from tests.servers import until

pytestmark = pytest.mark.anyio


async def nothing() -> None: ...


async def test_a_failing_tick_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    recovered = asyncio.Event()
    outcomes = [ValueError("worse"), RuntimeError("worker is down")]

    async def tick() -> None:
        if outcomes:
            raise outcomes.pop()
        recovered.set()

    loop = Loop("poll", every=0.01, tick=tick)
    async with running(loop, grace=1):
        await recovered.wait()
        await until(lambda: loop.last_ok is not None, "the good tick is noted")
        assert loop.failures == 0
    first, second = caplog.records[:2]
    assert first.getMessage() == "loop poll: tick failed"
    assert first.exc_info
    assert second.getMessage() == "loop poll: tick failed 2 times in a row: ValueError('worse')"
    assert not second.exc_info  # a Redis that is away must not fill the disk with tracebacks


async def test_a_tick_whose_own_task_was_cancelled_does_not_end_the_loop() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        ticks += 1
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner

    async with running(Loop("poll", every=0.01, tick=tick), grace=1):
        await until(lambda: ticks > 2, "it ticks on")


async def test_wake_ticks_at_once_and_a_wake_during_a_tick_is_not_lost() -> None:
    started: asyncio.Queue[int] = asyncio.Queue()
    release = asyncio.Semaphore(0)
    running_now = 0

    async def tick() -> None:
        nonlocal running_now
        running_now += 1
        started.put_nowait(running_now)
        await release.acquire()
        running_now -= 1

    loop = Loop("dispatch", every=3600, tick=tick)
    async with running(loop, grace=1):
        assert await started.get() == 1
        loop.wake()
        loop.wake()
        assert started.empty()  # ticks never overlap
        release.release()
        assert await started.get() == 1
        release.release()
        await until(lambda: running_now == 0, "the second tick ends")
        assert started.empty()  # two wakes before a tick are one
        loop.wake()
        assert await started.get() == 1
        release.release()


async def test_a_tick_may_take_longer_than_its_period_but_not_than_its_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = asyncio.Event()

    async def slow() -> None:
        await asyncio.sleep(0.05)
        ended.set()

    async with running(Loop("slow", every=0.01, tick=slow), grace=1):
        await ended.wait()
    assert caplog.records == []
    stuck = Loop("stuck", every=60, timeout=0.02, tick=asyncio.Event().wait)
    async with running(stuck, grace=1):
        await until(lambda: stuck.failures == 1, "the tick is cut off")


async def test_age_counts_from_the_last_good_tick_and_tells_when_one_is_late() -> None:
    gate = asyncio.Event()
    loop = Loop("poll", every=0.01, timeout=0.05, tick=gate.wait)
    assert loop.age() == 0
    async with running(loop, grace=1):
        assert not loop.late()
        await until(loop.late, "no tick ends well")
        gate.set()
        await until(lambda: not loop.late(), "a tick ends well")


async def test_shutdown_lets_a_running_tick_finish_and_starts_no_other() -> None:
    started, release = asyncio.Event(), asyncio.Event()
    finished = []

    async def tick() -> None:
        started.set()
        await release.wait()
        finished.append(True)

    loop = Loop("poll", every=0, tick=tick)
    async with running(loop, grace=5):
        await started.wait()
        loop.wake()
        asyncio.get_running_loop().call_later(0.01, release.set)
    assert finished == [True]


async def test_shutdown_does_not_wait_for_a_stuck_tick(caplog: pytest.LogCaptureFixture) -> None:
    started = asyncio.Event()
    cancelled = 0

    async def tick() -> None:
        nonlocal cancelled
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled += 1

    async with asyncio.timeout(5), running(Loop("poll", every=60, tick=tick), grace=0.05):
        await started.wait()
    assert cancelled == 1
    assert caplog.records == []


async def test_shutdown_leaves_behind_what_will_not_be_cancelled(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.loops._LAST_WORDS", 0.05)
    started, give_up = asyncio.Event(), asyncio.Event()

    async def tick() -> None:
        while not give_up.is_set():
            started.set()
            try:
                await give_up.wait()
            except asyncio.CancelledError:
                continue

    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(5), running(Loop("deaf", every=60, tick=tick), grace=0.01):
            await started.wait()
    assert "loop deaf does not end" in caplog.text
    give_up.set()
    await until(lambda: "loop deaf" not in {task.get_name() for task in asyncio.all_tasks()}, "it ends")


async def test_an_error_in_the_body_gets_out_as_it_is() -> None:
    with pytest.raises(ValueError, match="boom"):
        async with running(Loop("poll", every=60, tick=nothing), grace=1):
            raise ValueError("boom")


async def test_pauses_are_spread_by_the_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    monkeypatch.setattr("random.uniform", uniform)
    ended: list[float] = []

    async def tick() -> None:
        ended.append(asyncio.get_running_loop().time())

    async with running(Loop("poll", every=0.05, jitter=1.0, tick=tick), grace=1):
        await until(lambda: len(ended) > 1, "a second tick")
    assert drawn[0] == (-1, 1)
    assert ended[1] - ended[0] >= 0.09


async def test_no_loops_at_all_is_fine_and_every_task_has_its_name() -> None:
    async with running(grace=1):
        pass
    async with running(Loop("a", 60, nothing), Loop("b", 60, nothing), grace=1):
        assert {"loop a", "loop b"} <= {task.get_name() for task in asyncio.all_tasks()}
