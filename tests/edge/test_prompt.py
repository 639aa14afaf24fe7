from __future__ import annotations

import json
from typing import Any

import pytest

from tests.farm import Client, Farm, picture, sleeping
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_prompt_is_taken_whatever_its_content_type(behind: Scripted, caller: Client, prefix: str) -> None:
    body = json.dumps({"prompt": picture()}).encode()
    answer = await caller.ask("POST", f"{prefix}/prompt", data=body, headers={"Content-Type": "text/nonsense"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["prompt_id", "number", "node_errors"]
    assert answer.json["number"] == 0
    assert len(behind.received) == 1
    told = await caller.ask("GET", f"{prefix}/prompt")
    assert told.body == b'{"exec_info": {"queue_remaining": 1}}'


POISON: list[tuple[Any, int]] = [
    (b"", 500),
    (b"{", 500),
    (b"5", 500),
    (b"[]", 400),
    (b"{}", 400),
    ({"prompt": 5}, 500),
    ({"prompt": picture(), "number": "x"}, 500),
    ({"prompt": picture(), "extra_data": None}, 400),
    ({"prompt": picture(), "client_id": ["a"]}, 400),
    ({"prompt": picture(), "number": float("nan")}, 400),
    ({"prompt": picture(), "prompt_id": "x" * 600}, 400),
    ({"prompt": {"1": {"class_type": ["a"]}}}, 500),
]


async def test_what_would_harm_a_worker_reaches_none(behind: Scripted, caller: Client) -> None:
    for body, status in POISON:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await caller.ask("POST", "/prompt", data=data)
        assert answer.status == status, body
        if status == 400:
            assert set(answer.json) == {"error", "node_errors"}
    assert behind.requests["POST /prompt"] == 0
    assert (await caller.get("/prompt"))["exec_info"]["queue_remaining"] == 0
    assert (await caller.post(picture())).status == 200


async def test_the_count_is_of_the_whole_farm(whole: Farm, caller: Client) -> None:
    for client in (caller, whole.client(), whole.client(None)):
        await client.submit(sleeping())
    assert (await caller.get("/prompt")) == {"exec_info": {"queue_remaining": 3}}
