"""A ComfyUI that does what a test tells it to: it refuses, stalls, resets, forgets, and answers nonsense.

It runs nothing. A prompt that it starts stays running until `finish`, unless `instant` is on.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib import resources
from typing import Any

from aiohttp import WSMsgType, web

from gateway.emulator.serve import deafen
from tests.servers import until

Manner = Callable[["Scripted", web.Request], Awaitable[web.StreamResponse]]
"""How one POST /prompt is answered."""

NO = b'{"error": {"type": "no_thanks",  "message": "Nein\\u00a0danke"}, "node_errors": {}, "x": NaN}'
"""A refusal that nobody would write just so again."""


@cache
def shipped_nodes() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(resources.files("gateway.emulator").joinpath("object_info.json").read_text())
    return found


async def takes(worker: Scripted, request: web.Request) -> web.StreamResponse:
    return worker.took(worker.take(await request.json()))


async def resets_unread(worker: Scripted, request: web.Request) -> web.StreamResponse:
    return _reset(request)


async def resets_after(worker: Scripted, request: web.Request) -> web.StreamResponse:
    """It has the prompt, and nobody hears of it."""
    worker.take(await request.json())
    return _reset(request)


async def loses(worker: Scripted, request: web.Request) -> web.StreamResponse:
    """Reads the prompt, and hangs up without having queued it."""
    await request.read()
    return _reset(request)


async def fails_after(worker: Scripted, request: web.Request) -> web.StreamResponse:
    """As ComfyUI does where the queue's heap meets two prompts that it cannot compare (contract 2.4)."""
    worker.take(await request.json())
    return web.Response(status=500, text="500 Internal Server Error\n\nServer got itself in trouble")


def refuses(body: bytes = NO, status: int = 400, content_type: str = "application/json") -> Manner:
    async def refusing(worker: Scripted, request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})

    return refusing


