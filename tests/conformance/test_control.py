"""What stops a prompt, and what frees memory."""

from __future__ import annotations

import pytest

from tests.conformance.client import Client, picture, sleeping

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/interrupt", "/api/interrupt"])
async def test_the_named_prompt_is_interrupted(client: Client, path: str) -> None:
    prompt_id = await client.submit(sleeping(10))
    await client.running(prompt_id)
    answer = await client.post(path, {"prompt_id": prompt_id})
    assert (answer.status, answer.body) == (200, b"")
    assert "Content-Type" not in answer.headers
    status = (await client.finished(prompt_id, timeout=5))["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    event, data = status["messages"][-1]
    assert event == "execution_interrupted"
    assert (data["prompt_id"], data["node_id"], data["node_type"]) == (prompt_id, "2", "ProbeSleep")
    assert data["executed"] == ["1"]


async def test_a_bare_interrupt_hits_what_runs(client: Client) -> None:
    prompt_id = await client.submit(sleeping(10))
    await client.running(prompt_id)
    assert (await client.ask("POST", "/interrupt", params={"client_id": client.client_id})).status == 200
    assert (await client.finished(prompt_id, timeout=5))["status"]["messages"][-1][0] == "execution_interrupted"


@pytest.mark.parametrize("body", [b"", b"{bad"])
async def test_a_broken_body_is_forgiven(client: Client, body: bytes) -> None:
    assert (await client.ask("POST", "/interrupt", data=body)).status == 200


@pytest.mark.parametrize("body", [b"[]", b"\xff\xfe", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_a_bare_500(client: Client, body: bytes) -> None:
    assert (await client.ask("POST", "/interrupt", data=body)).status == 500


async def test_an_unknown_id_interrupts_nobody(client: Client) -> None:
    prompt_id = await client.submit(sleeping(1))
    await client.running(prompt_id)
    assert (await client.post("/interrupt", {"prompt_id": "nobody"})).status == 200
    assert (await client.finished(prompt_id))["status"]["completed"] is True


async def test_an_interrupt_of_what_ended_does_not_hit_what_follows(client: Client) -> None:
    ended = await client.submit(picture())
    await client.finished(ended)
    prompt_id = await client.submit(sleeping(0.5))
    await client.running(prompt_id)
    await client.post("/interrupt", {"prompt_id": ended})
    assert (await client.finished(prompt_id))["status"]["completed"] is True


async def test_the_get_that_some_documents_show(client: Client) -> None:
    answer = await client.get("/interrupt")
    assert answer.status == (200 if client.target.differs("get-interrupt") else 404)


async def test_free_is_taken(client: Client) -> None:
    answer = await client.post("/free", {"unload_models": True, "free_memory": True})
    assert (answer.status, answer.body) == (200, b"")
    assert (await client.ask("POST", "/free", data=b"")).status == 500


@pytest.mark.parametrize("path", ["/free", "/upload/image", "/upload/mask"])
async def test_getting_what_is_only_posted_is_a_404(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404
    assert (await client.ask("PUT", path)).headers["Allow"] == "GET,HEAD,POST"


async def test_a_prompt_runs_all_again_after_free(client: Client) -> None:
    graph = picture()
    async with client.on_one_worker():
        await client.run(graph)
        await client.post("/free", {"free_memory": True})
        await client.run(sleeping(0.1))
        record = await client.run(graph)
    assert record["status"]["messages"][1][1]["nodes"] == []
