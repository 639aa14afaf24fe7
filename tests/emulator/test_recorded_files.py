"""The recorded uploads and views, and the recorded double connection, come out the same here."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.emulator.replay import Replay, recording

pytestmark = pytest.mark.anyio


def png(color: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB" if len(color) == 3 else "RGBA", (8, 8), color).save(buffer, format="PNG")
    return buffer.getvalue()


ONE, OTHER, MASK = png((1, 2, 3)), png((200, 2, 3)), png((0, 0, 0, 128))
ORIGINAL = json.dumps({"filename": "rec.png", "type": "input"})
GONE = json.dumps({"filename": "gone.png", "type": "input"})
FORMS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "first": ("rec.png", ONE, {}),
    "same name, same bytes": ("rec.png", ONE, {}),
    "same name, other bytes: renamed": ("rec.png", OTHER, {}),
    "again the other bytes": ("rec.png", OTHER, {}),
    "overwrite": ("rec.png", OTHER, {"overwrite": "true"}),
    "into a subfolder": ("rec.png", ONE, {"subfolder": "a/b"}),
    "type temp": ("t.png", ONE, {"type": "temp"}),
    "type output": ("o.png", ONE, {"type": "output"}),
    "escape attempt": ("x.png", ONE, {"subfolder": "../.."}),
    "no file": ("", b"", {"type": "input"}),
    "bad type": ("x.png", ONE, {"type": "bad"}),
    "mask over rec.png": ("masked.png", MASK, {"subfolder": "clipspace", "original_ref": ORIGINAL}),
    "the original is not there": ("masked2.png", MASK, {"subfolder": "clipspace", "original_ref": GONE}),
    "no original_ref": ("masked3.png", MASK, {"subfolder": "clipspace"}),
}


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(EmulatorSettings(directory=tmp_path)) as started:
        yield started


def form(note: str) -> aiohttp.FormData:
    name, data, fields = FORMS[note]
    filled = aiohttp.FormData(fields)
    if name:
        filled.add_field("image", data, filename=name, content_type="image/png")
    return filled


async def test_uploads_and_views_replay(worker: Running) -> None:
    entries = recording("files")
    worker.worker.number = 38
    async with Replay(worker, entries) as replay:
        client = next(entry["ws"] for entry in entries if "ws" in entry)
        await replay.connect(client, f"?clientId={client}")
        for index, entry in enumerate(entries):
            if "http" in entry and entry["http"].get("data") == "<form>":
                entry = {**entry, "http": {**entry["http"], "data": form(entry["note"])}}
            await replay.step(index, entry)


async def test_the_newer_socket_of_a_client_receives_and_the_older_stays_deaf(worker: Running) -> None:
    entries = recording("sockets")
    worker.worker.number = 39
    output = worker.worker.folders.kind("output")
    assert output is not None
    (output / "ComfyUI_00009_.png").touch()
    sid = entries[1]["text"]["data"]["sid"]
    async with Replay(worker, entries) as replay:
        nobody = await replay.connect("no-client-id", "")
        minted: dict[str, Any] = json.loads(await nobody.next())
        assert len(minted["data"]["sid"]) == len(entries[0]["text"]["data"]["sid"]) == 32
        first = await replay.connect("first", f"?clientId={sid}")
        for index, entry in enumerate(entries[1:], 1):
            if str(entry.get("note", "")).startswith("the same clientId connects"):
                await first.count("progress", 1)
                await first.count_binary(1)
                await replay.connect("second", f"?clientId={sid}")
            await replay.step(index, entry)


async def test_the_end_of_the_older_socket_makes_the_newer_one_deaf(worker: Running) -> None:
    async with Replay(worker, []) as replay:
        older = await replay.connect("older", "?clientId=twice")
        newer = await replay.connect("newer", "?clientId=twice")
        await newer.next()
        await older.close()
        async with aiohttp.ClientSession(worker.url) as http, http.post("/queue", json={"clear": True}) as response:
            assert response.status == 200
        await newer.silent()
