from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Message

from gateway.domain.errors import WorkerRefused, WorkerSilent
from gateway.domain.ports.relay import Answer, Headers
from gateway.edge.carry import Incoming, carry, target_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


def scope(*headers: tuple[bytes, bytes], raw_path: bytes | None = b"/a%2Fb", query: bytes = b"") -> dict[str, Any]:
    raw = {} if raw_path is None else {"raw_path": raw_path}
    return {"type": "http", "method": "GET", "path": "/a/b", "query_string": query, "headers": list(headers), **raw}


def test_the_target_is_what_the_client_sent() -> None:
    assert target_of(scope()) == b"/a%2Fb"
    assert target_of(scope(query=b"x=%2F&&")) == b"/a%2Fb?x=%2F&&"
    assert target_of(scope(raw_path=None)) == b"/a/b"


class Scripted:
    """A worker's answer, piece by piece; an exception in it is raised there, an event waited for."""

    def __init__(self, *pieces: bytes | Exception | asyncio.Event, length: int | None = None) -> None:
        self._pieces = pieces
        self._length = length
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.got = b""

    @asynccontextmanager
    async def open(
        self, url: str, method: str, target: bytes, headers: Headers, body: AsyncIterator[bytes] | None
    ) -> AsyncIterator[Answer]:
        self.asked.set()
        try:
            if body is not None:
                self.got = b"".join([chunk async for chunk in body])
            if self._pieces and isinstance(self._pieces[0], Exception):
                raise self._pieces[0]
            yield Answer(200, [], self._length, self._chunks())
        finally:
            self.left.set()

    async def _chunks(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece


class Client:
    """Sends the messages, then stays until `go` is set."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages) or [{"type": "http.request", "body": b""}]
        self.go = asyncio.Event()
        self.watched = asyncio.Event()
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        self.watched.set()
        await self.go.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def finished(self) -> bool:
        last = self.sent[-1] if self.sent else {"type": ""}
        return last["type"] == "http.response.body" and not last.get("more_body", False)


async def ended(task: asyncio.Task[None]) -> bool:
    """By itself: `wait_for` would cancel it, which may look the same."""
    done, _ = await asyncio.wait({task}, timeout=5)
    if not done:
        task.cancel()
    return bool(done) and task.exception() is None


def carrying(wire: Scripted, client: Client, *headers: tuple[bytes, bytes]) -> asyncio.Task[None]:
    request = scope(*headers)
    incoming = Incoming(request, client.receive)
    return asyncio.create_task(carry(wire, "http://w", b"/", request, incoming, client.send))


@pytest.mark.parametrize("length", [None, 4, 0])
async def test_an_answer_has_one_end(length: int | None) -> None:
    client = Client()
    await carrying(Scripted(*([b"ab", b"cd"] if length != 0 else []), length=length), client)
    assert client.body == (b"" if length == 0 else b"abcd")
    assert [message.get("more_body", False) for message in client.sent[1:]].count(False) == 1
    assert client.finished


async def test_an_answer_that_breaks_off_has_none() -> None:
    client = Client()
    await carrying(Scripted(b"ab", WorkerSilent("gone"), length=4), client)
    assert client.body == b"ab"
    assert not client.finished


@pytest.mark.parametrize("failure", [WorkerRefused("no"), WorkerSilent("no")])
async def test_a_failure_before_the_answer_comes_out(failure: Exception) -> None:
    client = Client()
    with pytest.raises(type(failure)):
        await carrying(Scripted(failure), client)
    assert client.sent == []


@pytest.mark.parametrize("pieces", [[], [b"first"]])
async def test_a_client_that_leaves_ends_it_quietly(pieces: list[bytes]) -> None:
    wire, client = Scripted(*pieces, asyncio.Event()), Client()
    task = carrying(wire, client)
    await wire.asked.wait()
    client.go.set()
    assert await ended(task)
    assert wire.left.is_set()
    assert not client.finished


async def test_a_server_that_stops_is_not_a_client_that_left() -> None:
    wire = Scripted(asyncio.Event())
    task = carrying(wire, Client())
    await wire.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.left.is_set()


async def test_a_client_that_leaves_as_its_answer_ends_harms_nothing_after() -> None:
    last = asyncio.Event()
    client, request = Client(), scope()

    async def then_more() -> None:
        await carry(Scripted(last), "http://w", b"/", request, Incoming(request, client.receive), client.send)
        await asyncio.sleep(0.01)

    task = asyncio.create_task(then_more())
    await client.watched.wait()
    client.go.set()  # the watch ends first, and in the same turn of the loop the answer does
    last.set()
    assert await ended(task)
    assert client.finished


async def test_a_body_is_taken_once_and_then_the_client_is_watched() -> None:
    wire = Scripted(asyncio.Event())
    client = Client(
        {"type": "http.request", "body": b"one ", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.request", "body": b"two"},
    )
    task = carrying(wire, client, (b"content-length", b"7"))
    await wire.asked.wait()
    client.go.set()
    assert await ended(task)
    assert wire.got == b"one two"
    assert wire.left.is_set()


async def test_a_client_that_leaves_within_its_body_is_not_answered() -> None:
    client = Client({"type": "http.request", "body": b"one ", "more_body": True}, {"type": "http.disconnect"})
    await carrying(Scripted(b"never"), client, (b"transfer-encoding", b"chunked"))
    assert client.sent == []


async def test_whether_a_body_was_touched_is_known() -> None:
    request = scope((b"content-length", b"3"))
    incoming = Incoming(request, Client({"type": "http.request", "body": b"abc"}).receive)
    assert incoming.body is not None
    assert not incoming.touched
    assert await anext(incoming.body) == b"abc"
    assert incoming.touched
