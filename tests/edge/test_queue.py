"""The routes of queue, history, interrupt and free: their bodies. What they do is tested with the flows."""

from __future__ import annotations

import pytest

from tests.farm import Client, picture, sleeping
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio


async def test_an_idle_farm_shows_what_an_idle_comfyui_shows(caller: Client) -> None:
    for path, body in (
        ("/queue", b'{"queue_running": [], "queue_pending": []}'),
        ("/history", b"{}"),
        ("/history/nobody", b"{}"),
        ("/history/a/b%20c", b"{}"),
    ):
        for prefix in ("", "/api"):
            answer = await caller.ask("GET", prefix + path)
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("path", ["/queue", "/history", "/free"])
async def test_a_broken_body_is_a_bare_500(caller: Client, path: str) -> None:
    for body in (b"", b"{", b"5", b'["clear"]', b'{"delete": null}' if path != "/free" else b"null"):
        answer = await caller.ask("POST", path, data=body)
        assert (answer.status, answer.body[:3]) == (500, b"500"), body


async def test_an_interrupt_without_a_readable_body_is_a_bare_one(behind: Scripted, caller: Client) -> None:
    headers = {"X-Client-Id": str(caller.client_id)}
    for count, body in enumerate((b"", b"{", b"{}", b'{"prompt_id": ""}', b'{"prompt_id": null}'), 1):
        id = await caller.submit(sleeping())
        await behind.runs(count)
        answer = await caller.ask("POST", "/interrupt", data=body, headers=headers)
        assert (answer.status, answer.body) == (200, b"")
        assert "Content-Type" not in answer.headers
        await caller.ended(id)
    assert len(behind.interrupted) == 5
    for body in (b"[]", b"\xff\xfe", b"[" * 100_000):
        assert (await caller.ask("POST", "/interrupt", data=body)).status == 500


async def test_edits_are_an_empty_200_whatever_was_found(caller: Client) -> None:
    for path, body in (
        ("/queue", {}),
        ("/queue", {"clear": False}),
        ("/queue", {"clear": True}),
        ("/queue", {"delete": ["nobody", 5]}),
        ("/queue", {"delete": "nobody"}),
        ("/queue", {"delete": {"nobody": 1}}),
        ("/queue", []),
        ("/history", "nothing of it"),
        ("/history", {"delete": ["nobody"]}),
        ("/history", {"clear": True, "delete": []}),
        ("/free", {}),
        ("/interrupt", {"prompt_id": "nobody"}),
    ):
        answer = await caller.send(path, body)
        assert (answer.status, answer.body) == (200, b""), path
        assert "Content-Type" not in answer.headers


async def test_clear_and_delete_come_in_one_body(caller: Client) -> None:
    running = await caller.submit(sleeping())
    other = Client(caller._http, caller.url, "other")
    mine, others, stays = [await who.submit(picture()) for who in (caller, other, other)]
    await caller.send("/queue", {"clear": True, "delete": [others], "client_id": caller.client_id})
    assert await caller.queue() == ([running], [stays])
    assert await caller.record(mine) is None
