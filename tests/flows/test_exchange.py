from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis.asyncio as redis_client

from gateway.adapters.redis_events import RedisEvents
from gateway.domain.errors import StoreUnavailable
from gateway.domain.frames import parse
from gateway.domain.ids import ClientId, PromptId, ReplicaId, WorkerName
from gateway.domain.jobs import Job, attempt_of
from gateway.domain.ports import Carried, Ending, Won, WorkerEntry
from gateway.emulator.settings import EmulatorSettings
from gateway.flows.clients import Clients
from gateway.flows.connection import Connection, Room
from gateway.flows.exchange import Exchange
from gateway.flows.query import RecordCache
from gateway.flows.sharing import beside
from tests.adapters.stores import DONE, KEYS, ROOM, attempt, new
from tests.conformance.transcripts import Ear, Plain, listening
from tests.farm import Farm, emulated, farm, picture, sleeping
from tests.flows.replica import Replica, replica
from tests.flows.saying import event, executing, preview, progress, result
from tests.servers import until

pytestmark = pytest.mark.anyio

ME, SOMEBODY = ClientId("me"), ClientId("somebody")
STATE = ("execution_start", "execution_cached", "executing", "executed")
LOGGED = Ending(DONE.outcome, DONE.record, DONE.summary, event("execution_success", prompt_id="p"))


# two replicas without loops, of which a test says what is heard where


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Side:
    """One replica: its clients, and its part of the exchange."""

    core: Replica
    clients: Clients
    exchange: Exchange
    bus: RedisEvents

    async def job(self, id: str = "p") -> Job:
        await self.core.mirror.fresh()
        return self.core.mirror.jobs[PromptId(id)]

    def has_untold(self) -> bool:
        return ME in self.clients.untold

    async def hears(self, *frames: str | bytes, id: str = "p") -> None:
        """From the worker; they are on their way when this returns."""
        job = await self.job(id)
        for frame in frames:
            self.clients.frame(job, parse(frame))
        await self.exchange.flush()

    async def knows(self, *clients: ClientId) -> None:
        """That another replica has these and no others of our two."""

        def told() -> bool:
            return all(bool(self.exchange._elsewhere(one)) == (one in clients) for one in (ME, SOMEBODY))

        await until(told, f"{clients} are known to be elsewhere")


@asynccontextmanager
async def side(url: str, name: str, clock: Clock) -> AsyncIterator[Side]:
    async with replica(url, name) as core:
        clients = Clients(core.mirror, RecordCache(core.store.jobs, 10**6), Room())
        core.mirror.listen(clients.changed)
        bus = RedisEvents(core.store.redis, core.store.run, KEYS, replica=ReplicaId(name))
        exchange = Exchange(bus, clients, ReplicaId(name), clock)
        async with beside(clients.run(), "tell"), beside(exchange.run(), "exchange"):

            async def subscribed() -> bool:
                return bool((await core.store.redis.pubsub_numsub(KEYS.channel(name)))[0][1])

            await until(subscribed, f"{name} listens")
            yield Side(core, clients, exchange, bus)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def here(state: str, clock: Clock) -> AsyncIterator[Side]:
    """Has the clients."""
    async with side(state, "a", clock) as one:
        yield one


@pytest.fixture
async def there(state: str, clock: Clock) -> AsyncIterator[Side]:
    """Hears the workers."""
    async with side(state, "b", clock) as one:
        yield one


@asynccontextmanager
async def socket(at: Side, client_id: ClientId = ME) -> AsyncIterator[list[Any]]:
    """All but counts that a socket is told: the JSON of events, and bytes as they are."""
    heard: list[Any] = []

    async def read(connection: Connection) -> None:
        async for message in connection:
            told = json.loads(message) if isinstance(message, str) else message
            if isinstance(told, bytes) or told["type"] != "status":
                heard.append(told)

    async with at.clients.joined(client_id) as connection, beside(read(connection), "socket"):
        yield heard


async def hears(heard: list[Any], *frames: str | bytes) -> None:
    wanted = [json.loads(frame) if isinstance(frame, str) else frame for frame in frames]
    await until(lambda: len(heard) >= len(wanted), f"{wanted} are heard, not {heard}")
    assert heard == wanted


async def posted(at: Side, id: str = "p", client_id: str | None = ME) -> None:
    """A prompt that runs on a worker of its own."""
    worker = f"w-{id}"
    await at.core.store.farm.put(WorkerEntry(WorkerName(worker), f"http://{worker}"))
    await at.core.store.jobs.accept(new(id, client=client_id), ROOM)
    tried = attempt(id, worker)
    assert isinstance(await at.core.store.jobs.claim(tried, "{}"), Won)
    await at.core.store.jobs.posted(tried, tried.id, {})


