"""A real ComfyUI's recorded answers come from the emulated worker too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.emulator.replay import Entry, Replay, recording, until

pytestmark = pytest.mark.anyio

EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(EmulatorSettings(directory=tmp_path)) as started:
        yield started


async def warm(worker: Running, times: int = 1) -> None:
    """Node 1 of all recordings is in the cache, as it was in the recorded server's."""
    graph = {"1": EMPTY, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    async with aiohttp.ClientSession() as http:
        for _ in range(times):
            async with http.post(f"{worker.url}/prompt", json={"prompt": graph}) as response:
                assert response.status == 200
            await until(lambda: not worker.worker.queue.remaining())


def first_number(entries: list[Entry]) -> int:
    """Where the recorded counter stood: each posted JSON without a number of its own moved it on."""
    posts = [e for e in entries if e.get("http", {}).get("path") == "/prompt" and "json" in e["http"]]
    posts = [e for e in posts if e["http"]["method"] == "POST" and "Origin" not in e["http"].get("headers", {})]
    counted = [e for e in posts if not (isinstance(e["http"]["json"], dict) and "number" in e["http"]["json"])]
    index, accepted = next((i, e) for i, e in enumerate(counted) if e["status"] == 200)
    number: int = accepted["body"]["json"]["number"]
    return number - index


OUTPUTS_BEFORE = {"success_no_flags": 1, "two_listeners": 2, "interrupting": 3, "queueing": 4, "ids": 5, "sockets": 9}
"""How many pictures ComfyUI_0000N_.png the recorded server had when the recording began."""


async def prepare(worker: Running, name: str, entries: list[Entry]) -> None:
    worker.worker.number = first_number(entries)
    folder = worker.worker.folders.kind("output")
    assert folder is not None
    if name in OUTPUTS_BEFORE:
        (folder / f"ComfyUI_{OUTPUTS_BEFORE[name]:05}_.png").touch()


SESSIONS = ["success", "success_no_flags", "two_listeners", "failing", "interrupting", "ids", "invalid"]


@pytest.mark.parametrize("name", SESSIONS)
async def test_a_recorded_session_replays_frame_by_frame(worker: Running, name: str) -> None:
    entries = recording(name)
    await warm(worker)
    await prepare(worker, name, entries)
    async with Replay(worker, entries) as replay:
        await replay.all()


async def test_queueing_replays_but_for_the_history_of_earlier_recordings(worker: Running) -> None:
    entries = recording("queueing")
    await warm(worker, times=2)
    await prepare(worker, "queueing", entries)
    async with Replay(
        worker, [entry for entry in entries if entry.get("http", {}).get("path") != "/history"]
    ) as replay:
        await replay.all()
    async with aiohttp.ClientSession(worker.url) as http:
        for entry in entries:
            if entry.get("http", {}).get("path") == "/history":
                async with http.get("/history", params=entry["http"]["params"]) as response:
                    assert len(await response.json()) == len(entry["body"]["json"])


async def test_what_never_changes_replays(worker: Running) -> None:
    """Lists of files, and the texts and sizes of another machine, are compared in their shape."""
    async with Replay(worker, []) as replay, aiohttp.ClientSession(worker.url) as http:
        for index, entry in enumerate(recording("static")):
            path = entry["http"]["path"]
            if shape := SHAPED.get(path.removeprefix("/api")):
                async with http.get(path) as response:
                    assert response.status == entry["status"]
                    got = await response.json(content_type=None) if path != "/" else None
                    assert shape(got) == shape(entry["body"].get("json")), path
            else:
                await replay.step(index, entry)


def types(value: Any) -> Any:
    """The same with types for values; the first of a list stands for all."""
    if isinstance(value, dict):
        return {key: types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [types(item) for item in value[:1]]
    return type(value).__name__


def system_types(value: Any) -> Any:
    """Without what a CPU lacks: a device's index; and versions that a machine may not have installed."""
    told: dict[str, Any] = types(value)
    told["devices"][0].pop("index")
    return told


def folder_names(value: dict[str, Any]) -> Any:
    return list(value)


def upload_combo(value: dict[str, Any]) -> Any:
    value["LoadImage"]["input"]["required"]["image"][0] = []
    return value


SHAPED: dict[str, Callable[[Any], Any]] = {
    "/system_stats": system_types,
    "/extensions": types,
    "/internal/folder_paths": folder_names,
    "/internal/files/output": lambda value: isinstance(value, list),
    "/object_info/LoadImage": upload_combo,
    "/object_info": lambda _: None,
    "/users": types,
    "/": lambda _: None,
}
