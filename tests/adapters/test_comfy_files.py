"""A worker's folders over its own HTTP: an emulated worker, and some that misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.adapters.comfy_files import ComfyFiles
from gateway.domain.errors import NotFound, WorkerRefused, WorkerRejected, WorkerSilent
from gateway.domain.files.refs import FileRef
from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.wire import nobody

pytestmark = pytest.mark.anyio
X = FileRef("input", "sub/x.png")


@pytest.fixture
async def worker_files() -> AsyncIterator[ComfyFiles]:
    async with aiohttp.ClientSession() as session:
        yield ComfyFiles(session, connect_timeout=1)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(EmulatorSettings(directory=tmp_path)) as worker:
        yield worker


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("path", ["x.png", "sub/x.png", 'a "b"/ü ~&=%20+.png', "back\\slash", "no extension;=,"])
@pytest.mark.parametrize("type", ["input", "output", "temp"])
async def test_what_is_sent_is_there_under_that_very_name(
    worker_files: ComfyFiles, worker: Running, tmp_path: Path, type: str, path: str
) -> None:
    ref = FileRef(type, path)
    assert await worker_files.stat(worker.url, ref) is None
    for data in (b"first", b"second one"):
        await worker_files.send(worker.url, ref, len(data), stream(data[:2], data[2:]), 10)
        assert (tmp_path / type / path).read_bytes() == data
        stat = await worker_files.stat(worker.url, ref)
        assert stat is not None
        async with worker_files.open(worker.url, ref) as opened:
            assert opened.stat == stat
            assert b"".join([chunk async for chunk in opened.chunks]) == data
        assert stat.size == len(data)


async def test_the_etag_changes_when_the_file_does(worker_files: ComfyFiles, worker: Running) -> None:
    await worker_files.send(worker.url, X, 3, stream(b"one"), 10)
    first = await worker_files.stat(worker.url, X)
    assert await worker_files.stat(worker.url, X) == first
    await worker_files.send(worker.url, X, 3, stream(b"two"), 10)
    assert await worker_files.stat(worker.url, X) != first


async def test_what_is_not_there(worker_files: ComfyFiles, worker: Running) -> None:
    with pytest.raises(NotFound):
        async with worker_files.open(worker.url, X):
            pass


async def test_a_source_that_fails_is_not_laid_to_the_worker(worker_files: ComfyFiles, worker: Running) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise NotFound("gone")

    with pytest.raises(NotFound, match="gone"):
        await worker_files.send(worker.url, X, 2, failing(), 10)
    assert await worker_files.stat(worker.url, X) is None


async def test_a_source_of_another_length_is_no_good_upload(worker_files: ComfyFiles, worker: Running) -> None:
    with pytest.raises(WorkerSilent):
        await worker_files.send(worker.url, X, 100, stream(b"short"), 1)


async def test_a_worker_that_is_away_or_refuses(worker_files: ComfyFiles, worker: Running, tmp_path: Path) -> None:
    with pytest.raises(WorkerRefused):
        await worker_files.send(nobody(), X, 1, stream(b"x"), 5)
    with pytest.raises(WorkerRefused):
        await worker_files.stat(nobody(), X)
    (tmp_path / "input/sub").write_bytes(b"in the way")
    with pytest.raises(WorkerRejected) as caught:
        await worker_files.send(worker.url, X, 1, stream(b"x"), 5)
    assert caught.value.status == 500
