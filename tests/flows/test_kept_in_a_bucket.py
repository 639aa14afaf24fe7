"""Outputs kept in a bucket: real gateways, emulated workers, and a server that speaks S3."""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from gateway.emulator.settings import EmulatorSettings
from tests.conformance.transcripts import listening
from tests.farm import Client, Farm, emulated, farm
from tests.flows.test_outputs import color_of, files, rgb, saved, seen
from tests.s3 import S3, s3_server

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3_server() as server:
        server.let_in(monkeypatch)
        yield server


def objects(server: S3, folder: str) -> int:
    with urllib.request.urlopen(f"{server.url}/bucket?list-type=2&prefix={folder}/") as listed:
        return int(listed.read().count(b"<Key>"))


@asynccontextmanager
async def keeping(state: str, s3: S3, folder: Path, redirect: bool) -> AsyncIterator[tuple[Farm, Any]]:
    """One worker, and two gateways that share a folder of the bucket named as the test's own."""
    settings: dict[str, Any] = {"keep_outputs": True, "outputs_redirect": redirect, "blobs": s3.bucket(folder.name)}
    disk = EmulatorSettings(directory=folder / "w")
    async with emulated(disk) as workers, farm(state, *workers, replicas=2, **settings) as whole:
        yield whole, workers[0].worker


async def made(whole: Farm, client: Client, prefix: str, look: Any = None) -> dict[str, str]:
    """The picture that a prompt saved; `look` is called as soon as the end is told."""
    async with listening(whole.http, whole.urls[0], client.client_id) as ear:
        id = await client.submit(saved(0x123456, prefix))
        await ear.ended(id)
        if look:
            look()
        return files(await client.ended(id))["output"]


async def gone(whole: Farm, worker: Any) -> None:
    worker.die(9)
    await whole.sees(w0="down")
    await whole.sees(1, w0="down")


def written(folder: Path, file: dict[str, str]) -> bytes:
    return (folder / "w/output" / file["subfolder"] / file["filename"].replace("~w0", "")).read_bytes()


async def test_a_bucket_has_the_files_before_the_end_is_told(state: str, s3: S3, tmp_path: Path) -> None:
    async with keeping(state, s3, tmp_path, redirect=False) as (whole, worker):
        client, counted = whole.client(), []
        file = await made(whole, client, "x", lambda: counted.append(objects(s3, tmp_path.name)))
        assert counted == [2], "the output and the temp file"
        await gone(whole, worker)
        other = whole.client(at=1)
        answer = await seen(other, **file)
        assert (color_of(answer), answer.body) == (rgb(0x123456), written(tmp_path, file))
        target = f"/view?{urlencode(file)}"
        part = await other.ask("GET", target, headers={"Range": "bytes=3-10"})
        assert (part.status, part.body) == (206, answer.body[3:11])
        assert part.headers["Content-Range"] == f"bytes 3-10/{len(answer.body)}"
        tail = await other.ask("GET", target, headers={"Range": "bytes=-5"})
        assert (tail.status, tail.body) == (206, answer.body[-5:])
        head = await other.ask("HEAD", target)
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(answer.body)))
        assert (await other.ask("GET", target, headers={"If-None-Match": answer.headers["ETag"]})).status == 304


@pytest.mark.parametrize("prefix", ["plain", "with space/and 'more", "grün 図/été", "a+b%20&c"])
async def test_clients_are_sent_to_the_bucket_and_get_that_very_file(
    state: str, s3: S3, tmp_path: Path, prefix: str
) -> None:
    async with keeping(state, s3, tmp_path, redirect=True) as (whole, worker):
        client = whole.client()
        file = await made(whole, client, prefix)
        await gone(whole, worker)
        target = f"/view?{urlencode(file)}"
        sent_on = await client.ask("GET", target, allow_redirects=False)
        to = urlsplit(sent_on.headers["Location"])
        assert (sent_on.status, f"{to.scheme}://{to.netloc}") == (307, s3.url)
        signed = parse_qs(to.query)
        assert (signed["X-Amz-Expires"], bool(signed["X-Amz-Signature"][0])) == (["300"], True)
        whole_file, data = await client.ask("GET", target), written(tmp_path, file)
        assert (whole_file.status, whole_file.body, whole_file.headers["Content-Type"]) == (200, data, "image/png")
        told = whole_file.headers["Content-Disposition"]
        name = file["filename"]
        assert told == (f'filename="{name}"' if name.isascii() else f"inline; filename*=UTF-8''{quote(name)}")
        part = await client.ask("GET", target, headers={"Range": "bytes=2-9"})
        assert (part.status, part.body) == (206, data[2:10])
        head = await client.ask("HEAD", target, allow_redirects=False)
        assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(data)), b"")
        assert head.headers["Content-Disposition"].startswith("filename=")
        preview = await client.ask("GET", f"{target}&preview=webp", allow_redirects=False)
        assert (preview.status, preview.headers["Content-Type"]) == (200, "image/webp")
