"""Labels that a prompt asks for, and priorities: where they may stand, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.farm import farm, picture, sleeping
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio


def _asking(way: str, requires: str) -> dict[str, Any]:
    return {"extra_data": {"requires": requires}} if way == "extra_data" else {}


@pytest.mark.parametrize("way", ["extra_data", "header"])
async def test_a_prompt_goes_to_workers_with_its_labels_only(
    state: str, scripted_worker: Scripted, second_worker: Scripted, way: str
) -> None:
    labels = ["w0=small", "w1=big", "w1=eu"]
    async with farm(state, scripted_worker, second_worker, labels=labels) as gateway:
        client = gateway.client()
        assert [worker["labels"] for worker in (await gateway.workers()).values()] == [["small"], ["big", "eu"]]
        body = {"prompt": sleeping(), "client_id": client.client_id, **_asking(way, "eu, big")}
        headers = {"X-Gateway-Requires": "eu, big"} if way == "header" else {}
        ids = [(await client.ask("POST", "/prompt", json=body, headers=headers)).json["prompt_id"] for _ in range(2)]
        await second_worker.runs()
        assert second_worker.prompts() == ids[:1]
        assert not scripted_worker.received
        waits = await client.job(ids[1])
        assert waits["workers"] == {"w0": "lacks the label big", "w1": "busy"}
        assert waits["needs"]["requires"] == ["big", "eu"]
        shown = (await client.get("/queue"))["queue_pending"][0][3]
        assert shown == {**body.get("extra_data", {}), "client_id": client.client_id}


async def test_labels_that_nobody_has_are_refused_and_those_of_one_that_is_away_waited_for(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker, labels=["w1=big"]) as gateway:
        client = gateway.client()
        answer = await client.post(picture(), extra_data={"requires": ["big", "blue"]})
        assert answer.status == 400
        assert answer.json["error"]["extra_info"] == {"field": "extra_data.requires"}
        assert "big, blue" in answer.json["error"]["message"]
        await second_worker.down()
        await gateway.sees(w1="down")
        id = await client.submit(picture(), extra_data={"requires": ["big"]})
        assert (await client.job(id))["state"] == "queued"
        await second_worker.up()
        await second_worker.runs()
        assert second_worker.prompts() == [id]
        assert not scripted_worker.received


async def test_a_worker_is_added_with_its_labels_and_keeps_them(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        answer = await client.send("/gateway/workers", {"url": second_worker.url, "name": "x", "labels": ["big"]})
        assert answer.json["labels"] == ["big"]
        for step in ("drain", "resume"):
            assert (await client.send(f"/gateway/workers/x/{step}")).json["labels"] == ["big"]
        wrong = await client.send("/gateway/workers", {"url": "http://other", "labels": "a=b"})
        assert (wrong.status, wrong.json["error"]["extra_info"]) == (400, {"field": "labels"})


async def test_a_priority_is_kept_and_a_bad_one_refused(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        id = await client.submit(picture(), extra_data={"priority": -5})
        assert (await client.job(id))["priority"] == -5
        answer = await client.ask("POST", "/prompt", json={"prompt": picture()}, headers={"X-Gateway-Priority": "100"})
        assert (await client.job(answer.json["prompt_id"]))["priority"] == 100
        answer = await client.post(picture(), extra_data={"priority": 500})
        assert (answer.status, answer.json["error"]["extra_info"]) == (400, {"field": "extra_data.priority"})