def late(go_on: asyncio.Event) -> Manner:
    """Has read the prompt, and takes it only when it may go on."""

    async def stalling(worker: Scripted, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        worker.stalled += 1
        await go_on.wait()
        return worker.took(worker.take(body))

    return stalling


def begins_before_it_answers(go_on: asyncio.Event) -> Manner:
    """Takes the prompt and runs it, and its 200 comes only when it may."""

    async def slow(worker: Scripted, request: web.Request) -> web.StreamResponse:
        id = worker.take(await request.json())
        await go_on.wait()
        return worker.took(id)

    return slow


def _reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class Scripted:
    def __init__(self, name: str) -> None:
        self.name = name
        self.url = ""
        self.nodes: dict[str, Any] = dict(shipped_nodes())
        self.manners: list[Manner] = []
        """For the next posts, one each; then they are taken."""
        self.instant = False
        self.mints = False
        """As ComfyUI before July 2025: every prompt gets an id of the worker's own."""
        self.vram = 24 * 2**30
        self.more: dict[str, Any] = {}
        """Put over the records of what ends from now on."""
        self.deaf = False
        """Its socket says nothing."""
        self.handshake = 0.0
        """Seconds in which it answers who asks for a socket."""
        self._heard = asyncio.Event()  # cleared while it is silent
        self._heard.set()
        self.requests: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        """How often each record was given."""
        self.received: list[dict[str, Any]] = []
        """The bodies of the posts that were taken."""
        self.started: list[str] = []
        self.interrupted: list[str] = []
        self.deleted: list[str] = []
        self.freed: list[Any] = []
        self.stalled = 0
        self.running: dict[str, list[Any]] = {}
        self.pending: dict[str, list[Any]] = {}
        self.history: dict[str, Any] = {}
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._runner: web.AppRunner | None = None

    # what a test does with it

    def take(self, body: dict[str, Any]) -> str:
        """Queues a prompt, ours or anybody's; returns its id."""
        self.received.append(body)
        id = str(uuid.uuid4()) if self.mints else str(body.get("prompt_id") or uuid.uuid4())
        extra_data = {**body.get("extra_data", {})}
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        self.pending[id] = [len(self.received), id, body["prompt"], extra_data, sorted(body["prompt"])[-1:]]
        self._say_status()
        self._advance()
        return id

    def took(self, id: str) -> web.Response:
        return web.json_response({"prompt_id": id, "number": len(self.received), "node_errors": {}})

    def finish(self, id: str | None = None, event: str = "execution_success", **data: Any) -> str:
        """Ends what runs; returns its id."""
        id = id or next(iter(self.running))
        item = self.running.pop(id)
        told = {"prompt_id": id, "timestamp": 1, **data}
        good = event == "execution_success"
        status = {"status_str": "success" if good else "error", "completed": good, "messages": [[event, told]]}
        self.history[id] = {"prompt": item, "outputs": {}, "status": status, "meta": {}, **self.more}
        self._say(item[3].get("client_id"), event, told)
        self._say_status()
        self._say(item[3].get("client_id"), "executing", {"node": None, "prompt_id": id})
        self._advance()
        return id

    def over(self) -> str:
        """Says that what runs has ended, before its record is put away as `finish` does; returns its id."""
        id, item = next(iter(self.running.items()))
        self._say(item[3].get("client_id"), "execution_success", {"prompt_id": id, "timestamp": 1})
        return id

    async def tell(self, *frames: str | bytes, id: str | None = None) -> None:
        """Says this to the owner of what runs, or of the running prompt named; to all when nothing runs."""
        owner = self.running[id or next(iter(self.running))][3].get("client_id") if self.running else None
        sockets = [self._sockets[owner]] if owner in self._sockets else [] if owner else list(self._sockets.values())
        await asyncio.sleep(0)  # what it began to say before comes first
        for frame in frames:
            for socket in sockets:
                await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))

    def cut(self) -> None:
        """All its sockets break, as when a network does; requests are answered as before."""
        for socket in self._sockets.values():
            if socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()

    def is_heard(self, id: str) -> bool:
        """Whether anybody listens under the client_id that this prompt came with."""
        item = self.running.get(id) or self.pending.get(id) or self.history[id]["prompt"]
        return item[3].get("client_id") in self._sockets

    @property
    def connected(self) -> int:
        """How many listen to its events."""
        return len(self._sockets)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """It reads requests, and answers none of them before this is over."""
        self._heard.clear()
        try:
            yield
        finally:
            self._heard.set()

    def forget(self) -> None:
        """As a restart would: it knows no prompt any more."""
        self.running.clear()
        self.pending.clear()
        self.history.clear()

    async def runs(self, count: int = 1) -> str:
        """The id of the latest, once so many have been started."""
        await until(lambda: len(self.started) >= count, f"{self.name} starts {count}")
        return self.started[count - 1]

    def prompts(self) -> list[str]:
        """Which prompts of ours were started, by the id that their clients know, with repetitions."""
        told = {**{item[1]: item[3] for item in (*self.running.values(), *self.pending.values())}}
        told |= {id: record["prompt"][3] for id, record in self.history.items()}
        return [told[id]["comfy_gateway"]["prompt_id"] for id in self.started if id in told]

    async def down(self) -> None:
        """Refuses connections and breaks those that stand; what it knows it keeps."""
        assert self._runner is not None
        deafen(self._runner)
        for _ in range(2):
            await asyncio.sleep(0)
        for site in list(self._runner.sites):
            await site.stop()
        for handler in list(self._runner.server.connections if self._runner.server else ()):
            if handler.transport is not None:
                handler.transport.abort()

    async def up(self) -> None:
        """At the same address as before."""
        assert self._runner is not None
        await web.TCPSite(self._runner, "127.0.0.1", int(self.url.rpartition(":")[2])).start()

    # how it answers

    def _advance(self) -> None:
        while self.pending and not self.running:
            id, item = next(iter(self.pending.items()))
            self.running[id] = self.pending.pop(id)
            self.started.append(id)
            self._say(item[3].get("client_id"), "execution_start", {"prompt_id": id, "timestamp": 1})
            if self.instant:
                self.finish(id)

    def _say_status(self) -> None:
        told = {"status": {"exec_info": {"queue_remaining": len(self.running) + len(self.pending)}}}
        for sid in list(self._sockets):
            self._say(sid, "status", told)

    def _say(self, sid: Any, event: str, data: Mapping[str, Any]) -> None:
        if (socket := self._sockets.get(str(sid))) is not None and not self.deaf and not socket.closed:
            task = asyncio.ensure_future(socket.send_str(json.dumps({"type": event, "data": data})))
            task.add_done_callback(lambda done: done.exception())

    async def _post_prompt(self, request: web.Request) -> web.StreamResponse:
        manner = self.manners.pop(0) if self.manners else takes
        return await manner(self, request)

    async def _remaining(self, _: web.Request) -> web.Response:
        return web.json_response({"exec_info": {"queue_remaining": len(self.running) + len(self.pending)}})

    async def _queue(self, _: web.Request) -> web.Response:
        told = {"queue_running": list(self.running.values()), "queue_pending": list(self.pending.values())}
        return web.json_response(told)

    async def _edit_queue(self, request: web.Request) -> web.Response:
        for id in (await request.json()).get("delete", ()):
            self.deleted.append(id)
            self.pending.pop(id, None)
        return web.Response()

    async def _newest(self, request: web.Request) -> web.Response:
        count = int(request.query.get("max_items", 10_000))
        return web.json_response(dict([*self.history.items()][-count:]))

    async def _history(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        self.told[id] += id in self.history
        return web.json_response({id: self.history[id]} if id in self.history else {})

    async def _interrupt(self, request: web.Request) -> web.Response:
        id = (await request.json())["prompt_id"]
        self.interrupted.append(id)
        if id in self.running:
            self.finish(id, "execution_interrupted", node_id="2", node_type="ProbeSleep", executed=[])
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        self.freed.append(await request.json())
        return web.Response()

    async def _stats(self, _: web.Request) -> web.Response:
        device = {"name": self.name, "type": "cuda", "index": 0, "vram_total": self.vram, "vram_free": self.vram}
        return web.json_response({"system": {"comfyui_version": "0.3.64"}, "devices": [device]})

    async def _object_info(self, _: web.Request) -> web.Response:
        return web.json_response(self.nodes)

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.handshake)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.query["clientId"]
        self._sockets[sid] = socket
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
        if self._sockets.get(sid) is socket:
            del self._sockets[sid]
        return socket

    def _app(self) -> web.Application:
        @web.middleware
        async def counted(request: web.Request, handler: Any) -> web.StreamResponse:
            self.requests[f"{request.method} {request.path}"] += 1
            await self._heard.wait()
            answer: web.StreamResponse = await handler(request)
            return answer

        app = web.Application(middlewares=[counted])
        app.add_routes(
            [
                web.post("/prompt", self._post_prompt),
                web.get("/prompt", self._remaining),
                web.get("/queue", self._queue),
                web.post("/queue", self._edit_queue),
                web.get("/history", self._newest),
                web.get("/history/{id}", self._history),
                web.post("/interrupt", self._interrupt),
                web.post("/free", self._free),
                web.get("/system_stats", self._stats),
                web.get("/object_info", self._object_info),
                web.get("/ws", self._ws),
            ]
        )
        return app

    async def open(self) -> None:
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        assert self._runner is not None
        for socket in list(self._sockets.values()):
            await socket.close()
        await self._runner.cleanup()


@asynccontextmanager
async def scripted(name: str = "scripted") -> AsyncIterator[Scripted]:
    worker = Scripted(name)
    await worker.open()
    try:
        yield worker
    finally:
        await worker.close()
