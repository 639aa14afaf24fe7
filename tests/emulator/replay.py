"""Plays a recording of a real ComfyUI 0.3.64 against a worker, and compares what comes, frame by frame.

Left out of the comparison: ids that a server mints, times, sizes of pictures, tracebacks' lines, and the order of
what ComfyUI keeps in sets.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from gateway.emulator.serve import Running

RECORDINGS = Path(__file__).parent.parent / "recordings"
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
SETS = ("executed", "current_outputs")
Entry = dict[str, Any]


def recording(name: str) -> list[Entry]:
    found: list[Entry] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return found


class Names:
    """Minted ids, by the order in which they were first seen: equal runs give equal numbers."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def plain(self, text: str) -> str:
        return UUID.sub(lambda found: self._known.setdefault(found[0], f"id-{len(self._known)}"), text)

    def of(self, value: Any) -> Any:
        """The same JSON without what differs from run to run."""
        if isinstance(value, str):
            return re.sub(r"temp_[a-z]{5}_", "temp_?????_", self.plain(value))
        if isinstance(value, list):
            return [self.of(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {self.plain(key): self._field(key, item) for key, item in value.items()}

    def _field(self, key: str, value: Any) -> Any:
        if key == "timestamp":
            return isinstance(value, int) and value > 1_700_000_000_000
        if key == "traceback":
            return all(isinstance(line, str) for line in value)
        if key in SETS and isinstance(value, list):
            return sorted(value)
        return self.of(value)


class Socket:
    """One client's socket; its frames wait here until the recording wants them."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._frames: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.seen: list[str | bytes] = []
        self._changed = asyncio.Condition()

    async def read(self) -> None:
        async for message in self._socket:
            self._frames.put_nowait(message.data)
            async with self._changed:
                self.seen.append(message.data)
                self._changed.notify_all()

    async def send(self, message: Any) -> None:
        await self._socket.send_json(message)

    async def close(self) -> None:
        await self._socket.close()

    async def next(self, timeout: float = 5.0) -> str | bytes:
        return await asyncio.wait_for(self._frames.get(), timeout)

    async def silent(self, seconds: float = 0.3) -> None:
        """Nothing comes for so long."""
        try:
            frame = await self.next(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"a frame more than was recorded: {frame!r}")

    async def count(self, event: str, number: int) -> None:
        """Waits until this many frames of a type have come in all."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self._number(event) >= number), 10)

    async def count_binary(self, number: int) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self._binary() >= number), 10)

    def _binary(self) -> int:
        return sum(isinstance(frame, bytes) for frame in self.seen)

    def _number(self, event: str) -> int:
        return sum(isinstance(frame, str) and f'"type": "{event}"' in frame for frame in self.seen)