async def ended(at: Side, id: str = "p") -> None:
    tried = attempt_of(await at.job(id))
    assert tried is not None
    await at.core.store.jobs.finish(PromptId(id), tried, LOGGED)


START = event("execution_start", prompt_id="p", timestamp=1)
END = (event("execution_success", prompt_id="p"), event("executing", node=None, prompt_id="p"))


async def kill_subscriptions(at: Side) -> None:
    await at.core.store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def test_a_client_hears_what_another_replica_hears(here: Side, there: Side) -> None:
    await posted(there)
    async with socket(here) as heard, socket(there, SOMEBODY) as others:
        await there.knows(ME)
        frames = [START, executing("p", "1"), progress("p", 1, "1"), result("p", "é", "1"), executing("p", "2")]
        await there.hears(*frames)
        await hears(heard, *frames)
        await ended(there)
        await here.core.mirror.fresh()
        await hears(heard, *frames, *END)
        assert others == []
        await there.core.mirror.fresh()
        for each in (here, there):
            assert not each.clients._now
            assert not each.clients._announced
            assert not each.exchange._out


async def test_others_know_a_client_before_it_is_told_anything(here: Side, there: Side) -> None:
    """So that what it posts next cannot start unheard."""
    sent: list[str] = []
    announce = here.bus.announce

    async def noted(interest: Any) -> None:
        await announce(interest)
        sent.extend(interest.clients)

    here.bus.announce = noted  # type: ignore[method-assign]
    async with here.clients.joined(ME):
        assert ME in sent


async def test_who_comes_in_the_middle_is_shown_where_it_is_and_nothing_twice(here: Side, there: Side) -> None:
    await posted(there)
    await there.hears(START, executing("p", "1"), executing("p", "2"), preview("p", b"1"))
    job, log, go_on = await there.job(), there.bus.log, asyncio.Event()

    async def late(events: Any) -> list[str]:
        await go_on.wait()
        return await log(events)

    there.bus.log = late  # type: ignore[method-assign]
    for step in range(5):  # heard before the client is known, and sent after that
        there.clients.frame(job, parse(executing("p", f"x{step}")))
    async with socket(here) as heard:
        await there.knows(ME)
        for frame in (result("p", "r", "x4"), executing("p", "3")):
            there.clients.frame(job, parse(frame))
        go_on.set()
        await hears(heard, executing("p", "x4"), result("p", "r", "x4"), executing("p", "3"))


async def test_many_events_of_one_moment_are_all_heard(here: Side, there: Side) -> None:
    """Places of one millisecond are told apart by a number, of which 10 is more than 9."""
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        frames = [START, *(executing("p", str(node)) for node in range(300))]
        await there.hears(*frames)
        await hears(heard, *frames)


async def test_what_got_lost_is_told_before_the_end(here: Side, there: Side) -> None:
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        await there.hears(START)
        await hears(heard, START)
        lost = [executing("p", "1"), result("p", "r"), executing("p", "2")]
        await there.bus.log([(PromptId("p"), frame) for frame in lost])
        await ended(there)
        await here.core.mirror.fresh()
        await hears(heard, START, *lost, *END)
        assert not here.exchange._places.get(ME)


async def test_what_was_sent_while_nobody_listened_is_told_in_its_place(here: Side, there: Side) -> None:
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        await here.job()
        lost = [START, executing("p", "1")]
        await there.bus.log([(PromptId("p"), frame) for frame in lost])
        await kill_subscriptions(here)
        await hears(heard, *lost)
        rest = [result("p", "r", "1"), executing("p", "2")]
        await there.hears(*rest)
        await hears(heard, *lost, *rest)
        await kill_subscriptions(here)
        await ended(there)
        await here.core.mirror.fresh()
        await hears(heard, *lost, *rest, *END)


async def test_a_start_that_got_lost_is_told_before_what_comes_after_it(here: Side, there: Side) -> None:
    async with socket(here) as heard, socket(here, SOMEBODY) as others:
        await there.knows(ME, SOMEBODY)
        await posted(there)
        lost = [START, executing("p", "1")]
        await there.bus.log([(PromptId("p"), frame) for frame in lost])
        rest = [result("p", "r", "1"), executing("p", "2")]
        await there.hears(*rest)
        await hears(heard, *lost, *rest)
        async with socket(here) as late:
            await there.hears(executing("p", "3"))
            await hears(heard, *lost, *rest, executing("p", "3"))
            await hears(late, executing("p", "3"))
        assert others == []


