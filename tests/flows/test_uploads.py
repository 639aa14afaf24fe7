from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.farm import Client, Graph, picture
from tests.s3 import s3_server
from tests.uploading import a_color, load, png, running_farm, shown, upload

pytestmark = pytest.mark.anyio


async def test_an_upload_to_one_gateway_is_there_for_another(state: str, tmp_path: Path) -> None:
    color = a_color()
    async with running_farm(state, tmp_path, replicas=2) as (whole, _):
        assert (await upload(whole.client(at=0), "x.png", png(color))).json["name"] == "x.png"
        client = whole.client(at=1)
        assert await shown(client, await client.submit(load("x.png"))) == color
        seen = await client.ask("GET", "/view", params={"filename": "x.png", "type": "input"})
        assert seen.body == png(color)


async def test_uploads_of_one_name_at_once_to_two_gateways_all_get_their_own(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, replicas=2) as (whole, _):
        clients = [whole.client(at=at) for at in (0, 1)]
        pictures = [png((n, n, n)) for n in range(12)]
        told = await asyncio.gather(*(upload(clients[n % 2], "x.png", data) for n, data in enumerate(pictures)))
        names = [answer.json["name"] for answer in told]
        assert sorted(names) == sorted(["x.png", *(f"x ({n}).png" for n in range(1, 12))])
        for name, data in zip(names, pictures, strict=True):
            seen = await clients[0].ask("GET", "/view", params={"filename": name, "type": "input"})
            assert seen.body == data


@pytest.mark.parametrize("name", ['a "quoted" ü~ (1).png', "no extension", "back\\slash.png", "per%20cent;=,.png"])
async def test_odd_names_arrive_as_they_are(state: str, tmp_path: Path, name: str) -> None:
    color = a_color()
    async with running_farm(state, tmp_path, 1) as (whole, _):
        client = whole.client()
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="' + quoted.encode() + b'"\r\n\r\n'
        body += png(color) + b"\r\n--b--\r\n"
        answer = await client.ask(
            "POST", "/upload/image", data=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert answer.json["name"] == name
        assert await shown(client, await client.submit(load(name))) == color
        assert (await client.ask("GET", "/view", params={"filename": name, "type": "input"})).body == png(color)


async def test_an_upload_over_the_limit_leaves_nothing(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 1, max_upload=2**20, data_dir=tmp_path / "data") as (whole, _):
        client = whole.client()
        answer = await upload(client, "x.png", bytes(2**20))
        assert (answer.status, answer.body) == (413, b"Maximum request body size 1048576 exceeded.")

        async def endless() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'
            for _ in range(4):
                yield bytes(2**19)

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await client.ask("POST", "/upload/image", data=endless(), headers=headers)
        assert answer.status == 413
        assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


async def test_the_same_with_a_bucket(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    color = a_color()
    with s3_server() as server:
        server.let_in(monkeypatch)
        blobs = server.bucket("farm")
        async with running_farm(state, tmp_path, replicas=2, blobs=blobs, data_dir=tmp_path / "data") as (whole, _):
            client, other = whole.client(at=0), whole.client(at=1)
            assert (await upload(client, "x.png", png(color))).json["name"] == "x.png"
            assert (await upload(other, "x.png", png(color))).json["name"] == "x.png"
            assert (await upload(other, "x.png", png((1, 1, 1)))).json["name"] == "x (1).png"
            assert await shown(other, await other.submit(load("x.png"))) == color
            seen = await other.ask("GET", "/view", params={"filename": "x.png", "type": "input"})
            assert seen.body == png(color)
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def saved(prefix: str) -> Graph:
    inputs = {"images": ["1", 0], "filename_prefix": prefix}
    return {"1": picture()["1"], "3": {"class_type": "SaveImage", "inputs": inputs}}


async def test_what_a_prompt_wrote_is_never_taken_for_an_upload(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 1) as (whole, _):
        owner, other = whole.client(), whole.client()
        record = await owner.ended(await owner.submit(saved("mine")))
        [file] = record["outputs"]["3"]["images"]
        assert file["filename"] == "mine_00001_~w0.png"
        written = (tmp_path / "w0/output/mine_00001_.png").read_bytes()
        refused = await upload(other, file["filename"], png((9, 9, 9)), type="output")
        assert (refused.status, refused.body) == (400, b"")
        told = await upload(other, "mine_00001_.png", png((9, 9, 9)), type="output")
        assert told.json == {"name": "mine_00001_.png", "subfolder": "", "type": "output"}

        async def seen(client: Client, name: str) -> bytes:
            query = {"filename": name, "client_id": client.client_id or ""}
            return (await client.ask("GET", "/view", params=query)).body

        assert await seen(owner, file["filename"]) == written
        assert await seen(owner, "mine_00001_.png") == written
        assert await seen(other, "mine_00001_.png") == png((9, 9, 9))
        refused = await other.post(load("mine_00001_.png [output]"))
        assert refused.status != 200
        assert (tmp_path / "w0/output/mine_00001_.png").read_bytes() == written
