from __future__ import annotations

import asyncio
import gc
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.domain.frames import Kind, parse
from gateway.flows.clients import Clients
from gateway.flows.relay import Relay
from tests.conformance.transcripts import Ear, listening
from tests.farm import Client, Farm, farm, picture
from tests.flows import saying
from tests.scripted import Scripted, begins_before_it_answers, refuses
from tests.servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
async def whole(state: str, scripted_worker: Scripted, second_worker: Scripted) -> AsyncIterator[Farm]:
    async with farm(state, scripted_worker, second_worker) as gateway:
        yield gateway


def follow(whole: Farm, client: Client, *, flags: bool = False) -> Any:
    return listening(whole.http, whole.urls[0], client.client_id, flags=flags)


async def started(whole: Farm, client: Client, worker: Scripted, ear: Ear | None = None) -> tuple[str, str]:
    """A prompt of this client that runs there, the only one in the farm: its public id, and its attempt."""
    other = [name for name in ("w0", "w1") if name != worker.name]
    await client.send(f"/gateway/workers/{other[0]}/drain")
    count = len(worker.started)
    id = await client.submit(picture())
    attempt = await worker.runs(count + 1)
    await client.send(f"/gateway/workers/{other[0]}/resume")
    if ear is not None:
        await ear.heard(lambda ear: ear.of("execution_start", prompt_id=id), "its start")
    return id, attempt


def counts(ear: Ear) -> list[int]:
    return [told["status"]["exec_info"]["queue_remaining"] for told in ear.of("status")]


async def test_a_socket_that_comes_in_the_middle_is_shown_where_its_prompt_is(
    whole: Farm, scripted_worker: Scripted
) -> None:
    client = whole.client()
    async with follow(whole, client, flags=True) as first:
        id, attempt = await started(whole, client, scripted_worker, first)
        told = saying.progress_state(attempt, 1), saying.executing(attempt), saying.preview(attempt)
        await scripted_worker.tell(*told)
        await first.heard(lambda ear: 4 in ear.types, "the preview")
        async with follow(whole, client, flags=True) as second:
            assert second.types[:3] == ["status", "executing", "progress_state"]
            assert second.of("executing")[0] == {"node": "2", "display_node": "2", "prompt_id": id}
            scripted_worker.finish()
            await asyncio.gather(first.ended(id), second.ended(id))
    assert first.of("execution_success") == second.of("execution_success")


async def test_nothing_is_shown_of_a_prompt_that_has_ended(whole: Farm, scripted_worker: Scripted) -> None:
    client = whole.client()
    async with follow(whole, client) as first:
        id, attempt = await started(whole, client, scripted_worker, first)
        await scripted_worker.tell(saying.executing(attempt), saying.progress_state(attempt, 1))
        scripted_worker.finish()
        await first.ended(id)
    async with follow(whole, client) as second:
        id, _ = await started(whole, client, scripted_worker, second)
        scripted_worker.finish()
        await second.ended(id)
        assert second.types[:3] == ["status", "status", "status"]
        assert len(second.of("execution_start")) == 1


async def test_an_event_outside_of_prompts_reaches_all_and_one_inside_only_its_owner(
    whole: Farm, scripted_worker: Scripted
) -> None:
    one, two = whole.client(), whole.client()
    async with follow(whole, one) as first, follow(whole, two) as second:
        await scripted_worker.tell(saying.event("monitor", n=1))
        for ear in (first, second):
            await ear.heard(lambda ear: ear.of("monitor", n=1), "what is for all")
        id, _ = await started(whole, one, scripted_worker, first)
        await scripted_worker.tell(saying.event("monitor", n=2), saying.text("hello"))
        await first.heard(lambda ear: 3 in ear.types, "what is for the owner")
        scripted_worker.finish()
        await first.ended(id)
        await scripted_worker.tell(saying.event("monitor", n=3))
        for ear in (first, second):
            await ear.heard(lambda ear: ear.of("monitor", n=3), "what is for all again")
        assert [told["n"] for told in first.of("monitor")] == [1, 2, 3]
        assert [told["n"] for told in second.of("monitor")] == [1, 3]
        assert 3 not in second.types


