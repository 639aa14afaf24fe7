"""Outputs that outlive their worker: real gateways, emulated workers, a folder as blob store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.adapters.comfy_files import ComfyFiles
from gateway.adapters.redis_outputs import RedisOutputs
from gateway.adapters.relay import new_session
from gateway.domain.errors import BlobsUnavailable
from gateway.domain.files import OutputFile
from gateway.domain.ids import WorkerName, new_attempt_id
from gateway.domain.workers import Worker
from gateway.emulator.serve import running
from gateway.emulator.settings import EmulatorSettings
from gateway.flows import keep_outputs
from gateway.flows.keep_outputs import KeepOutputs
from gateway.flows.sharing import Tasks
from tests.adapters.stores import KEYS, opened
from tests.conformance.transcripts import listening
from tests.farm import emulated, farm
from tests.flows.test_outputs import color_of, files, rgb, saved, seen
from tests.servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def test_a_kept_output_is_shown_as_ever_when_its_worker_is_gone(state: str, tmp_path: Path) -> None:
    settings = EmulatorSettings(directory=tmp_path / "w")
    keeping: dict[str, Any] = {"keep_outputs": True, "blobs": (tmp_path / "blobs").as_uri()}
    async with emulated(settings) as workers, farm(state, *workers, **keeping) as whole:
        client = whole.client()
        async with listening(whole.http, whole.urls[0], client.client_id) as ear:
            id = await client.submit(saved(0x123456))
            await ear.ended(id)
            made = files(await client.ended(id))
            file, temp = made["output"], made["temp"]
            assert len([*(tmp_path / "blobs").rglob("outputs/*")]) == 2, "before the end was told"
        direct = await client.ask("GET", "/gateway/workers/w0/view?filename=ComfyUI_00001_.png")
        workers[0].worker.die(9)
        await whole.sees(w0="down")
        answer = await seen(client, **file)
        assert (color_of(answer), answer.body) == (rgb(0x123456), direct.body)
        assert answer.headers["Content-Disposition"] == f'filename="{file["filename"]}"'
        assert answer.headers["ETag"] == direct.headers["ETag"], "what caches have stays good"
        assert color_of(await seen(client, **temp)) == rgb(0x123456)
        target = f"/view?{urlencode(file)}"
        part = await client.ask("GET", target, headers={"Range": "bytes=2-9"})
        assert (part.status, part.body) == (206, direct.body[2:10])
        head = await client.ask("HEAD", target)
        assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(direct.body)), b"")
        known = await client.ask("GET", target, headers={"If-None-Match": answer.headers["ETag"]})
        assert known.status == 304
        assert color_of(await seen(client, **file, channel="rgb")) == rgb(0x123456)
        bare = await seen(client, filename="ComfyUI_00001_.png", client_id=client.client_id or "")
        assert color_of(bare) == rgb(0x123456)
        assert (await seen(client, filename="ComfyUI_00009_~w0.png")).status == 503


async def test_a_kept_output_is_shown_after_its_disk_began_anew(state: str, tmp_path: Path) -> None:
    settings = EmulatorSettings(directory=tmp_path / "w")
    keeping: dict[str, Any] = {"keep_outputs": True, "blobs": (tmp_path / "blobs").as_uri()}
    async with emulated(settings) as workers, farm(state, *workers, **keeping) as whole:
        client = whole.client()
        old = files(await client.ended(await client.submit(saved(1))))["output"]
        shutil.rmtree(tmp_path / "w" / "output")
        (tmp_path / "w" / "output").mkdir()
        new = files(await client.ended(await client.submit(saved(2))))["output"]
        assert (old["filename"], new["filename"]) == ("ComfyUI_00001_~w0.png", "ComfyUI_00001_~w0.2.png")
        assert color_of(await seen(client, **old)) == rgb(1)
        assert color_of(await seen(client, **new)) == rgb(2)
        again = files(await client.ended(await client.submit(saved(2))))["output"]
        assert color_of(await seen(client, **again)) == rgb(2)


class Told:
    """A recorder that counts what was not kept."""

    def __init__(self) -> None:
        self.lost = 0

    def not_kept(self) -> None:
        self.lost += 1


class NoBlobs:
    """A blob store that is away."""

    def __init__(self) -> None:
        self.tries = 0

    async def put(self, chunks: Any, name: str = "") -> Any:
        self.tries += 1
        raise BlobsUnavailable("away")


async def test_a_copy_that_fails_is_tried_again_and_then_costs_no_prompt(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_outputs, "_PAUSE", 0.0)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "x.png").write_bytes(b"x")
    async with (
        opened(state) as store,
        new_session() as session,
        running(EmulatorSettings(directory=tmp_path)) as server,
    ):
        blobs, told, tasks = NoBlobs(), Told(), Tasks()
        outputs = RedisOutputs(store.redis, KEYS, ttl=60)
        worker_files = ComfyFiles(session, connect_timeout=1)
        keeps = KeepOutputs(outputs, blobs, worker_files, tasks, told)  # type: ignore[arg-type]
        worker, attempt = Worker(WorkerName("w"), server.url), new_attempt_id()
        there, gone = (OutputFile("output", "", name) for name in ("x.png", "gone.png"))
        copies = {file: file._replace(filename=f"{file.filename[:-4]}~w.png") for file in (there, gone)}

        async def done() -> bool:
            return await keeps.copied(attempt, worker, copies)

        await until(done, "it is given up")
        assert (blobs.tries, told.lost) == (3, 2), "what is not there is not tried again"
        assert await keeps.find(copies[there]) is None
        assert await keeps.copied(new_attempt_id(), worker, {})
        await tasks.close(1)
