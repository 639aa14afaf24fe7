"""What a server tells of itself, and how it answers what it does not know."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.conformance.client import Client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/system_stats", "/api/system_stats"])
async def test_the_machine(client: Client, path: str) -> None:
    told = (await client.get(path)).json
    assert set(told) == {"system", "devices"}
    known = {
        "os",
        "ram_total",
        "ram_free",
        "comfyui_version",
        "python_version",
        "pytorch_version",
        "embedded_python",
        "argv",
    }
    assert known <= set(told["system"])
    assert told["devices"]
    sizes = ("vram_total", "vram_free", "torch_vram_total", "torch_vram_free")
    for device in told["devices"]:
        assert set(device) == {"name", "type", "index", *sizes}
        assert all(isinstance(device[size], int) for size in sizes)
        assert 0 < device["vram_free"] <= device["vram_total"]


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_the_node_classes(client: Client, prefix: str) -> None:
    every = (await client.get(f"{prefix}/object_info")).json
    assert {"EmptyImage", "SaveImage", "LoadImage", "KSampler", "ProbeSleep"} <= set(every)
    one = (await client.get(f"{prefix}/object_info/SaveImage")).json
    assert one == {"SaveImage": every["SaveImage"]}
    info = one["SaveImage"]
    assert info["name"] == "SaveImage"
    assert info["output_node"] is True
    assert list(info["input"]["required"]) == info["input_order"]["required"] == ["images", "filename_prefix"]
    assert ("search_aliases" in info) is client.target.is_new
    assert (await client.get(f"{prefix}/object_info/Nope")).json == {}


async def test_lists(client: Client) -> None:
    assert isinstance((await client.get("/embeddings")).json, list)
    extensions = (await client.get("/extensions")).json
    assert extensions
    assert all(path.startswith("/extensions/") and path.endswith(".js") for path in extensions)
    assert (await client.get(extensions[0])).status == 200
    folders = (await client.get("/models")).json
    assert {"checkpoints", "loras", "vae", "controlnet"} <= set(folders)
    assert tuple((await client.get("/models/checkpoints")).json) == client.target.models
    missing = await client.get("/models/nope")
    assert (missing.status, missing.body) == (404, b"")


async def test_flags(client: Client) -> None:
    flags = (await client.get("/features")).json
    assert flags["supports_preview_metadata"] is True
    assert isinstance(flags["max_upload_size"], int)
    assert (await client.get("/api/features")).json == flags


async def test_what_a_model_file_says(client: Client) -> None:
    assert (await client.get("/view_metadata/checkpoints")).status == 404
    assert (await client.get("/view_metadata/checkpoints", filename="nope.safetensors")).status == 404
    if client.target.models:
        found = await client.get("/view_metadata/checkpoints", filename=client.target.models[0])
        assert isinstance(found.json, dict)
    posted = await client.ask("POST", "/view_metadata/checkpoints")
    assert (posted.status == 405) is not client.target.differs("post-view-metadata")


async def test_small_documents_of_the_frontend(client: Client) -> None:
    assert (await client.get("/")).headers["Content-Type"].startswith("text/html")
    assert (await client.get("/api/")).status == 200
    assert isinstance((await client.get("/i18n")).json, dict)
    assert isinstance((await client.get("/workflow_templates")).json, dict)
    assert (await client.get("/global_subgraphs")).status == (200 if client.target.is_new else 404)
    assert isinstance((await client.get("/experiment/models")).json, list)
    assert (await client.get("/experiment/models/nope")).status == 404


async def test_internal_routes_have_no_twin(client: Client) -> None:
    assert isinstance((await client.get("/internal/logs")).json, str)
    assert set((await client.get("/internal/logs/raw")).json) == {"entries", "size"}
    assert isinstance((await client.get("/internal/files/output")).json, list)
    wrong = await client.get("/internal/files/nope")
    assert (wrong.status, wrong.json) == (400, {"error": "Invalid directory type"})
    assert (await client.get("/api/internal/logs")).status == 404


async def test_unknown_paths(client: Client) -> None:
    answer = await client.get("/nothing-here")
    assert (answer.status, answer.body) == (404, b"")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    for method in ("POST", "PUT", "DELETE"):
        refused = await client.ask(method, "/nothing-here")
        assert (refused.status, refused.text) == (405, "405: Method Not Allowed")


async def test_a_wrong_method_is_told_the_right_ones(client: Client) -> None:
    answer = await client.ask("PUT", "/prompt", json={})
    assert (answer.status, answer.text) == (405, "405: Method Not Allowed")
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(","))


async def test_head_and_options(client: Client) -> None:
    head = await client.ask("HEAD", "/prompt")
    assert (head.status, head.body) == (200, b"")
    for path in ("/prompt", "/nothing-here"):
        options = await client.ask("OPTIONS", path)
        assert (options.status, options.body) == (200, b"")


async def test_a_socket_needs_an_upgrade(client: Client) -> None:
    answer = await client.get("/ws")
    assert answer.status == 400
    assert answer.text.startswith("No WebSocket UPGRADE hdr")


async def test_pages_of_other_sites_are_kept_out(client: Client) -> None:
    foreign = await client.ask("GET", "/prompt", headers={"Origin": "http://evil.example"})
    assert (foreign.status, foreign.body) == (403, b"")
    own = f"http://{urlsplit(client.target.url).netloc}"
    assert (await client.ask("GET", "/prompt", headers={"Origin": own})).status == 200
    crossing = await client.ask("GET", "/prompt", headers={"Sec-Fetch-Site": "cross-site"})
    if not client.target.is_gateway:
        assert crossing.status == (403 if client.target.is_new else 200)