async def test_what_got_lost_from_the_start_on_is_told_before_the_end(here: Side, there: Side) -> None:
    """From the log, which has more of it than the record."""
    async with socket(here) as heard:
        await there.knows(ME)
        await posted(there)
        await here.core.mirror.fresh()
        lost = [START, executing("p", "1"), executing("p", "2")]
        await there.bus.log([(PromptId("p"), frame) for frame in lost])
        await ended(there)
        await here.core.mirror.fresh()
        await hears(heard, *lost, *END)


async def test_results_that_no_replica_heard_are_told_and_logged_once(here: Side, there: Side) -> None:
    """Of an attempt whose start was heard; else the client is told the record's whole story."""
    outputs = {"3": {"text": ["x"]}, "4": {"text": ["y"]}}
    record = {"outputs": outputs, "status": {"messages": [["execution_start", {"timestamp": 1}]]}}
    first, lost = result("p", "x", "3"), result("p", "y", "4")
    await posted(there)
    job = await there.job()
    async with socket(here) as heard:
        await there.knows(ME)
        await there.exchange.unheard(job, record)
        assert await there.bus.since(job.id, "") == []
        await there.hears(START, first, START, first)  # it ran twice
        for _ in range(2):
            await there.exchange.unheard(job, record)
        await ended(there)
        await here.core.mirror.fresh()
        await hears(heard, START, first, START, first, lost, *END)
    assert [json.loads(one.event) for one in await there.bus.since(job.id, "")][4:5] == [json.loads(lost)]


async def test_its_client_knows_of_a_prompt_before_its_start(here: Side, there: Side) -> None:
    """Also where the worker is heard elsewhere, and the 200 is still under way: the count is never 0 while it runs."""
    async with here.clients.joined(ME) as connection:
        assert [json.loads(one)["data"]["status"] async for one in taken(connection, 1)] == [remaining(0)]
        await there.knows(ME)
        await there.core.store.farm.put(WorkerEntry(WorkerName("w-p"), "http://w-p"))
        tried = attempt("p", "w-p")
        await there.core.store.jobs.accept_on(new("p", client=ME), tried, "0")
        await there.hears(START)
        counted, again, start = [json.loads(one) async for one in taken(connection, 3)]
        assert counted == again == {"type": "status", "data": {"status": remaining(1)}}
        assert start["type"] == "execution_start"


async def test_no_smaller_count_is_told_after_an_answer(here: Side, there: Side) -> None:
    async with here.clients.joined(ME) as connection:
        await posted(there)
        await here.clients.counted(ME)
        told = [json.loads(one)["data"]["status"] async for one in taken(connection, 2)]
        assert told == [remaining(0), remaining(1)]
        await here.clients.counted(SOMEBODY)


async def test_the_count_at_an_end_has_what_was_accepted_meanwhile(here: Side, there: Side) -> None:
    async with here.clients.joined(ME) as connection:
        await posted(there)
        await here.core.mirror.fresh()
        get, asked, go_on = here.clients._records.get, asyncio.Event(), asyncio.Event()

        async def slow(ids: Any) -> Any:
            asked.set()
            await go_on.wait()
            return await get(ids)

        here.clients._records.get = slow  # type: ignore[method-assign]
        await ended(there)
        await here.core.mirror.fresh()
        await asked.wait()
        await posted(there, "q")
        go_on.set()
        told = [json.loads(one) async for one in taken(connection, 6)]
        counts = [one["data"]["status"]["exec_info"]["queue_remaining"] for one in told if one["type"] == "status"]
        assert 0 not in counts[1:]


async def taken(connection: Connection, count: int) -> AsyncIterator[str]:
    """So many messages, all of them JSON."""
    async with asyncio.timeout(10):
        async for message in connection:
            assert isinstance(message, str)
            yield message
            count -= 1
            if not count:
                return


def remaining(count: int) -> Any:
    return {"exec_info": {"queue_remaining": count}}


async def test_an_event_that_comes_while_the_log_is_read_is_told_once(here: Side, there: Side) -> None:
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        await there.hears(START)
        await hears(heard, START)
        (lost,) = await there.bus.log([(PromptId("p"), executing("p"))])
        since = here.bus.since

        async def slow(prompt: PromptId, place: str) -> Any:
            found = await since(prompt, place)
            await there.bus.send("a", [Carried(PromptId("p"), ME, lost, executing("p"))])
            await asyncio.sleep(0.05)  # enough for it to come in
            return found

        here.bus.since = slow  # type: ignore[method-assign]
        await ended(there)
        await here.core.mirror.fresh()
        await hears(heard, START, executing("p"), *END)
        await until(lambda: not here.exchange._refilling.locked(), "all is taken")
        await hears(heard, START, executing("p"), *END)


