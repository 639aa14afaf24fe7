from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.relay import new_session
from gateway.domain.errors import WorkerError, WorkerRefused, WorkerRejected, WorkerSilent
from gateway.domain.ids import AttemptId, PromptId
from gateway.domain.posting import OURS, body_for_worker, kept_body
from gateway.domain.submission import parse
from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.conformance.client import failing, picture, sleeping
from tests.servers import until
from tests.wire import Head, answering, nobody, read_body, read_head
from tests.wire import worker as wired

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

FIRST, SECOND = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


@pytest.fixture
async def session(anyio_backend: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session(connect_timeout=2) as session:
        yield session


@pytest.fixture
def api(session: aiohttp.ClientSession) -> ComfyApi:
    return ComfyApi(session, connect_timeout=2)


@pytest.fixture(params=["0.3.64", "0.38.1"])
async def worker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(EmulatorSettings(comfyui=request.param, directory=tmp_path)) as started:
        yield started


def body(graph: dict[str, Any], attempt: str = FIRST) -> bytes:
    kept = kept_body(parse({"prompt": graph}, PromptId("minted")), {"extra_pnginfo": {"workflow": {"id": "w"}}})
    return body_for_worker(kept, {}, sid="sid", prompt_id=PromptId("p"), attempt=AttemptId(attempt), number=1)


async def over(api: ComfyApi, worker: Running, id: str = FIRST) -> dict[str, Any]:
    record: dict[str, Any] = await until(lambda: api.history(worker.url, id), f"{id} is over")
    return record


async def test_a_prompt_is_posted_and_read_back(api: ComfyApi, worker: Running) -> None:
    answer = await api.post_prompt(worker.url, body(picture()), 5.0)
    assert (answer.status, answer.content_type) == (200, "application/json; charset=utf-8")
    assert json.loads(answer.body) == {"prompt_id": FIRST, "number": 0, "node_errors": {}}
    record = await over(api, worker)
    assert record["status"]["status_str"] == "success"
    extra_data = record["prompt"][3]
    assert extra_data[OURS] == {"prompt_id": "p", "attempt": 1, "attempt_id": FIRST}
    assert (extra_data["client_id"], extra_data["extra_pnginfo"]) == ("sid", {"workflow": {"id": "w"}})
    assert await api.history(worker.url, SECOND) is None


async def test_a_refusal_is_an_answer_like_any_other(api: ComfyApi, worker: Running) -> None:
    answer = await api.post_prompt(worker.url, body({"1": {"class_type": "Nothing", "inputs": {}}}), 5.0)
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["type"]


async def test_what_runs_and_what_waits(api: ComfyApi, worker: Running) -> None:
    assert await api.remaining(worker.url, 5.0) == 0
    assert not (await api.queue(worker.url)).running
    await api.post_prompt(worker.url, body(sleeping(20.0)), 5.0)
    await api.post_prompt(worker.url, body(picture(), SECOND), 5.0)
    await until(lambda: is_running(api, worker, FIRST), "the first runs")
    queue = await api.queue(worker.url)
    assert [*queue.running] == [FIRST]
    assert [*queue.pending] == [SECOND]
    assert FIRST in queue
    assert SECOND in queue
    assert "other" not in queue
    assert queue.pending[SECOND].outputs == ["3"]
    assert queue.pending[SECOND].extra_data[OURS]["attempt_id"] == SECOND
    assert set(queue.running[FIRST].graph) == {"1", "2", "3"}
    assert await api.remaining(worker.url, 5.0) == 2
    await api.dequeue(worker.url, SECOND)
    await api.dequeue(worker.url, FIRST)
    queue = await api.queue(worker.url)
    assert SECOND not in queue
    assert FIRST in queue.running, "to take out of the queue hits nothing that runs"
    await api.interrupt(worker.url, FIRST)
    record = await over(api, worker)
    assert record["status"]["messages"][-1][0] == "execution_interrupted"


async def test_an_interruption_hits_the_prompt_that_is_named_and_no_other(api: ComfyApi, worker: Running) -> None:
    await api.post_prompt(worker.url, body(sleeping(0.3)), 5.0)
    await until(lambda: is_running(api, worker, FIRST), "it runs")
    await api.interrupt(worker.url, SECOND)
    assert (await over(api, worker))["status"]["status_str"] == "success"
    await api.interrupt(worker.url, FIRST)


async def is_running(api: ComfyApi, worker: Running, id: str) -> bool:
    return id in (await api.queue(worker.url)).running


async def test_what_a_worker_is_and_has(api: ComfyApi, worker: Running) -> None:
    stats = await api.stats(worker.url, 5.0)
    assert stats["devices"][0]["vram_total"] > 0
    assert "KSampler" in json.loads(await api.object_info(worker.url))
    assert json.loads(await api.get(worker.url, "/embeddings") or b"null") == []
    assert await api.get(worker.url, "/no/such/route") is None
    await api.free(worker.url, b'{"unload_models": true}')


async def test_an_error_of_a_node_is_no_error_of_the_worker(api: ComfyApi, worker: Running) -> None:
    await api.post_prompt(worker.url, body(failing("oom")), 5.0)
    messages = dict((await over(api, worker))["status"]["messages"])
    assert "OutOfMemory" in messages["execution_error"]["exception_type"]


async def test_a_worker_that_dies_over_a_prompt(api: ComfyApi, worker: Running) -> None:
    await api.post_prompt(worker.url, body(failing("exit")), 5.0)
    await worker.died()
    with pytest.raises(WorkerRefused):
        await api.queue(worker.url)


Call = Callable[[ComfyApi, str], Awaitable[object]]
READS: dict[str, Call] = {
    "remaining": lambda api, url: api.remaining(url, 2.0),
    "queue": lambda api, url: api.queue(url),
    "history": lambda api, url: api.history(url, FIRST),
    "stats": lambda api, url: api.stats(url, 2.0),
    "object_info": lambda api, url: api.object_info(url),
    "get": lambda api, url: api.get(url, "/x"),
}
WRITES: dict[str, Call] = {
    "post_prompt": lambda api, url: api.post_prompt(url, b"{}", 2.0),
    "interrupt": lambda api, url: api.interrupt(url, FIRST),
    "dequeue": lambda api, url: api.dequeue(url, FIRST),
    "free": lambda api, url: api.free(url, b"{}"),
}
ALL = READS | WRITES


@pytest.mark.parametrize("call", ALL.values(), ids=ALL)
async def test_where_nobody_listens_nothing_was_sent(api: ComfyApi, call: Call) -> None:
    with pytest.raises(WorkerRefused):
        await call(api, nobody())


class Breaking:
    """Takes a request and hangs up without an answer, the first `times` times; then answers."""

    def __init__(self, times: int, answer: bytes) -> None:
        self.seen: list[Head] = []
        self._times = times
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        await read_body(reader, head)
        self.seen.append(head)
        if len(self.seen) > self._times:
            size = str(len(self._answer)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + size + b"\r\n\r\n" + self._answer
            )
            await writer.drain()


@pytest.mark.parametrize("call", ALL.values(), ids=ALL)
async def test_who_hangs_up_may_have_heard(api: ComfyApi, call: Call) -> None:
    breaking = Breaking(99, b"")
    async with wired(breaking) as url:
        with pytest.raises(WorkerSilent):
            await call(api, url)
    assert breaking.seen


@pytest.mark.parametrize("name", ["queue", "history", "object_info", "get"])
async def test_a_read_is_tried_once_more(api: ComfyApi, name: str) -> None:
    breaking = Breaking(2, b"{}")
    async with wired(breaking) as url:
        await READS[name](api, url)
    assert len(breaking.seen) == 3


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_is_tried_once(api: ComfyApi, name: str) -> None:
    """Nobody knows whether it was heard."""
    breaking = Breaking(1, b"{}")
    async with wired(breaking) as url:
        with pytest.raises(WorkerSilent):
            await WRITES[name](api, url)
    assert len(breaking.seen) == 1


@pytest.mark.parametrize("name", ["remaining", "stats"])
async def test_a_probe_is_to_tell_how_the_worker_is(api: ComfyApi, name: str) -> None:
    """So it is not tried again, but for once by the pool, whose connection may have been an old one."""
    breaking = Breaking(99, b"{}")
    async with wired(breaking) as url:
        with pytest.raises(WorkerSilent):
            await READS[name](api, url)
    assert len(breaking.seen) <= 2


async def test_who_does_not_answer_is_not_waited_for(api: ComfyApi) -> None:
    async with wired(lambda reader, writer: asyncio.sleep(60)) as url, asyncio.timeout(10):
        for call in (api.post_prompt(url, b"{}", 0.1), api.remaining(url, 0.1), api.stats(url, 0.1)):
            with pytest.raises(WorkerSilent):
                await call


async def test_who_cannot_be_connected_to_in_time_was_sent_nothing(session: aiohttp.ClientSession) -> None:
    """A worker whose one connection is taken: the next call waits for it in vain."""
    async with new_session(per_worker=1, connect_timeout=0.1) as narrow, wired(silent) as url, asyncio.timeout(10):
        api = ComfyApi(narrow, connect_timeout=0.1)
        first = asyncio.create_task(api.stats(url, 5.0))
        await until(lambda: narrow.connector and narrow.connector._acquired, "the first has the connection")
        for call in (api.post_prompt(url, b"{}", 5.0), api.remaining(url, 0.1)):
            with pytest.raises(WorkerRefused):
                await call
        first.cancel()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"null", b"\xff", b'{"exec_info": null}', b'{"exec_info": 5}'])
