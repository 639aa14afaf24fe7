"""What a real ComfyUI 0.3.64 said on its sockets, played against any server, and listened to frame by frame.

Left out of the comparison: ids that a server mints, times, counters in file names, sizes and bytes of pictures, lines
of tracebacks, a server's own flags, and how far a prompt came before its interruption was noticed.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.conformance.client import Client, Graph
from tests.emulator.replay import Entry, Names, recording

FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
_PATIENCE = 20.0
_COUNTER = re.compile(r"_\d{5}_\.")
_WORKER = re.compile(r"(?<=_)~[\w.-]+(\.png\")")
Frame = str | bytes


class Ear:
    """A client's socket: `frames` is all that came so far."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self._more = asyncio.Condition()

    async def read(self) -> None:
        async for message in self.socket:
            async with self._more:
                self.frames.append(message.data)
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    async def heard(self, enough: Callable[[Ear], Any], what: str) -> Any:
        """Waits until what came is enough."""
        found: Any = None

        def is_there() -> bool:
            nonlocal found
            found = enough(self)
            return bool(found)

        try:
            async with self._more:
                await asyncio.wait_for(self._more.wait_for(is_there), _PATIENCE)
        except TimeoutError:
            raise AssertionError(f"waited in vain until {what}; heard {self.types}") from None
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON of all that is JSON."""
        return [json.loads(frame) for frame in self.frames if isinstance(frame, str)]

    @property
    def types(self) -> list[str | int]:
        """The type of each frame: a name, or the number of a binary one."""
        return [json.loads(f)["type"] if isinstance(f, str) else int.from_bytes(f[:4], "big") for f in self.frames]

    def of(self, event: str, **data: Any) -> list[dict[str, Any]]:
        """The data of the events of this type that have all of `data`."""
        found = [told["data"] for told in self.events if told["type"] == event]
        return [told for told in found if told.items() >= data.items()]

    async def ended(self, prompt_id: str) -> None:
        await self.heard(lambda ear: ear.of("executing", node=None, prompt_id=prompt_id), f"{prompt_id} is over")


@asynccontextmanager
async def listening(
    http: aiohttp.ClientSession, url: str, client_id: str | None, *, flags: bool = False, path: str = "/ws"
) -> AsyncIterator[Ear]:
    """A socket, once its first frame has come, and its flags are answered if it has any."""
    query = "" if client_id is None else f"?clientId={client_id}"
    async with http.ws_connect(f"{url}{path}{query}", max_msg_size=0) as socket:
        ear = Ear(socket)
        reading = asyncio.create_task(ear.read())
        try:
            await ear.heard(lambda ear: ear.frames, "something comes")
            if flags:
                await socket.send_json(FLAGS)
                await ear.heard(lambda ear: ear.of("feature_flags"), "the flags are answered")
            yield ear
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Heard:
    """One listener's frames in comparable form: what was recorded, and what came."""

    recorded: list[Any]
    got: list[Any]


@dataclass(frozen=True, slots=True)
class Post:
    """One recorded prompt, and the interruption that came after it, if any."""

    graph: Graph
    owner: str
    interrupt: Entry | None
    after: int
    """How many steps it was given before its interruption."""


