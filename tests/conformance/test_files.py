"""Uploads, views, and files that go from one prompt into the next."""

from __future__ import annotations

import io
import json
import re
import uuid
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.conformance.client import Answer, Client, files, picture

pytestmark = pytest.mark.anyio


def png(color: tuple[int, ...] = (255, 0, 0)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB" if len(color) == 3 else "RGBA", (8, 8), color).save(buffer, format="PNG")
    return buffer.getvalue()


async def upload(client: Client, name: str, data: bytes, path: str = "/upload/image", **fields: str) -> Answer:
    form = aiohttp.FormData(fields, quote_fields=False)
    form.add_field("image", data, filename=name, content_type="image/png")
    return await client.ask("POST", path, data=form)


def fresh(extension: str = "png") -> str:
    return f"c{uuid.uuid4().hex}.{extension}"


def opened(answer: Answer) -> Image.Image:
    return Image.open(io.BytesIO(answer.body))


@pytest.mark.parametrize("path", ["/upload/image", "/api/upload/image"])
async def test_an_upload_keeps_its_name_while_it_can(client: Client, path: str) -> None:
    name = fresh()
    stem = name.removesuffix(".png")
    assert (await upload(client, name, png(), path)).json == {"name": name, "subfolder": "", "type": "input"}
    assert (await upload(client, name, png(), path)).json["name"] == name
    assert (await upload(client, name, png((0, 255, 0)), path)).json["name"] == f"{stem} (1).png"
    assert (await upload(client, name, png((0, 255, 0)), path)).json["name"] == f"{stem} (1).png"
    assert (await upload(client, name, png((0, 0, 255)), path, overwrite="True")).json["name"] == f"{stem} (2).png"
    assert (await upload(client, name, png((0, 0, 255)), path, overwrite="true")).json["name"] == name
    assert (await client.get("/view", filename=name, type="input")).body == png((0, 0, 255))


async def test_an_upload_into_a_subfolder_and_of_a_type(client: Client) -> None:
    name = fresh()
    told = (await upload(client, name, png(), subfolder="a/b", type="temp")).json
    assert told == {"name": name, "subfolder": "a/b", "type": "temp"}
    assert (await client.get("/view", filename=name, type="temp", subfolder="a/b")).status == 200
    assert (await client.get("/view", filename=name, type="input", subfolder="a/b")).status == 404


async def test_uploads_that_are_refused(client: Client) -> None:
    assert (await upload(client, fresh(), png(), subfolder="../..")).status == 400
    assert (await upload(client, "../../x.png", png())).status == 400
    assert (await upload(client, fresh(), png(), type="bad")).status == 500
    assert (await client.ask("POST", "/upload/image", data=aiohttp.FormData({"type": "input"}))).status == 400
    assert (await client.ask("POST", "/upload/image", data=b"no form")).status == 400


async def test_a_mask_is_laid_over_its_original(client: Client) -> None:
    original, name = fresh(), fresh()
    await upload(client, original, png((10, 20, 30)))
    ref = json.dumps({"filename": original, "type": "input"})
    answer = await upload(client, name, png((0, 0, 0, 77)), "/upload/mask", subfolder="clipspace", original_ref=ref)
    assert answer.json == {"name": name, "subfolder": "clipspace", "type": "input"}
    image = opened(await client.get("/view", filename=name, type="input", subfolder="clipspace"))
    assert image.getpixel((0, 0)) == (10, 20, 30, 77)


async def test_a_mask_without_its_original(client: Client) -> None:
    ref = json.dumps({"filename": fresh(), "type": "input"})
    name = fresh()
    answer = await upload(client, name, png((0, 0, 0, 77)), "/upload/mask", original_ref=ref)
    assert answer.status == (400 if client.target.differs("mask-original") else 200)
    assert (await client.get("/view", filename=name, type="input")).status == 404
    assert (await upload(client, fresh(), png(), "/upload/mask")).status == 500


@pytest.mark.parametrize("path", ["/view", "/api/view"])
async def test_a_result_is_seen(client: Client, path: str) -> None:
    [file] = files(await client.run(picture(color=0x102030)))
    answer = await client.get(path, **file)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == f'filename="{file["filename"]}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    if client.target.differs("farm-names"):
        assert re.fullmatch(r"conformance_\d{5}_~[\w.-]+\.png", file["filename"])
    assert opened(answer).getpixel((0, 0)) == (0x10, 0x20, 0x30)
    only = await client.get(path, filename=file["filename"])
    assert only.body == answer.body
    assert (await client.get(path, **file, rand="0.5")).body == answer.body


async def test_the_workflow_is_in_the_picture(client: Client) -> None:
    graph = picture()
    workflow = {"id": "w", "nodes": []}
    [file] = files(await client.run(graph, extra_data={"extra_pnginfo": {"workflow": workflow}}))
    texts: Any = opened(await client.get("/view", **file)).info
    assert json.loads(texts["prompt"]) == graph
    assert json.loads(texts["workflow"]) == workflow


async def test_parts_heads_and_unchanged_files(client: Client) -> None:
    [file] = files(await client.run(picture()))
    whole = await client.get("/view", **file)
    part = await client.ask("GET", "/view", params=file, headers={"Range": "bytes=2-9"})
    assert (part.status, part.body) == (206, whole.body[2:10])
    assert part.headers["Content-Range"] == f"bytes 2-9/{len(whole.body)}"
    head = await client.ask("HEAD", "/view", params=file)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(whole.body)))
    known = {"If-None-Match": whole.headers["ETag"]}
    assert (await client.ask("GET", "/view", params=file, headers=known)).status == 304
    beyond = await client.ask("GET", "/view", params=file, headers={"Range": "bytes=999999-"})
    assert beyond.status == 416


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 404),
        ({"filename": "gone.png"}, 404),
        ({"filename": "../x.png"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": ""}, 400),
        ({"filename": "x.png", "type": "bad"}, 400),
        ({"filename": "x.png", "subfolder": "../.."}, 403),
    ],
)
async def test_what_is_not_to_be_seen(client: Client, query: dict[str, str], status: int) -> None:
    answer = await client.get("/view", **query)
    assert (answer.status, answer.body) == (status, b"")