class Replay:
    """One recording against one worker; `async with` opens the sockets that the recording had open."""

    def __init__(self, worker: Running, entries: list[Entry]) -> None:
        self._worker = worker
        self.entries = entries
        self._stack = AsyncExitStack()
        self.recorded, self.got = Names(), Names()
        self.sockets: dict[str, Socket] = {}
        self._ids: dict[str, str] = {}

    async def __aenter__(self) -> Replay:
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def connect(self, name: str, query: str, *, flags: bool = False) -> Socket:
        """Returns when the server knows the socket: its first frame has come."""
        opened = await self._stack.enter_async_context(self._http.ws_connect(f"{self._worker.url}/ws{query}"))
        socket = self.sockets[name] = Socket(opened)
        task = asyncio.create_task(socket.read())
        self._stack.callback(task.cancel)
        await socket.count("status", 1)
        if flags:
            await socket.send({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            await socket.count("feature_flags", 1)
        return socket

    async def all(self) -> None:
        for name in dict.fromkeys(entry["ws"] for entry in self.entries if "ws" in entry):
            mine = [entry["text"]["type"] for entry in self.entries if entry.get("ws") == name and "text" in entry]
            await self.connect(name, f"?clientId={name}", flags="feature_flags" in mine)
        for index, entry in enumerate(self.entries):
            await self.step(index, entry)

    async def step(self, index: int, entry: Entry) -> None:
        if "http" in entry:
            await self._wait_before(index, entry)
            await self._http_step(index, entry)
        elif "ws" not in entry:
            return
        elif "text" in entry or "binary_type" in entry:
            self._compare_frame(index, entry, await self.sockets[entry["ws"]].next())
        else:
            await self.sockets[entry["ws"]].silent()

    async def _wait_before(self, index: int, entry: Entry) -> None:
        """Brings the worker where the recorded one was: so far in its prompt, or done with it."""
        request = entry["http"]
        if request["path"] == "/interrupt" and request["method"] == "POST":
            await self._wait_for_progress(index)
        if request["path"].startswith("/history/") and entry["body"].get("json"):
            await until(lambda: self._worker.worker.queue.remaining() == 0)

    async def _wait_for_progress(self, index: int) -> None:
        rest = list(self._until_next_post(index))
        if not any(entry["text"]["type"] == "execution_interrupted" for entry in rest if "text" in entry):
            return
        socket = self.sockets[rest[0]["ws"]]
        before = [entry for entry in self.entries[:index] if "text" in entry] + [e for e in rest if "text" in e]
        await socket.count("progress", sum(entry["text"]["type"] == "progress" for entry in before))

    def _until_next_post(self, index: int) -> Iterator[Entry]:
        for entry in self.entries[index + 1 :]:
            if entry.get("http", {}).get("path") == "/prompt":
                return
            yield entry

    async def _http_step(self, index: int, entry: Entry) -> None:
        request = entry["http"]
        path = self._known(request["path"])
        body = json.loads(self._known(json.dumps(request["json"]))) if "json" in request else None
        async with self._http.request(
            request["method"],
            self._worker.url + path,
            params=request.get("params"),
            json=body,
            data=request.get("data"),
            headers=request.get("headers"),
        ) as response:
            data = await response.read()
        told = f"entry {index}: {request['method']} {request['path']} ({entry.get('note')})"
        assert response.status == entry["status"], f"{told}\n{data!r}"
        self._compare_headers(told, entry["headers"], response.headers)
        self._compare_body(told, entry["body"], data)
        if request["path"] == "/prompt" and response.status == 200:
            await until(
                lambda: self._worker.worker.last_node_id is not None or not self._worker.worker.queue.remaining()
            )

    def _known(self, text: str) -> str:
        """Recorded ids replaced by this run's."""
        return UUID.sub(lambda found: self._ids.get(found[0], found[0]), text)

    def _compare_headers(self, told: str, recorded: dict[str, str], got: Any) -> None:
        for name, value in recorded.items():
            if name in ("Content-Length", "Etag", "Last-Modified", "Content-Range"):
                assert name in got, f"{told}: {name} is missing"
            else:
                assert got.get(name) == value, f"{told}: {name}"

    def _compare_body(self, told: str, recorded: Entry, data: bytes) -> None:
        if "json" in recorded:
            answer = json.loads(data)
            self._learn(recorded["json"], answer)
            self._same(told, answer, recorded["json"])
        elif "text" in recorded:
            assert data.decode() == recorded["text"], told
        elif "head_b64" in recorded:
            head = base64.b64decode(recorded["head_b64"])[:8]
            assert data[:8] == head, told

    def _same(self, told: str, got: Any, recorded: Any) -> None:
        """The same values, and the keys in the same order."""
        got, recorded = self.got.of(got), self.recorded.of(recorded)
        assert got == recorded, told
        assert json.dumps(got) == json.dumps(recorded), told

    def _learn(self, recorded: Any, got: Any) -> None:
        if isinstance(recorded, dict) and isinstance(recorded.get("prompt_id"), str) and isinstance(got, dict):
            self._ids.setdefault(recorded["prompt_id"], got.get("prompt_id", ""))

    def _compare_frame(self, index: int, entry: Entry, frame: str | bytes) -> None:
        told = f"entry {index}"
        if "text" in entry:
            assert isinstance(frame, str), f"{told}: a binary frame instead of {entry['text']}"
            self._same(told, json.loads(frame), entry["text"])
            return
        assert isinstance(frame, bytes), f"{told}: {frame} instead of a binary frame"
        assert int.from_bytes(frame[:4], "big") == entry["binary_type"], told
        if "metadata" in entry:
            end = 8 + int.from_bytes(frame[4:8], "big")
            self._same(told, json.loads(frame[8:end]), entry["metadata"])
            assert frame[end : end + 3] == b"\xff\xd8\xff", told
        else:
            assert int.from_bytes(frame[4:8], "big") == entry["image_format"], told
            assert frame[8:11] == b"\xff\xd8\xff", told


async def until(predicate: Any, timeout: float = 10.0) -> None:
    """Waits for a fact of a worker that tells nobody when it changes."""
    async with asyncio.timeout(timeout):
        while not predicate():
            await asyncio.sleep(0.005)