async def test_a_state_that_was_away_when_the_end_was_to_be_told(here: Side, there: Side) -> None:
    """The place is not forgotten by a reading that failed."""
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        await there.hears(START)
        await hears(heard, START)
        await there.bus.log([(PromptId("p"), executing("p"))])
        since, failures = here.bus.since, [StoreUnavailable("gone")]

        async def failing(prompt: PromptId, place: str) -> Any:
            if failures:
                raise failures.pop()
            return await since(prompt, place)

        here.bus.since = failing  # type: ignore[method-assign]
        await ended(there)
        await here.core.mirror.fresh()
        await hears(heard, START, executing("p"), *END)


async def test_events_wait_for_a_state_that_is_away(here: Side, there: Side) -> None:
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        log, failures = there.bus.log, [StoreUnavailable("gone")]

        async def failing(events: Any) -> list[str]:
            if failures:
                raise failures.pop()
            return await log(events)

        there.bus.log = failing  # type: ignore[method-assign]
        job = await there.job()
        for frame in (START, executing("p")):
            there.clients.frame(job, parse(frame))
        await hears(heard, START, executing("p"))
        assert [one.event for one in await here.bus.since(PromptId("p"), "")] == [START, executing("p")]
        assert not there.exchange._out


async def test_only_state_is_logged_also_of_prompts_without_a_client(there: Side) -> None:
    await posted(there, client_id=None)
    blocked = event("execution_error", prompt_id="p", exception_type="ExecutionBlocked")
    frames: list[str | bytes] = [
        START,
        progress("p", 1),
        preview("p"),
        executing("p"),
        event("custom", prompt_id="p"),
        blocked,
    ]
    await there.hears(*frames)
    assert [one.event for one in await there.bus.since(PromptId("p"), "")] == [START, executing("p"), blocked]
    assert there.exchange._places == {}


async def test_a_replica_that_is_silent_is_forgotten(here: Side, there: Side, clock: Clock) -> None:
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        clock.now += 14.9
        await there.hears(START)
        await hears(heard, START)
        clock.now += 0.2
        await there.knows()
        await there.hears(executing("p"))
        async with here.clients.joined(SOMEBODY):
            await there.knows(ME, SOMEBODY)  # it speaks again
            await hears(heard, START, executing("p"))
    await there.knows()


async def test_a_client_that_leaves_is_told_and_leaves_nothing(here: Side, there: Side) -> None:
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        await there.hears(START, executing("p"))
        await hears(heard, START, executing("p"))
        assert here.exchange._places[ME]
    await there.knows()
    await there.hears(executing("p", "3"))
    assert here.exchange._places == there.exchange._places == {}
    assert not here.exchange._out
    assert not there.exchange._out


async def test_an_end_is_told_once_to_whom_was_away_wherever_it_is_back(here: Side, there: Side) -> None:
    await posted(there)
    await ended(there)
    for each in (here, there):
        await each.core.mirror.fresh()
        await until(each.has_untold, "it could not be told")
    async with socket(here) as heard:
        await hears(heard, *END)
        await until(lambda: ME not in there.clients.untold, "the other knows that it is told")
    async with socket(there) as again:
        await posted(there, "q")
        await there.hears(event("execution_start", prompt_id="q"), id="q")
        await until(lambda: again, "what comes next")
        assert [told["data"]["prompt_id"] for told in again] == ["q"]


async def test_an_end_that_was_told_elsewhere_is_not_told_again(here: Side, there: Side) -> None:
    await posted(there)
    async with socket(here) as heard:
        await there.knows(ME)
        await ended(there)
        for each in (here, there):
            await each.core.mirror.fresh()
        await hears(heard, *END)
        async with socket(there) as second:
            await there.clients.tick()
            await posted(there, "q")
            await there.hears(event("execution_start", prompt_id="q"), id="q")
            await until(lambda: second, "what comes next")
            assert [told["data"]["prompt_id"] for told in second] == ["q"]
    await until(lambda: ME not in there.clients.untold, "it is forgotten")


async def test_an_end_that_was_left_to_a_replica_that_died_is_told(there: Side, state: str, clock: Clock) -> None:
    await posted(there)
    async with side(state, "dying", clock) as dying:
        gone = AsyncExitStack()
        await gone.enter_async_context(dying.clients.joined(ME))
        await there.knows(ME)
    await ended(there)
    await there.core.mirror.fresh()
    await until(lambda: ME in there.clients.untold, "it could not be told")
    async with socket(there) as heard:
        await there.clients.tick()
        assert heard == []
        clock.now += 16
        await there.clients.tick()
        await hears(heard, *END)
        await there.clients.tick()
        await hears(heard, *END)
    await gone.aclose()