async def test_views_are_converted(client: Client) -> None:
    name = fresh()
    await upload(client, name, png((1, 2, 3, 128)))
    seen = {"filename": name, "type": "input"}
    webp = await client.get("/view", **seen, preview="webp;50")
    assert (webp.headers["Content-Type"], opened(webp).format) == ("image/webp", "WEBP")
    jpeg = await client.get("/view", **seen, preview="jpeg;90")
    assert (jpeg.headers["Content-Type"], opened(jpeg).format) == ("image/jpeg", "JPEG")
    assert opened(await client.get("/view", **seen, channel="rgb")).getpixel((0, 0)) == (1, 2, 3)
    assert opened(await client.get("/view", **seen, channel="a")).getpixel((0, 0)) == (0, 0, 0, 128)


async def test_an_annotated_name_overrules_the_type(client: Client) -> None:
    name = fresh()
    await upload(client, name, png())
    assert (await client.get("/view", filename=f"{name} [input]")).body == png()
    assert (await client.get("/view", filename=f"{name} [temp]", type="input")).status == 404


async def test_what_a_browser_would_run_is_not_served_as_that(client: Client) -> None:
    html, svg = fresh("html"), fresh("svg")
    await upload(client, html, b"<script>alert(1)</script>")
    await upload(client, svg, b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    page = await client.get("/view", filename=html, type="input")
    drawing = await client.get("/view", filename=svg, type="input")
    assert page.headers["Content-Type"] == "application/octet-stream"
    if client.target.is_new or client.target.is_gateway:
        assert page.headers["Content-Disposition"] == f'attachment; filename="{html}"'
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert drawing.headers["Content-Type"] == "application/octet-stream"
    else:
        assert page.headers["Content-Disposition"] == f'filename="{html}"'
        assert drawing.headers["Content-Type"] == "image/svg+xml"


async def test_an_upload_goes_into_a_prompt(client: Client) -> None:
    name = fresh()
    await upload(client, name, png((7, 8, 9)), subfolder="sub")
    for value in (f"sub/{name}", f"sub/{name} [input]"):
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": value}},
            "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "in/verted"}},
        }
        [file] = files(await client.run(graph))
        assert file["subfolder"] == "in"
        assert opened(await client.get("/view", **file)).getpixel((0, 0)) == (248, 247, 246)


async def test_a_result_goes_into_the_next_prompt(client: Client) -> None:
    [file] = files(await client.run(picture(color=0x0A0B0C)))
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": f"{file['filename']} [output]"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    [seen] = files(await client.run(graph))
    assert seen["type"] == "temp"
    assert opened(await client.get("/view", **seen)).getpixel((0, 0)) == (10, 11, 12)


async def test_pictures_are_counted_and_named_by_their_size(client: Client) -> None:
    prefix = f"p{uuid.uuid4().hex}/%width%x%height%"
    names = [files(await client.run(picture(prefix)))[0]["filename"] for _ in range(2)]
    assert all(name.startswith("32x16_0000") for name in names)
    if not client.target.differs("one-disk"):
        assert names == ["32x16_00001_.png", "32x16_00002_.png"]


async def test_saving_outside_the_output_folder_fails(client: Client) -> None:
    record = await client.run(picture("../../outside"))
    assert record["status"]["messages"][-1][0] == "execution_error"