async def test_what_a_prompt_of_nobody_says_is_told_to_nobody(whole: Farm, scripted_worker: Scripted) -> None:
    somebody = whole.client()
    async with follow(whole, somebody) as ear:
        _, attempt = await started(whole, whole.client(None), scripted_worker)
        await scripted_worker.tell(
            saying.executing(attempt), saying.event("monitor", n=1), saying.text("secret"), saying.result(attempt, "x")
        )
        scripted_worker.finish()
        await until(lambda: not scripted_worker.running, "it is over")
        await scripted_worker.tell(saying.event("monitor", n=2))
        await ear.heard(lambda ear: ear.of("monitor"), "what is for all")
        assert set(ear.types) == {"status", "monitor"}
        assert ear.of("monitor") == [{"n": 2}]


async def test_the_count_falls_when_a_prompt_that_waits_is_taken_away(
    whole: Farm, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    client = whole.client()
    async with follow(whole, client) as ear:
        ids = [await client.submit(picture()) for _ in range(4)]
        await asyncio.gather(scripted_worker.runs(), second_worker.runs())
        await ear.heard(lambda ear: max(counts(ear)) == 4, "four are counted")
        await client.send("/queue", {"delete": [ids[3]]})
        await ear.heard(lambda ear: counts(ear)[-1] == 3, "three are left")
        await client.send("/queue", {"clear": True})
        await ear.heard(lambda ear: counts(ear)[-1] == 2, "two are left")
        assert not ear.of("execution_interrupted"), "one that never ran has no end, as in ComfyUI"
        scripted_worker.finish()
        second_worker.finish()
        await ear.heard(lambda ear: counts(ear)[-1] == 0, "none is left")


async def test_a_prompt_that_is_refused_is_not_counted(
    whole: Farm, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    client = whole.client()
    for worker in (scripted_worker, second_worker):
        worker.manners.append(refuses())
    async with follow(whole, client) as ear:
        answer = await client.post(picture())
        assert answer.status == 400
        scripted_worker.manners.clear()
        second_worker.manners.clear()
        id = await client.submit(picture())
        await ear.heard(lambda ear: ear.of("execution_start", prompt_id=id), "the other one starts")
        assert max(counts(ear)) == 1


async def test_the_farms_count_is_told_to_one_who_never_posted(whole: Farm, scripted_worker: Scripted) -> None:
    async with follow(whole, whole.client()) as ear:
        await started(whole, whole.client(), scripted_worker)
        await ear.heard(lambda ear: counts(ear)[-1] == 1, "somebody's prompt")
        scripted_worker.finish()
        await ear.heard(lambda ear: counts(ear)[-1] == 0, "its end")
        assert set(ear.types) == {"status"}


async def test_the_farms_count_is_told_at_most_once_a_second(whole: Farm, scripted_worker: Scripted) -> None:
    """Every `status` makes each browser tab fetch its lists again."""
    busy = whole.client()
    async with follow(whole, whole.client()) as watcher:
        await started(whole, whole.client(), scripted_worker)
        began = asyncio.get_running_loop().time()
        for _ in range(15):
            id = await busy.submit(picture(), front=True)
            await busy.send("/queue", {"delete": [id]})
        for _ in range(30):
            await busy.submit(picture())
        await watcher.heard(lambda ear: counts(ear)[-1] >= 30, "the last count")
        seconds = asyncio.get_running_loop().time() - began
        assert len(counts(watcher)) <= 3 + seconds  # the greeting, that of the first prompt, and one each second


async def test_what_needs_no_metadata_is_told_without(whole: Farm, scripted_worker: Scripted) -> None:
    client = whole.client()
    async with follow(whole, client) as plain, follow(whole, client, flags=True) as rich:
        id, attempt = await started(whole, client, scripted_worker, plain)
        await scripted_worker.tell(
            saying.executing(attempt), saying.preview(attempt, b"1"), saying.progress(attempt, 1), saying.picture(b"2")
        )
        scripted_worker.finish()
        await asyncio.gather(plain.ended(id), rich.ended(id))
        wanted = [saying.picture(b"2")]
        assert [frame for frame in plain.frames if frame in wanted] == wanted
        assert [kind for kind in plain.types if kind in (1, 4, "progress")] == ["progress", 1, 1]
        assert [kind for kind in rich.types if kind in (1, 4, "progress")] == [4, "progress", 1]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_nobody_hears_of_another(
    whole: Farm, scripted_worker: Scripted, second_worker: Scripted, seed: int
) -> None:
    """Random prompts, words, ends and sockets; each word names whose it is, and results come all and in order."""
    rng = random.Random(seed)
    workers = (scripted_worker, second_worker)
    clients = [whole.client(f"owner-{number}") for number in range(3)] + [whole.client(None)]
    said: dict[str, list[str]] = {f"owner-{number}": [] for number in range(3)}
    async with AsyncExitStack() as stack:
        ears = {c.client_id: await stack.enter_async_context(follow(whole, c)) for c in clients if c.client_id}
        owners: dict[str, str] = {}
        for number in range(120):
            worker = rng.choice(workers)
            kind = rng.choice(("post", "say", "say", "say", "custom", "end"))
            if kind == "post" and sum(len(w.running) + len(w.pending) for w in workers) < 6:
                client = rng.choice(clients)
                owners[await client.submit(picture())] = client.client_id or "nobody"
            elif worker.running:
                attempt = next(iter(worker.running))
                given = worker.running[attempt][3]["comfy_gateway"]["prompt_id"]
                owner = await until(lambda given=given: owners.get(given), "its post is answered")  # type: ignore[misc]
                if kind == "end":
                    worker.finish(event=rng.choice(("execution_success", "execution_error")))
                elif kind == "custom":
                    await worker.tell(saying.event("custom", whose=owner), saying.text(f"text {owner}"))
                else:
                    await worker.tell(saying.executing(attempt), saying.result(attempt, f"{owner} {number}"))
                    said.get(owner, []).append(f"{owner} {number}")

        def all_over() -> bool:
            for worker in workers:
                if worker.running:
                    worker.finish()
            mine = [(ears[owner], id) for id, owner in owners.items() if owner != "nobody"]
            return all(ear.of("executing", node=None, prompt_id=id) for ear, id in mine)

        await until(all_over, "all end", timeout=30)
        for name, ear in ears.items():
            mine = [id for id, owner in owners.items() if owner == name]
            heard = b"".join(frame.encode() if isinstance(frame, str) else frame for frame in ear.frames)
            assert all(other == name or other.encode() not in heard for other in (*said, "nobody"))
            assert sorted(told["output"]["text"][0] for told in ear.of("executed")) == sorted(said[name])
            assert sorted(told["prompt_id"] for told in ear.of("executing", node=None)) == sorted(mine)
            assert sorted(told["prompt_id"] for told in ear.of("execution_start")) == sorted(mine)


async def test_nothing_is_left_when_all_have_gone(whole: Farm, scripted_worker: Scripted) -> None:
    client, nobody = whole.client(), whole.client(None)
    async with follow(whole, client) as one, follow(whole, client) as two, follow(whole, nobody):
        for who in (client, nobody):
            _, attempt = await started(whole, who, scripted_worker)
            await scripted_worker.tell(saying.executing(attempt), saying.progress_state(attempt, 1))
            id = scripted_worker.finish()
        last, _ = await started(whole, client, scripted_worker)
        scripted_worker.finish()
        await asyncio.gather(one.ended(last), two.ended(last))
    assert id
    (clients,) = [
        found
        for found in gc.get_objects()
        if isinstance(found, Clients) and any(w.url == scripted_worker.url for w in found._mirror.workers.values())
    ]
    await until(lambda: len(clients) == 0, "the sockets are closed")
    kept = {name: value for name, value in vars(clients).items() if isinstance(value, dict | set | list) and value}
    assert kept == {}
    assert not clients._ends._jobs
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not names & {"read client", "write client"}
    for relay in [found for found in gc.get_objects() if isinstance(found, Relay) and found._mirror is clients._mirror]:
        assert not relay._frames
        assert relay._running is None


def test_the_words_of_these_tests_are_understood() -> None:
    id = "00000000-0000-4000-8000-000000000000"
    for frame, kind in (
        (saying.executing(id), Kind.EXECUTING),
        (saying.progress(id, 1), Kind.PROGRESS),
        (saying.progress_state(id, 1), Kind.PROGRESS_STATE),
        (saying.result(id, ""), Kind.EXECUTED),
        (saying.preview(id), Kind.PREVIEW),
    ):
        assert (parse(frame).kind, parse(frame).attempt) == (kind, id)
    assert parse(saying.picture()).png
    assert parse(saying.text("x")).kind is Kind.TEXT
    assert json.loads(saying.event("x", y=1))["data"] == {"y": 1}


async def logged(whole: Farm, id: str, event: str) -> None:
    """Returns when this has been heard of the prompt."""
    async with whole.http.get(f"{whole.urls[0]}/gateway/jobs/{id}/events") as stream:
        async for line in stream.content:
            if line == f"event: {event}\n".encode():
                return


@pytest.mark.parametrize("comes_late", [False, True])
async def test_a_client_has_its_200_before_it_is_told_of_its_prompt(
    whole: Farm, scripted_worker: Scripted, comes_late: bool
) -> None:
    client, answered = whole.client(), asyncio.Event()
    await client.send("/gateway/workers/w1/drain")
    scripted_worker.manners.append(begins_before_it_answers(answered))
    async with AsyncExitStack() as stack:
        ear = await stack.enter_async_context(follow(whole, client, flags=True))
        post = asyncio.create_task(client.submit(picture(), prompt_id="early"))
        attempt = await scripted_worker.runs()
        await scripted_worker.tell(saying.executing(attempt), saying.preview(attempt), saying.result(attempt, "x"))
        await logged(whole, "early", "executed")
        if comes_late:
            ear = await stack.enter_async_context(follow(whole, client, flags=True))
        assert set(ear.types) <= {"status", "feature_flags"}
        assert not post.done()
        answered.set()
        await post
        await ear.heard(lambda ear: ear.of("executed"), "its result")
        scripted_worker.finish()
        await ear.ended("early")
        told = [type for type in ear.types if type not in ("status", "feature_flags")]
        assert told == ["execution_start", "executing", 4, "executed", "execution_success", "executing"]


async def test_a_post_that_fails_keeps_nothing_back(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker, replicas=2) as gateways:
        here = gateways.client()
        there = gateways.client(here.client_id, at=1)
        async with follow(gateways, here) as ear:
            refused = await here.post({**picture(), "9": {"class_type": "EmptyImage"}}, prompt_id="again")
            assert refused.status == 400
            await there.submit(picture(), prompt_id="again")
            await ear.heard(lambda ear: ear.of("execution_start", prompt_id="again"), "its start")


RESULTS: dict[str, Any] = {
    "outputs": {"3": {"text": ["x"]}, "4": {"text": ["y"]}},
    "status": {"status_str": "success", "completed": True, "messages": [["execution_start", {"timestamp": 1}]]},
}


@pytest.mark.parametrize("cut", [False, True])
async def test_results_that_nobody_heard_are_told_before_the_end(
    whole: Farm, scripted_worker: Scripted, cut: bool
) -> None:
    client = whole.client()
    async with follow(whole, client) as ear:
        id, attempt = await started(whole, client, scripted_worker, ear)
        await scripted_worker.tell(saying.executing(attempt), saying.result(attempt, "x"))
        await ear.heard(lambda ear: ear.of("executed"), "the first result")
        if cut:
            connections = scripted_worker.requests["GET /ws"]
            scripted_worker.cut()
            await until(lambda: scripted_worker.requests["GET /ws"] > connections, "it is heard again")
        scripted_worker.more = RESULTS
        scripted_worker.finish()
        await ear.ended(id)
    told = [(told["type"], told["data"].get("output")) for told in ear.events if told["type"] != "status"]
    second = [("executed", {"text": ["y"]})] if cut else []  # what a worker that was heard did not say, it did not say
    assert told[2:] == [("executed", {"text": ["x"]}), *second, ("execution_success", None), ("executing", None)]