# whole gateways


@pytest.fixture
async def two(state: str) -> AsyncIterator[Farm]:
    async with emulated(EmulatorSettings()) as workers, farm(state, *workers, replicas=2) as whole:
        yield whole


def plain(ear: Ear, client_id: str) -> list[Any]:
    """What it heard but for counts, in comparable form."""
    known = Plain(client_id, farm=True)
    found = [
        known.text(json.loads(frame))
        if isinstance(frame, str)
        else known.binary(int.from_bytes(frame[:4], "big"), {"image_format": int.from_bytes(frame[4:8], "big")})
        for frame in ear.frames
    ]
    return [(kind, told) for kind, told in found if kind != "status"]


def nodes(frames: list[Any], prompt_id: str) -> list[Any]:
    """The state events of one prompt, but for a node that is shown again when another prompt has ended."""
    told = [json.loads(frame) for frame in frames if isinstance(frame, str)]
    mine = [one for one in told if one["data"].get("prompt_id") == prompt_id]
    found: list[Any] = []
    for told_of in [(one["type"], one["data"].get("node")) for one in mine if one["type"] in STATE]:
        shown = [earlier for earlier in found if earlier[0] == "executing"]
        if told_of not in shown[-1:]:
            found.append(told_of)
    return found


async def test_it_is_all_one_where_a_client_listens_where_it_posts_and_who_has_the_worker(two: Farm) -> None:
    graph = sleeping(0.15)
    graph["2"]["inputs"]["preview"] = True
    runs: list[list[Any]] = []
    for at in (0, 1):
        for to in (0, 1):
            client = two.client(at=to)
            async with listening(two.http, two.urls[at], client.client_id) as ear:
                graph["1"]["inputs"]["color"] = len(runs)
                prompt_id = await client.submit(graph)
                await ear.ended(prompt_id)
                assert len(ear.of("execution_success", prompt_id=prompt_id)) == 1
                assert len(ear.of("executing", prompt_id=prompt_id, node=None)) == 1
                assert ear.of("status")[-1]["status"]["exec_info"]["queue_remaining"] == 0
                runs.append(plain(ear, str(client.client_id)))
    assert len(runs[0]) > 10
    assert all(run == runs[0] for run in runs)


async def test_nothing_but_progress_is_lost_when_subscriptions_break(state: str, two: Farm) -> None:
    client = two.client(at=0)
    async with AsyncExitStack() as stack:
        store: Any = await stack.enter_async_context(redis_client.Redis.from_url(state))
        ears = [await stack.enter_async_context(listening(two.http, url, client.client_id)) for url in (*two.urls,) * 2]
        ids = [await client.submit(picture()) for _ in range(15)]
        for id in ids:
            await store.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            for ear in ears:
                await ear.ended(id)
        whole = [("execution_start", None), ("execution_cached", None)]
        for id in ids:
            told = [nodes(ear.frames, id) for ear in ears]
            assert told[0][:2] == whole
            assert told[0][-1] == ("executing", None)
            assert [kind for kind, _ in told[0]].count("executed") == 1
            assert [one for one in told if one != told[0]] == [], told[0]
            assert all(len(ear.of("execution_success", prompt_id=id)) == 1 for ear in ears)


async def test_the_log_has_all_of_a_prompt_before_its_end(state: str, two: Farm) -> None:
    clients = [two.client(at=number % 2) for number in range(5)]
    ids = [(one, await one.submit(picture())) for one in clients * 10]
    for one, id in ids:
        await one.ended(id)
    async with redis_client.Redis.from_url(state) as opened:
        store: Any = opened
        for _, id in ids:
            (key,) = [key async for key in store.scan_iter(f"*:events:{id}")]
            told = [json.loads(fields[b"e"]) for _, fields in await store.xrange(key)]
            kinds = [one["type"] for one in told]
            assert kinds[0] == "execution_start"
            assert kinds[-1] == "execution_success", kinds
            assert kinds.count("executed") == 1
            assert set(kinds) <= {*STATE, "execution_success"}
            assert 0 < await store.ttl(key) <= 3600


async def test_a_client_that_was_away_is_told_of_its_end_when_it_is_back(two: Farm) -> None:
    for at in (0, 1):
        client = two.client(at=1 - at)
        id = await client.submit(picture())
        await client.ended(id)
        async with listening(two.http, two.urls[at], client.client_id) as ear:
            await ear.ended(id)
            assert len(ear.of("execution_success", prompt_id=id)) == 1
