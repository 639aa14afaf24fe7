from __future__ import annotations

from typing import Any

import pytest

from tests.farm import Client, picture

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ([], "url"),
        ({"url": 5}, "url"),
        ({"url": "gpu:8188"}, "url"),
        ({"url": "gpu:8188", "name": "w1"}, "url"),
        ({"url": "http://g\x00pu:8188", "name": "w1"}, "url"),
        ({"url": "http://gpu:8188", "name": "a/b"}, "name"),
        ({"url": "http://gpu:8188", "labels": 5}, "labels"),
        ({"url": "http://gpu:8188", "name": ".."}, "name"),
    ],
)
async def test_a_worker_that_cannot_be_is_refused_by_its_field(caller: Client, body: Any, field: str) -> None:
    answer = await caller.send("/gateway/workers", body)
    assert (answer.status, answer.json["error"]["extra_info"]) == (400, {"field": field})
    assert [worker["name"] for worker in (await caller.get("/gateway/workers"))["workers"]] == ["w0"]


async def test_a_worker_without_a_name_is_named_after_its_address(caller: Client) -> None:
    answer = await caller.send("/gateway/workers", {"url": "http://127.0.0.1:9/"})
    assert (answer.status, answer.json["url"]) == (201, "http://127.0.0.1:9")
    name = answer.json["name"]
    assert (await caller.get(f"/gateway/workers/{name}"))["url"] == "http://127.0.0.1:9"
    assert (await caller.ask("DELETE", f"/gateway/workers/{name}")).body == b""


async def test_drain_and_resume_tell_the_worker(caller: Client) -> None:
    for action, draining in (("drain", True), ("drain", True), ("resume", False)):
        answer = await caller.send(f"/gateway/workers/w0/{action}")
        assert (answer.status, answer.json["name"], answer.json["draining"]) == (200, "w0", draining)


async def test_what_is_no_json_is_a_bare_500(caller: Client) -> None:
    assert (await caller.ask("POST", "/gateway/workers", data=b"{")).status == 500


async def test_ids_with_slashes_are_found(caller: Client) -> None:
    await caller.submit(picture(), prompt_id="a/b")
    assert (await caller.job("a/b"))["id"] == "a/b"
    assert (await caller.get("/history/a/b")) == {}