@dataclass(slots=True)
class Player:
    """Plays one recording as new clients of the target, on one worker, after having prepared its cache."""

    client: Client
    name: str
    ids: dict[str, str] = field(default_factory=dict)

    async def play(self) -> dict[str, Heard]:
        entries = recording(self.name)
        names = list(dict.fromkeys(entry["ws"] for entry in entries if "ws" in entry))
        self.ids = {name: uuid.uuid4().hex for name in names}
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.client.on_one_worker())
            await self._fill()
            ears = {name: await stack.enter_async_context(self._listening(entries, name)) for name in names}
            for index, post in enumerate(posts(entries)):
                await self._run(post, ears[post.owner], quiet=() if index else list(ears.values()))
            frames = {name: list(ear.frames) for name, ear in ears.items()}
        return {name: Heard(self._recorded(entries, name), self._got(name, frames[name])) for name in names}

    def _listening(self, entries: Sequence[Entry], name: str) -> Any:
        flags = any(entry.get("text", {}).get("type") == "feature_flags" for entry in of(entries, name))
        return listening(self.client.http, self.client.target.url, self.ids[name], flags=flags)

    async def _run(self, post: Post, ear: Ear, quiet: Sequence[Ear]) -> None:
        """`quiet` are told nothing of what was before."""
        for listener in quiet:
            hello = [f for f in listener.frames if isinstance(f, str) and ('"sid"' in f or "feature_flags" in f)]
            listener.frames[:] = hello
        body = {"prompt": post.graph, "client_id": self.ids[post.owner]}
        answer = await self.client.post("/prompt", body)
        assert answer.status == 200, answer.text
        prompt_id = answer.json["prompt_id"]
        if post.interrupt is not None:
            await ear.heard(lambda e: len(e.of("progress", prompt_id=prompt_id)) >= post.after, "it is on its way")
            sent = post.interrupt["http"].get("json")
            named = {"prompt_id": prompt_id} if sent else None
            params = {"client_id": self.ids[post.owner]}
            assert (await self.client.ask("POST", "/interrupt", json=named, params=params)).status == 200
        await ear.ended(prompt_id)

    async def _fill(self) -> None:
        """Somebody else's prompt: node 1 of all recordings is cached."""
        image = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
        shown = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
        await self.client.run({"1": image, "2": shown}, client_id=uuid.uuid4().hex)

    def _recorded(self, entries: Sequence[Entry], name: str) -> list[Any]:
        mine = [entry for entry in of(entries, name) if "text" in entry or "binary_type" in entry]
        plain = Plain(name)
        found = [plain.text(e["text"]) if "text" in e else plain.binary(e["binary_type"], e) for e in mine]
        if any(post.owner == name for post in posts(entries)):
            found += plain.rest_of_end([entry["text"] for entry in mine if "text" in entry])
        return self._kept(found)

    def _got(self, name: str, frames: Sequence[Frame]) -> list[Any]:
        plain = Plain(self.ids[name], farm=self.client.target.differs("farm-names"))
        found = []
        for frame in frames:
            if isinstance(frame, str):
                found.append(plain.text(json.loads(frame)))
            else:
                found.append(plain.binary(int.from_bytes(frame[:4], "big"), facts(frame)))
        return self._kept(found)

    def _kept(self, found: list[Any]) -> list[Any]:
        """How many steps are made before an interruption is noticed is chance."""
        return [f for f in found if f[0] not in ("progress", "progress_state")] if "interrupt" in self.name else found


def posts(entries: Sequence[Entry]) -> Iterator[Post]:
    """The prompts that ended while they were listened to."""
    for index, entry in enumerate(entries):
        if entry.get("http", {}).get("path") != "/prompt":
            continue
        body = entry["http"]["json"]
        prompt_id = entry["body"]["json"]["prompt_id"]
        mine = [e["text"] for e in entries if e.get("text", {}).get("data", {}).get("prompt_id") == prompt_id]
        steps = sum(told["type"] == "progress" for told in mine)
        interrupted = any(told["type"] == "execution_interrupted" for told in mine)
        calls = (e for e in entries[index:] if e.get("http", {}).get("path") == "/interrupt")
        yield Post(body["prompt"], body["client_id"], next(calls) if interrupted else None, min(steps, 3))


def of(entries: Sequence[Entry], name: str) -> list[Entry]:
    return [entry for entry in entries if entry.get("ws") == name]


def facts(frame: bytes) -> dict[str, Any]:
    """A picture's frame as the recordings describe it."""
    start = 8
    told: dict[str, Any] = {}
    if frame[:4] == b"\x00\x00\x00\x04":
        start += int.from_bytes(frame[4:8], "big")
        told["metadata"] = json.loads(frame[8:start])
    else:
        told["image_format"] = int.from_bytes(frame[4:8], "big")
    assert frame[start : start + 3] == b"\xff\xd8\xff", "no JPEG"
    return told


class Plain:
    """Frames without what differs from run to run; equal runs give equal frames, also in the order of keys."""

    def __init__(self, sid: str, *, farm: bool = False) -> None:
        """`farm`: its names of files say which worker has them, and are compared without that."""
        self._sid = sid
        self._farm = farm
        self._names = Names()

    def text(self, told: Any) -> Any:
        data = told["data"]
        if told["type"] == "status" and "sid" in data:
            assert data["sid"] == self._sid
            data = {**data, "sid": "its own"}
        if told["type"] == "feature_flags":
            data = {key: type(data[key]).__name__ for key in ("supports_preview_metadata", "max_upload_size")}
        shown = json.dumps(self._names.of(data))
        if self._farm:
            shown = _WORKER.sub(r"\1", shown)
        return [told["type"], _COUNTER.sub("_?????_.", shown)]

    def binary(self, number: int, told: Entry) -> Any:
        kept = {key: told[key] for key in ("metadata", "image_format") if key in told}
        return [number, json.dumps(self._names.of(kept))]

    def rest_of_end(self, told: Sequence[Any]) -> list[Any]:
        """What came after the recorder had stopped, if it stopped before: the count, and `executing` null."""
        last = told[-1]
        ends = [t["data"]["prompt_id"] for t in told if t["type"].startswith("execution_") and "prompt_id" in t["data"]]
        rest = []
        if last["type"] not in ("status", "executing"):
            rest.append(self.text({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}))
        if last["type"] != "executing":
            rest.append(self.text({"type": "executing", "data": {"node": None, "prompt_id": ends[-1]}}))
        return rest