async def test_what_is_not_comfyui_is_no_answer(api: ComfyApi, said: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\n\r\n".encode()
    async with wired(answering(head + said)) as url:
        with pytest.raises(WorkerSilent):
            await api.remaining(url, 2.0)


@pytest.mark.parametrize("call", READS.values(), ids=READS)
async def test_an_error_status_is_told(api: ComfyApi, call: Call) -> None:
    reply = b"HTTP/1.1 503 No\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbusy"
    async with wired(answering(reply)) as url:
        with pytest.raises(WorkerRejected) as rejected:
            await call(api, url)
    assert (rejected.value.status, rejected.value.body, rejected.value.content_type) == (503, b"busy", "text/plain")


async def test_the_status_of_a_post_is_the_callers_to_judge(api: ComfyApi) -> None:
    reply = b"HTTP/1.1 500 No\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\noops"
    async with wired(answering(reply)) as url:
        answer = await api.post_prompt(url, b"{}", 2.0)
    assert (answer.status, answer.body, answer.content_type) == (500, b"oops", "text/plain")


@pytest.mark.parametrize(
    ("queue", "ids"),
    [
        ({}, []),
        ({"queue_running": None, "queue_pending": []}, []),
        ({"queue_pending": [[0, "a", {}, {}, []]], "queue_running": [[1, "b", {}, None, [], {"six": 1}]]}, ["b", "a"]),
        ({"queue_pending": [[0, "short", {}, {}], "text", None, [0, 5, {}, {}, []]]}, ["5"]),
    ],
)
async def test_queues_of_all_ages_are_read(api: ComfyApi, queue: dict[str, Any], ids: list[str]) -> None:
    said = json.dumps(queue).encode()
    async with wired(answering(f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said)) as url:
        found = await api.queue(url)
    assert [*found.running, *found.pending] == ids


def test_all_that_can_go_wrong_has_one_root() -> None:
    assert all(issubclass(kind, WorkerError) for kind in (WorkerRefused, WorkerSilent, WorkerRejected))


async def test_credentials_in_a_workers_url_are_sent_and_shown_to_nobody(api: ComfyApi) -> None:
    seen: list[Head] = []
    said = b'{"exec_info": {"queue_remaining": 3}}'
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(said) + said
    async with wired(answering(reply, seen=seen)) as url:
        guarded = url.replace("://", "://me:secret@")
        assert await api.remaining(guarded, 5.0) == 3
        await api.post_prompt(guarded, body(picture()), 5.0)
    assert [head.get("authorization") for head in seen] == ["Basic bWU6c2VjcmV0"] * 2
    with pytest.raises(WorkerRefused) as error:
        await api.remaining(nobody().replace("://", "://me:secret@"), 5.0)
    assert "secret" not in str(error.value)
