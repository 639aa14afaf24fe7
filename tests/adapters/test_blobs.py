"""One contract for every kind of blob store: a folder, and S3 as moto's server speaks it."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.adapters.blobs import ObjectBlobs, open_store
from gateway.domain.errors import BlobsUnavailable, NotFound
from gateway.domain.media import stored_headers
from tests.s3 import S3, s3_server

pytestmark = pytest.mark.anyio
MANY = 20 * 2**20


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectBlobs:
    if request.param == "folder":
        return ObjectBlobs(open_store((tmp_path / "blobs").as_uri()), "inputs")
    server: S3 = request.getfixturevalue("s3")
    server.let_in(monkeypatch)
    return ObjectBlobs(open_store(server.bucket(tmp_path.name)), "inputs")


async def stream(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(blobs: ObjectBlobs, key: str, start: int = 0, end: int | None = None) -> bytes:
    async with blobs.open(key, start, end) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("data", [b"", b"one", bytes(range(256)) * (MANY // 256) + b"."], ids=["none", "few", "many"])
async def test_what_was_put_is_read(blobs: ObjectBlobs, data: bytes) -> None:
    blob = await blobs.put(stream(data))
    assert (blob.size, blob.digest) == (len(data), hashlib.sha256(data).hexdigest())
    assert await read(blobs, blob.key) == data
    assert await read(blobs, blob.key, 1) == data[1:] if data else True
    assert await read(blobs, blob.key, 1, 3) == data[1:3] if data else True
    assert await read(blobs, blob.key, 2, 2) == b""


async def test_equal_bytes_have_one_digest_and_two_keys(blobs: ObjectBlobs) -> None:
    one, two = await blobs.put(stream(b"same")), await blobs.put(stream(b"same"))
    assert one.digest == two.digest
    await blobs.delete(one.key)
    assert await read(blobs, two.key) == b"same"


async def test_what_is_deleted_is_gone(blobs: ObjectBlobs) -> None:
    blob = await blobs.put(stream(b"x"))
    await blobs.delete(blob.key)
    await blobs.delete(blob.key)
    with pytest.raises(NotFound):
        await read(blobs, blob.key)


async def test_what_breaks_off_leaves_nothing(blobs: ObjectBlobs) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield bytes(2 * 2**20)
        raise KeyError("the client left")

    with pytest.raises(KeyError):
        await blobs.put(breaking())
    assert [key async for key in blobs.keys(older_than=-60)] == []


async def test_what_is_cancelled_leaves_nothing(blobs: ObjectBlobs) -> None:
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(2 * 2**20)
            started.set()
            await asyncio.sleep(0.01)

    task = asyncio.ensure_future(blobs.put(endless()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [key async for key in blobs.keys(older_than=-60)] == []


async def test_only_old_ones_are_listed(blobs: ObjectBlobs) -> None:
    blob = await blobs.put(stream(b"x"))
    assert [key async for key in blobs.keys(older_than=-60)] == [blob.key]
    assert [key async for key in blobs.keys(older_than=3600)] == []


async def test_two_folders_of_one_store_know_nothing_of_each_other(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    inputs, outputs = ObjectBlobs(store, "inputs"), ObjectBlobs(store, "outputs")
    blob = await inputs.put(stream(b"x"))
    assert [key async for key in outputs.keys(older_than=-60)] == []
    with pytest.raises(NotFound):
        await read(outputs, blob.key)


async def test_a_signed_url_is_given_where_the_store_can(blobs: ObjectBlobs, request: pytest.FixtureRequest) -> None:
    blob = await blobs.put(stream(b"signed"))
    url = await blobs.url(blob.key, 60)
    if "folder" in request.node.name:
        assert url is None
        return
    assert url is not None
    body = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
    assert body == b"signed"


@pytest.mark.parametrize("name", ["a.png", "b.html", "图 \n.svg"])
async def test_a_store_calls_a_file_by_the_name_that_it_was_put_under(blobs: ObjectBlobs, name: str) -> None:
    url = await blobs.url((await blobs.put(stream(b"x"), name)).key, 60)
    if url is None:
        return
    told = await asyncio.to_thread(lambda: urllib.request.urlopen(url).headers)
    assert {key: told[key] for key in ("Content-Type", "Content-Disposition")} == stored_headers(name)


async def test_a_store_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    away = "endpoint=http://127.0.0.1:9&allow_http=true&region=us-east-1"
    blobs = ObjectBlobs(open_store(f"s3://bucket?{away}"), "inputs")
    with pytest.raises(BlobsUnavailable) as caught:
        await blobs.put(stream(b"x"))
    assert "\n" not in str(caught.value)


async def test_an_option_that_there_is_not_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="colour"):
        open_store("s3://bucket?colour=red")


async def test_memory_stays_flat(tmp_path: Path) -> None:
    """A stream of any size takes a few blocks: here 192 MiB through less than 64."""
    blobs = ObjectBlobs(open_store(str(tmp_path)), "inputs")
    block = bytes(2**20)

    async def large() -> AsyncIterator[bytes]:
        for _ in range(192):
            yield block

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    blob = await blobs.put(large())
    async with blobs.open(blob.key) as chunks:
        assert sum([len(chunk) async for chunk in chunks]) == blob.size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
