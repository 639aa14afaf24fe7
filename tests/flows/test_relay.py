from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from gateway.domain.errors import StoreUnavailable
from gateway.domain.frames import Frame, Kind
from gateway.domain.ids import AttemptId, WorkerName
from gateway.domain.jobs import Attempt, Job
from gateway.domain.workers import Worker
from gateway.flows.clients import Clients
from gateway.flows.mirror import Mirror
from gateway.flows.relay import Relay
from tests.flows import saying
from tests.servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

W = WorkerName("w0")
A, B = (AttemptId(f"00000000-0000-4000-8000-{number:012}") for number in range(2))


@dataclass
class Farm:
    """As much of a mirror as a relay looks at."""

    held: dict[AttemptId, str] = field(default_factory=dict)
    """Whose each attempt on the worker is."""
    coming: dict[AttemptId, str] = field(default_factory=dict)
    """What the store has and the mirror has not."""
    sid: str = "new"
    away: bool = False
    asked: int = 0

    @property
    def workers(self) -> dict[WorkerName, Worker]:
        return {W: Worker(W, "http://w0", sid=self.sid)}

    def on(self, worker: WorkerName) -> list[tuple[Job, Attempt]]:
        assert worker == W
        return [(cast("Job", owner), cast("Attempt", _Held(id))) for id, owner in self.held.items()]

    def holder(self, worker: WorkerName, attempt: AttemptId) -> Job | None:
        return cast("Job | None", self.held.get(attempt))

    async def fresh(self) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        self.held |= self.coming


@dataclass(frozen=True)
class _Held:
    id: AttemptId


@dataclass
class Heard:
    """Clients that write down what they are told."""

    frames: list[tuple[str, Frame]] = field(default_factory=list)

    def frame(self, job: Any, frame: Frame) -> None:
        self.frames.append((job, frame))

    def broadcast(self, frame: Frame) -> None:
        self.frames.append(("all", frame))

    async def flush(self) -> None:
        return

    @property
    def short(self) -> list[tuple[str, str]]:
        return [(owner, frame.event or frame.kind.value) for owner, frame in self.frames]


@dataclass
class Set:
    farm: Farm
    heard: Heard
    relay: Relay
    ends: list[str | None]

    async def say(self, *frames: str | bytes) -> list[tuple[str, str]]:
        """What was told because of these."""
        before = len(self.heard.frames)
        for frame in (*frames, saying.event("execution_error", prompt_id="mark")):
            self.relay.frame(frame)
        await until(lambda: "mark" in self.ends, "all is carried on")
        self.ends.remove("mark")
        return self.heard.short[before:]


@pytest.fixture
async def given(anyio_backend: str) -> AsyncIterator[Set]:
    farm, heard = Farm(), Heard()
    relay = Relay(W, cast("Mirror", farm), cast("Clients", heard))
    ends: list[str | None] = []
    relay.on_end = ends.append
    running = asyncio.create_task(relay.run())
    yield Set(farm, heard, relay, ends)
    assert not running.done(), "nothing that is said ends it"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def start(id: str) -> str:
    return saying.event("execution_start", prompt_id=id, timestamp=1)


def over(id: str) -> str:
    return json.dumps({"type": "executing", "data": {"node": None, "prompt_id": id}})


async def test_frames_go_to_whose_attempt_they_name(given: Set) -> None:
    given.farm.held = {A: "a", B: "b"}
    told = await given.say(saying.executing(B), saying.executing(A), saying.preview(B), saying.result(A, "x"))
    assert told == [("b", "executing"), ("a", "executing"), ("b", "preview"), ("a", "executed")]


async def test_frames_without_a_name_belong_to_what_was_started(given: Set) -> None:
    given.farm.held = {A: "a", B: "b"}
    anonymous = saying.picture(), saying.text("x"), saying.event("custom")
    kinds = ["preview", "text", "custom"]
    assert await given.say(*anonymous) == [("all", "custom")], "nothing runs: only what custom nodes say is for all"
    assert (await given.say(start(A), *anonymous))[1:] == [("a", kind) for kind in kinds]
    assert await given.say(over(A), *anonymous) == [("all", "custom")]
    assert (await given.say(start(B), *anonymous))[1:] == [("b", kind) for kind in kinds]


async def test_or_to_what_runs_when_its_start_was_not_heard(given: Set) -> None:
    given.farm.held = {A: "a"}
    await given.say(start(A))
    given.relay.lost()
    told = await given.say(saying.progress(A, 1), saying.picture(), saying.event("custom"))
    assert told == [("a", "progress"), ("a", "preview"), ("a", "custom")]


async def test_of_strangers_nothing_is_told_and_the_store_is_asked_once(given: Set) -> None:
    told = await given.say(
        start(A), saying.executing(A), saying.picture(), saying.event("custom"), saying.result(A, "x")
    )
    assert told == []
    assert given.farm.asked == 1 + 1, "for it, and for the mark"


async def test_one_that_another_replica_posted_just_now_is_found(given: Set) -> None:
    given.farm.coming = {A: "a"}
    assert await given.say(start(A), saying.executing(A)) == [("a", "execution_start"), ("a", "executing")]


async def test_while_the_state_is_away_the_known_are_heard_all_the_same(given: Set) -> None:
    given.farm.held, given.farm.coming, given.farm.away = {A: "a"}, {B: "b"}, True
    assert await given.say(start(B), saying.executing(A)) == [("a", "executing")]
    given.farm.away = False
    given.farm.held |= given.farm.coming
    assert await given.say(saying.executing(B)) == [("b", "executing")]


async def test_ends_are_not_told_but_looked_into(given: Set) -> None:
    given.farm.held = {A: "a"}
    ends = [saying.event(f"execution_{how}", prompt_id=A) for how in ("success", "error", "interrupted")]
    assert await given.say(*ends, over(A)) == []
    assert given.ends == [A, A, A, A]
    blocked = saying.event("execution_error", prompt_id=A, exception_type="ExecutionBlocked")
    assert await given.say(blocked) == [("a", "execution_error")], "this one is no end"
    assert given.heard.frames[-1][1].kind is Kind.BLOCKED


async def test_a_connection_that_comes_or_goes_makes_everything_be_looked_into(given: Set) -> None:
    given.relay.connected()
    given.relay.lost()
    assert given.ends == [None, None]


async def test_a_count_is_a_sign_of_life_and_nothing_else(given: Set) -> None:
    given.relay.last_status = 0.0
    told = await given.say(saying.event("status", status={"exec_info": {"queue_remaining": 1}}))
    assert told == []
    assert given.relay.last_status > 0.0


async def test_what_cannot_be_carried_on_at_once_is_bounded() -> None:
    relay = Relay(W, cast("Mirror", Farm()), cast("Clients", Heard()))
    for _ in range(11_000):
        relay.frame(saying.event("custom"))
    assert len(relay._frames) == 10_000


def test_an_old_name_is_needed_until_what_may_have_been_posted_under_it_has_ended() -> None:
    farm = Farm({A: "a"}, sid="old")
    relay = Relay(W, cast("Mirror", farm), cast("Clients", Heard()))
    assert relay.needs("old")
    farm.held[B] = "b"
    assert relay.needs("old"), "it is still posted under"
    farm.sid = "new"
    del farm.held[A]
    assert relay.needs("old"), "B was there before the new name was"
    farm.held = {AttemptId("later"): "c"}
    assert not relay.needs("old")
    assert not relay.needs("old"), "and stays so"
    for number in range(100):
        relay.needs(f"name {number}")
    assert len(relay._under) <= 16
