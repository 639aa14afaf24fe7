"""Asking one server as fast as it answers: by wrk where that is, else by a small generator of our own."""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench._servers import REST, Server, process, program, python

_UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}


@dataclass(frozen=True, slots=True)
class Rate:
    """What was answered each second, on the wall and for each second of a core that the server used."""

    a_second: float
    a_core: float
    bytes_a_second: float


async def asked(server: Server, path: str, *, connections: int, seconds: float, body: bytes | None = None) -> Rate:
    """GET, or POST of the body. Anything but good answers is an error here."""
    before = server.cpu
    count, took, size = await (_wrk if program("wrk") else _own)(server.url + path, connections, seconds, body)
    used = max(server.cpu - before, 0.01)
    return Rate(max(count, 1) / took, max(count, 1) / used, size / took)


async def _wrk(url: str, connections: int, seconds: float, body: bytes | None) -> tuple[int, float, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if body is not None:
            text = body.decode().replace("\\", "\\\\").replace("'", "\\'")
            script.write(f"wrk.method='POST' wrk.body='{text}' wrk.headers['Content-Type']='application/json'\n")
        script.flush()
        flags = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script.name]
        async with process(REST, program("wrk") or "wrk", *flags, url) as wrk:
            assert wrk.stdout is not None
            told = (await wrk.stdout.read()).decode()
            await wrk.wait()
    found = re.search(r"(\d+) requests in ([\d.]+)s, ([\d.]+)([KMG]?B) read", told)
    if found is None or "Non-2xx" in told or re.search(r"connect [1-9]|read [1-9]", told):
        raise RuntimeError(f"{url}: {told}")
    return int(found[1]), float(found[2]), float(found[3]) * _UNITS[found[4]]


async def _own(url: str, connections: int, seconds: float, body: bytes | None) -> tuple[int, float, float]:
    with tempfile.NamedTemporaryFile("wb") as file:
        file.write(body or b"")
        file.flush()
        flags = [url, str(connections), str(seconds), file.name if body is not None else ""]
        async with python(REST, "bench._load", *flags) as (_, told):
            return int(told[1]), float(told[2]), float(told[3])


class _Asker(asyncio.Protocol):
    """One connection that asks again as soon as it is answered; answers must name their length."""

    def __init__(self, request: bytes, until: float) -> None:
        self._request = request
        self._until = until
        self._left = 0
        self._head = b""
        self.count = self.size = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if not self._left:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if found is None or not head.startswith(b"HTTP/1.1 200"):
                self._end(RuntimeError(head.decode(errors="replace")))
                return
            self._head, data, self._left = b"", rest, int(found[1])
        self._left -= len(data)
        if self._left <= 0:
            self.count += 1
            if asyncio.get_running_loop().time() > self._until:
                self._end(None)
            else:
                self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("closed"))

    def _end(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(error) if error else self.over.set_result(None)
        self._transport.close()


async def _ask(url: str, connections: int, seconds: float, body: bytes | None) -> None:
    parts = urlsplit(url)
    method = "GET" if body is None else "POST"
    head = f"{method} {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    loop = asyncio.get_running_loop()
    began = loop.time()
    request = head.encode() + b"\r\n" + (body or b"")
    made = [
        loop.create_connection(lambda: _Asker(request, began + seconds), parts.hostname or "", parts.port or 80)
        for _ in range(connections)
    ]
    askers = [asker for _, asker in await asyncio.gather(*made)]
    await asyncio.gather(*(asker.over for asker in askers))
    count, size = sum(asker.count for asker in askers), sum(asker.size for asker in askers)
    print(f"answers at {url} {count} {loop.time() - began} {size}", flush=True)


if __name__ == "__main__":
    import sys

    _, url, connections, seconds, file = sys.argv
    uvloop.run(_ask(url, int(connections), float(seconds), Path(file).read_bytes() if file else None))
