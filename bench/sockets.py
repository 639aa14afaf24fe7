"""The event socket, measured: events a second and core, memory of an idle client, what a preview is delayed by.

The gateway, and a bare relay of the same two libraries beside it, run as processes of their own; what they cost is
read from the kernel, so that this machine's other work counts as little as it can. Times on the wall are of this
machine, at this hour.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench._servers import Server
from tests.farm import picture
from tests.flows import saying
from tests.scripted import Scripted, scripted
from tests.servers import until

RESULTS = Path(__file__).parent / "results/sockets.json"
EVENTS, WINDOW = 30_000, 30
IDLE = 5_000
PREVIEWS, EVERY, OTHERS = 200, 0.03, 200
PREVIEW = b"p" * 60 * 1024
_UPGRADE = (
    "GET /ws?clientId=idle-{number} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GOALS = {"events": 10_000, "idle": 40.0, "preview": 5.0}


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[Server]:
    """A program that says where it is."""
    started = await asyncio.create_subprocess_exec(sys.executable, "-m", *command, stdout=asyncio.subprocess.PIPE)
    try:
        assert started.stdout is not None
        line = (await asyncio.wait_for(started.stdout.readline(), 60)).decode()
        yield Server(line.split(" at ")[1].strip(), started.pid)
    finally:
        started.terminate()
        await started.wait()


@asynccontextmanager
async def gateway(*workers: Scripted) -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        named = [f"--worker=w{number}={worker.url}" for number, worker in enumerate(workers)]
        flags = "--port", "0", "--data-dir", folder, "--log-level", "warning"
        async with process("gateway", "serve", *flags, *named) as server, aiohttp.ClientSession() as http:
            await _until(http, server.url, len(workers))
            yield server


async def _until(http: aiohttp.ClientSession, url: str, count: int) -> None:
    while True:
        async with http.get(f"{url}/gateway/workers") as reply:
            workers = (await reply.json())["workers"]
        if sum(worker["state"] == "up" and bool(worker["node_classes"]) for worker in workers) == count:
            return
        await asyncio.sleep(0.1)


class Client:
    """A client whose prompt runs, and that counts what it is told."""

    def __init__(self, http: aiohttp.ClientSession, url: str, name: str) -> None:
        self._http = http
        self.url = url
        self.name = name
        self.count = 0
        self.arrived: list[float] = []
        self._bell = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with self._http.ws_connect(f"{self.url}/ws?clientId={self.name}", max_msg_size=0) as socket:
            await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            reading = asyncio.create_task(self._read(socket))
            yield
            reading.cancel()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.arrived.append(time.perf_counter())
            elif '"node"' not in message.data or '"executed"' in message.data:
                continue
            self.count += 1
            self._bell.set()

    async def has(self, count: int) -> None:
        while self.count < count:
            self._bell.clear()
            await asyncio.wait_for(self._bell.wait(), 30)

    async def starts(self, *workers: Scripted, at: str = "") -> str:
        """The attempt of its prompt, posted at this URL, on one of these workers that listeners listen to."""
        await until(lambda: all(worker.connected for worker in workers), "the workers are listened to")
        body = {"prompt": picture(), "client_id": self.name}
        async with self._http.post(f"{at or self.url}/prompt", json=body) as reply:
            assert reply.status == 200
        started: str = await until(lambda: [id for worker in workers for id in worker.running], "it runs")
        return started[0]


async def relayed(server: Server, client: Client, worker: Scripted, frame: str) -> dict[str, float]:
    """Events from the worker to its client, never so many at once that any is left out."""
    before = client.count
    await worker.tell(frame)
    await client.has(before + 1)
    before = client.count
    cpu, began = server.cpu, time.perf_counter()
    for sent in range(0, EVENTS, WINDOW):
        await worker.tell(*[frame] * WINDOW)
        await client.has(before + sent)
    await client.has(before + EVENTS)
    used, seconds = server.cpu - cpu, time.perf_counter() - began
    return {"a second and core": EVENTS / used, "a second on the wall": EVENTS / seconds}


async def both_kinds(server: Server, client: Client, worker: Scripted, attempt: str) -> dict[str, Any]:
    return {
        "state": await relayed(server, client, worker, saying.executing(attempt)),
        "progress": await relayed(server, client, worker, saying.progress(attempt, 1)),
    }


async def delayed(client: Client, worker: Scripted, attempt: str) -> float:
    """Milliseconds from the worker's word to the client's ear, the median of many previews."""
    frame, client.arrived, sent = saying.preview(attempt, PREVIEW), [], []
    before = client.count
    for number in range(PREVIEWS):
        sent.append(time.perf_counter())
        await worker.tell(frame)
        await client.has(before + number + 1)
        await asyncio.sleep(EVERY)
    return statistics.median(a - s for a, s in zip(client.arrived, sent, strict=True)) * 1000


async def idle(server: Server) -> float:
    """KiB that each of many clients costs that are told nothing."""
    address = server.url.removeprefix("http://").split(":")
    before = server.memory
    gate = asyncio.Semaphore(100)

    async def one(number: int) -> asyncio.StreamWriter:
        async with gate:
            reader, writer = await asyncio.open_connection(address[0], int(address[1]))
            writer.write(_UPGRADE.format(number=number, host=":".join(address)).encode())
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(10)
            return writer

    writers = await asyncio.gather(*map(one, range(IDLE)))
    await asyncio.sleep(2.0)  # what was needed for the handshakes is given back
    cost = (server.memory - before) * 1024 / IDLE
    for writer in writers:
        writer.close()
    return cost


async def with_gateway(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with scripted("w0") as worker, gateway(worker) as server:
        client = Client(http, server.url, "listener")
        async with client.listening():
            events = await both_kinds(server, client, worker, await client.starts(worker))
    async with scripted("w0") as busy, scripted("w1") as loud, gateway(busy, loud) as server:
        memory = await idle(server)
    async with scripted("w0") as busy, scripted("w1") as loud, gateway(busy, loud) as server:
        client = Client(http, server.url, "listener")
        async with client.listening(), process("bench.sockets", "others", server.url) as _:
            attempt = await client.starts(busy, loud)
            runs, talks = (busy, loud) if busy.running else (loud, busy)
            talking = asyncio.create_task(_talk(talks))
            preview = await delayed(client, runs, attempt)
            talking.cancel()
    return {"events": events, "idle": memory, "preview": preview}


async def _talk(worker: Scripted) -> None:
    """What a monitor of custom nodes says to all, twenty times a second."""
    while True:
        await worker.tell(saying.event("monitor", text="x" * 200))
        await asyncio.sleep(0.05)


async def with_bare_relay(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with scripted("w0") as worker, process("bench.sockets", "bare", worker.url) as server:
        client = Client(http, server.url, "listener")
        async with client.listening():
            attempt = await client.starts(worker, at=worker.url)
            events = await both_kinds(server, client, worker, attempt)
            preview = await delayed(client, worker, attempt)
    async with process("bench.sockets", "bare", "") as server:
        memory = await idle(server)
    return {"events": events, "idle": memory, "preview": preview}


async def direct(http: aiohttp.ClientSession) -> float:
    """The median delay of a preview without anything between."""
    async with scripted("w0") as worker:
        client = Client(http, worker.url, "listener")
        async with client.listening():
            return await delayed(client, worker, await client.starts(worker))


async def measured() -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        nothing, bare, ours = await direct(http), await with_bare_relay(http), await with_gateway(http)
    ours["preview"] -= nothing
    bare["preview"] -= nothing
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    return {"gateway": ours, "bare relay": bare, "goals": GOALS, "machine": machine}


def table(found: dict[str, Any]) -> str:
    ours, bare = found["gateway"], found["bare relay"]
    rows = [
        (f"{kind} events {unit}", *(x["events"][kind][unit] for x in (ours, bare)), goal)
        for kind in ("state", "progress")
        for unit, goal in (("a second and core", f">= {GOALS['events']:,}"), ("a second on the wall", ""))
    ]
    rows += [
        (f"KiB for each of {IDLE} idle clients", ours["idle"], bare["idle"], f"<= {GOALS['idle']:g}"),
        (f"ms more for a preview, {OTHERS} others", ours["preview"], bare["preview"], f"<= {GOALS['preview']:g}"),
    ]
    lines = [f"{'':38}{'gateway':>12}{'bare relay':>12}{'ratio':>8}   goal"]
    for name, mine, its, goal in rows:
        lines.append(f"{name:38}{mine:12,.1f}{its:12,.1f}{mine / its:8.2f}   {goal}")
    machine = found["machine"]
    lines.append(f"{machine['cores']} cores, load {machine['load']:.1f}; the others at this machine are not left out")
    return "\n".join(lines)


async def others(url: str) -> None:
    """Clients that read all that they are told, until this process is ended."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        sockets = [await http.ws_connect(f"{url}/ws?clientId=other-{number}") for number in range(OTHERS)]
        print(f"reading at {url}", flush=True)
        await asyncio.gather(*(_drained(socket) for socket in sockets))


async def _drained(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))
    match sys.argv[1:]:
        case ["others", url]:
            asyncio.run(others(url))
        case ["bare", upstream]:
            from bench._bare import serve

            serve(upstream)
        case _:
            found = asyncio.run(measured())
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(found, indent=2) + "\n")
            print(table(found))


if __name__ == "__main__":
    main()
