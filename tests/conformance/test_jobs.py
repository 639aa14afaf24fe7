"""The jobs API of newer servers, which a gateway serves whatever its workers are."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.conformance.client import Client, failing, picture
from tests.conformance.test_queue import Crowd

pytestmark = pytest.mark.anyio


@pytest.fixture
def jobs(client: Client) -> Client:
    if not (client.target.is_new or client.target.differs("jobs")):
        pytest.skip("this generation has no jobs")
    return client


async def job(client: Client, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/api/jobs/{job_id}")).json
    return found


async def test_older_servers_do_not_know_them(client: Client) -> None:
    if client.target.is_new or client.target.differs("jobs"):
        pytest.skip("this one does")
    assert (await client.get("/api/jobs")).status == 404
    assert (await client.post("/api/jobs/cancel", {})).status == 405


async def test_a_completed_job(jobs: Client) -> None:
    workflow_id = str(uuid.uuid4())
    graph = picture()
    prompt_id = await jobs.submit(graph, extra_data={"extra_pnginfo": {"workflow": {"id": workflow_id}}})
    record = await jobs.finished(prompt_id)
    found = await job(jobs, prompt_id)
    assert (found["id"], found["status"], found["workflow_id"]) == (prompt_id, "completed", workflow_id)
    assert (found["outputs_count"], found["preview_output"]["nodeId"]) == (1, "3")
    assert found["preview_output"]["mediaType"] == "images"
    assert found["create_time"] <= found["execution_start_time"] <= found["execution_end_time"]
    assert found["outputs"] == record["outputs"]
    assert found["execution_status"]["status_str"] == "success"
    assert found["workflow"]["prompt"] == graph
    listed = (await jobs.get("/api/jobs", workflow_id=workflow_id)).json
    assert [entry["id"] for entry in listed["jobs"]] == [prompt_id]
    assert listed["pagination"] == {"offset": 0, "limit": None, "total": 1, "has_more": False}
    assert "outputs" not in listed["jobs"][0]


async def test_a_failed_job(jobs: Client) -> None:
    prompt_id = await jobs.submit(failing())
    await jobs.finished(prompt_id)
    found = await job(jobs, prompt_id)
    assert found["status"] == "failed"
    assert found["execution_error"]["node_type"] == "ProbeFail"


async def test_running_and_waiting_jobs_and_their_cancelling(jobs: Client) -> None:
    async with Crowd(jobs) as crowd:
        waiting = await jobs.submit(picture())
        running = crowd.ids[0]
        assert (await job(jobs, running))["status"] == "in_progress"
        found = await job(jobs, waiting)
        assert (found["status"], found["outputs_count"]) == ("pending", 0)
        listed = (await jobs.get("/api/jobs", status="pending,in_progress")).json["jobs"]
        assert {waiting, running} <= {entry["id"] for entry in listed}
        assert (await jobs.post(f"/api/jobs/{waiting}/cancel")).json == {"cancelled": True}
        assert (await jobs.get(f"/api/jobs/{waiting}")).status == 404
        assert (await jobs.post("/api/jobs/cancel", {"job_ids": [running, str(uuid.uuid4())]})).json == {
            "cancelled": True
        }
        await jobs.finished(running)
        assert (await job(jobs, running))["status"] == "cancelled"
        assert (await jobs.post(f"/api/jobs/{running}/cancel")).json == {"cancelled": False}


async def test_pages(jobs: Client) -> None:
    workflow_id = str(uuid.uuid4())
    ids = []
    for _ in range(3):
        ids.append(await jobs.submit(picture(), extra_data={"extra_pnginfo": {"workflow": {"id": workflow_id}}}))
        await jobs.finished(ids[-1])
        await asyncio.sleep(0.005)  # jobs are sorted by milliseconds
    first = (await jobs.get("/api/jobs", workflow_id=workflow_id, limit=2)).json
    assert [entry["id"] for entry in first["jobs"]] == [ids[2], ids[1]]
    assert first["pagination"] == {"offset": 0, "limit": 2, "total": 3, "has_more": True}
    rest = (await jobs.get("/api/jobs", workflow_id=workflow_id, limit=2, offset=2, sort_order="desc")).json
    assert [entry["id"] for entry in rest["jobs"]] == [ids[0]]
    assert rest["pagination"]["has_more"] is False
    oldest = (await jobs.get("/api/jobs", workflow_id=workflow_id, sort_order="asc")).json
    assert [entry["id"] for entry in oldest["jobs"]] == ids
    assert (await jobs.get("/api/jobs", workflow_id=workflow_id, status="failed")).json["jobs"] == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (
            {"status": "nope"},
            "Invalid status value(s): nope. Valid values: pending, in_progress, completed, failed, cancelled",
        ),
        ({"sort_by": "x"}, "sort_by must be 'created_at' or 'execution_duration'"),
        ({"sort_order": "x"}, "sort_order must be 'asc' or 'desc'"),
        ({"limit": "x"}, "limit must be an integer"),
        ({"limit": "0"}, "limit must be a positive integer"),
        ({"offset": "x"}, "offset must be an integer"),
    ],
)
async def test_a_wrong_query(jobs: Client, query: dict[str, str], error: str) -> None:
    answer = await jobs.get("/api/jobs", **query)
    assert (answer.status, answer.json) == (400, {"error": error})


async def test_a_job_that_nobody_knows(jobs: Client) -> None:
    answer = await jobs.get(f"/api/jobs/{uuid.uuid4()}")
    assert (answer.status, answer.json) == (404, {"error": "Job not found"})
    assert (await jobs.post(f"/api/jobs/{uuid.uuid4()}/cancel")).json == {"cancelled": False}


async def test_a_wrong_cancel(jobs: Client) -> None:
    for body, error in ((b"{", "Request body must be valid JSON"), (b"{}", "job_ids must be a list")):
        answer = await jobs.ask("POST", "/api/jobs/cancel", data=body)
        assert (answer.status, answer.json) == (400, {"error": error})
    answer = await jobs.post("/api/jobs/cancel", {"job_ids": ["nope", 5]})
    assert (answer.status, answer.json["invalid_ids"]) == (400, ["nope", "5"])
