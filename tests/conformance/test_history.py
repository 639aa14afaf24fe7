"""The history: what a record says, and which records are shown."""

from __future__ import annotations

import pytest

from tests.conformance.client import Client, failing, files, picture

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/history", "/api/history"])
async def test_a_record_of_success(client: Client, path: str) -> None:
    prompt_id = await client.submit(picture("named"))
    record = await client.finished(prompt_id)
    assert (await client.get(f"{path}/{prompt_id}")).json == {prompt_id: record}
    assert set(record) == {"prompt", "outputs", "status", "meta"}
    status = record["status"]
    assert (status["status_str"], status["completed"]) == ("success", True)
    events = [event for event, _ in status["messages"]]
    assert events == ["execution_start", "execution_cached", "execution_success"]
    assert all(data["prompt_id"] == prompt_id and data["timestamp"] > 10**12 for _, data in status["messages"])
    assert record["meta"] == {"3": {"node_id": "3", "display_node": "3", "parent_node": None, "real_node_id": "3"}}
    [file] = files(record)
    assert (file["subfolder"], file["type"]) == ("", "output")
    assert file["filename"].startswith("named_0")


async def test_a_record_of_an_error(client: Client) -> None:
    prompt_id = await client.submit(failing())
    status = (await client.finished(prompt_id))["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    event, error = status["messages"][-1]
    assert event == "execution_error"
    assert (error["prompt_id"], error["node_id"], error["node_type"]) == (prompt_id, "4", "ProbeFail")
    assert error["exception_type"] == "RuntimeError"
    assert error["exception_message"] == "probe failure\n"
    assert error["current_inputs"]["how"] == ["raise"]
    assert error["executed"] == ["1"]
    assert isinstance(error["traceback"], list)


async def test_a_prompt_that_needs_too_much_memory(client: Client) -> None:
    record = await client.run(failing("oom"))
    event, error = record["status"]["messages"][-1]
    assert event == "execution_error"
    assert error["exception_type"] == "torch.OutOfMemoryError"
    assert "TIPS" in error["exception_message"]


async def test_what_is_not_known_is_empty(client: Client) -> None:
    answer = await client.get("/history/nobody")
    assert (answer.status, answer.json) == (200, {})


async def test_what_runs_has_no_record_yet(client: Client) -> None:
    async with client.busy() as busy:
        assert (await client.get(f"/history/{busy}")).json == {}


async def test_the_newest_and_the_oldest(client: Client) -> None:
    await client.post("/history", {"clear": True})
    ids = []
    for _ in range(4):
        ids.append(await client.submit(picture()))
        await client.finished(ids[-1])
    assert list((await client.get("/history")).json) == ids
    assert list((await client.get("/history", max_items=2)).json) == ids[2:]
    assert list((await client.get("/history", max_items=2, offset=1)).json) == ids[1:3]
    assert list((await client.get("/history", offset=3)).json) == ids[3:]
    assert list((await client.get("/history", max_items=9)).json) == ids
    assert (await client.get("/history", max_items=0)).json == {}


@pytest.mark.parametrize("query", [{"max_items": "x"}, {"offset": "x"}])
async def test_a_query_that_is_no_number_is_a_bare_500(client: Client, query: dict[str, str]) -> None:
    assert (await client.get("/history", **query)).status == 500


async def test_records_are_deleted(client: Client) -> None:
    one, two = await client.submit(picture()), await client.submit(picture())
    await client.finished(one)
    await client.finished(two)
    answer = await client.post("/history", {"delete": [one, "nobody"]})
    assert (answer.status, answer.body) == (200, b"")
    assert await client.record(one) is None
    assert await client.record(two) is not None


async def test_one_record_by_query(client: Client) -> None:
    await client.run(picture())
    prompt_id = await client.submit(picture())
    await client.finished(prompt_id)
    found = (await client.get("/history", prompt_id=prompt_id)).json
    assert (list(found) == [prompt_id]) is client.target.differs("history-query")


@pytest.mark.parametrize("body", [b"", b"{", b"5"])
async def test_a_broken_body_is_a_bare_500(client: Client, body: bytes) -> None:
    assert (await client.ask("POST", "/history", data=body)).status == 500


async def test_the_same_graph_again_shows_the_same_file(client: Client) -> None:
    graph = picture()
    first, second = await client.run(graph), await client.run(graph)
    event, data = second["status"]["messages"][1]
    assert event == "execution_cached"
    if not client.target.is_gateway:  # the farm may have run it on another worker
        assert set(data["nodes"]) == {"1", "3"}
        assert files(first) == files(second)
