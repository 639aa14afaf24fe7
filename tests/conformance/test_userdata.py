"""Users, settings, and the files that a user keeps on the server."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from yarl import URL

from tests.conformance.client import Answer, Client

pytestmark = pytest.mark.anyio


async def at(client: Client, method: str, path: str, data: bytes | None = None) -> Answer:
    """Sends the path as it stands, %2F and all."""
    url = URL(client.target.url + path, encoded=True)
    async with client.http.request(method, url, data=data) as response:
        return Answer(response.status, response.headers, await response.read())


@pytest.fixture
def folder() -> str:
    return f"conformance-{uuid.uuid4().hex}"


async def test_the_one_user(client: Client) -> None:
    told = (await client.get("/users")).json
    assert told["storage"] == "server"
    assert isinstance(told["migrated"], bool)


async def test_settings_are_merged(client: Client) -> None:
    name = f"Conformance.{uuid.uuid4().hex}"
    assert (await client.get(f"/settings/{name}")).json is None
    answer = await client.post("/settings", {name: 1})
    assert (answer.status, answer.body) == (200, b"")
    assert (await client.post(f"/api/settings/{name}.two", {"a": [1]})).status == 200
    settings = (await client.get("/settings")).json
    assert (settings[name], settings[f"{name}.two"]) == (1, {"a": [1]})
    assert (await client.get(f"/settings/{name}")).json == 1
    assert (await client.ask("POST", "/settings", data=b"{")).status == 500


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_file_is_kept_moved_and_deleted(client: Client, folder: str, prefix: str) -> None:
    file, moved = f"{folder}%2Fa.json", f"{folder}%2Fb.json"
    assert (await at(client, "GET", f"{prefix}/userdata/{file}")).status == 404
    saved = await at(client, "POST", f"{prefix}/userdata/{file}", b"[1]")
    assert (saved.status, saved.json) == (200, f"{folder}/a.json")
    assert (await at(client, "GET", f"{prefix}/userdata/{file}")).body == b"[1]"
    again = await at(client, "POST", f"{prefix}/userdata/{file}?overwrite=false", b"[2]")
    assert (again.status, again.text) == (409, "File already exists")
    renamed = await at(client, "POST", f"{prefix}/userdata/{file}/move/{moved}?full_info=true")
    assert renamed.json["path"] == f"{folder}/b.json"
    assert (await at(client, "GET", f"{prefix}/userdata/{file}")).status == 404
    assert (await at(client, "POST", f"{prefix}/userdata/{file}/move/{moved}")).status == 404
    gone = await at(client, "DELETE", f"{prefix}/userdata/{moved}")
    assert (gone.status, gone.body) == (204, b"")
    assert (await at(client, "DELETE", f"{prefix}/userdata/{moved}")).status == 404


async def test_lists_of_files(client: Client, folder: str) -> None:
    for name in ("a.json", "sub%2Fb.json"):
        await at(client, "POST", f"/userdata/{folder}%2F{name}", b"{}")
    assert (await client.get("/userdata", dir=folder)).json == ["a.json"]
    deep = (await client.get("/userdata", dir=folder, recurse="true")).json
    assert sorted(deep) == ["a.json", "sub/b.json"]
    split = (await client.get("/userdata", dir=folder, recurse="true", split="true")).json
    assert sorted(split) == [["a.json", "a.json"], ["sub/b.json", "sub", "b.json"]]
    [full] = (await client.get("/userdata", dir=folder, full_info="true")).json
    assert (set(full), full["path"], full["size"]) == ({"path", "size", "modified", "created"}, "a.json", 2)
    assert (full["modified"] > 10**12) is client.target.is_new
    tree: list[Any] = (await client.get("/v2/userdata", path=folder)).json
    assert [entry["name"] for entry in tree] == ["sub", "a.json", "b.json"]
    assert [entry["type"] for entry in tree] == ["directory", "file", "file"]
    assert tree[2]["path"] == f"{folder}/sub/b.json"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/userdata", 400, "Directory not provided"),
        ("/userdata?dir=../..", 403, "Invalid directory"),
        ("/userdata?dir=conformance-nowhere", 404, "Directory not found"),
        ("/v2/userdata?path=conformance-nowhere", 404, "Requested path not found"),
        ("/v2/userdata?path=../..", 400, "Invalid path requested"),
        ("/userdata/..%2F..%2Fx", 403, ""),
    ],
)
async def test_what_is_not_listed(client: Client, path: str, status: int, text: str) -> None:
    answer = await at(client, "GET", path)
    assert (answer.status, answer.text) == (status, text)
