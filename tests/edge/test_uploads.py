"""What POST /upload/image answers, byte for byte as ComfyUI 0.3.64 (recording files.json)."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.uploading import png, running_farm, upload

pytestmark = pytest.mark.anyio
TROUBLE = b"500 Internal Server Error\n\nServer got itself in trouble"


async def test_replies(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 1) as (whole, _):
        client = whole.client()
        for path in ("/upload/image", "/api/upload/image"):
            told = await upload(client, "rec.png", png((1, 2, 3)), path, subfolder="a//b/.")
            assert told.body == b'{"name": "rec.png", "subfolder": "a//b/.", "type": "input"}'
            assert told.headers["Content-Type"] == "application/json; charset=utf-8"
        seen = await client.ask("GET", "/view", params={"filename": "rec.png", "type": "input", "subfolder": "a/b"})
        assert seen.body == png((1, 2, 3))
        told = await upload(client, "t.png", png((1, 2, 3)), type="temp")
        assert told.json == {"name": "t.png", "subfolder": "", "type": "temp"}
        assert (await client.ask("GET", "/view", params={"filename": "t.png", "type": "temp"})).status == 200


@pytest.mark.parametrize(
    ("name", "fields", "status", "body"),
    [
        ("x.png", {"subfolder": "../.."}, 400, b""),
        ("x.png", {"subfolder": "/etc"}, 400, b""),
        ("../../x.png", {}, 400, b""),
        ("x.png", {"type": "bad"}, 500, TROUBLE),
        ("x.png", {"type": ""}, 500, TROUBLE),
    ],
)
async def test_refusals(
    state: str, tmp_path: Path, name: str, fields: dict[str, str], status: int, body: bytes
) -> None:
    async with running_farm(state, tmp_path, 0, data_dir=tmp_path / "data", wait=False) as (whole, _):
        answer = await upload(whole.client(), name, png((1, 2, 3)), **fields)
        assert (answer.status, answer.body) == (status, body)
        assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


async def test_what_is_no_upload(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 0, wait=False) as (whole, _):
        client = whole.client()
        for data, status in (
            (aiohttp.FormData({"type": "input"}), 400),
            (b"no form", 400),
            (b"", 400),
            (aiohttp.FormData({"image": "text", "x": "y"}), 400),
        ):
            assert (await client.ask("POST", "/upload/image", data=data)).status == status
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("image", "a text")
        answer = await client.ask("POST", "/upload/image", data=form)
        assert (answer.status, answer.body) == (500, TROUBLE)
