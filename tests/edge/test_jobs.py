from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.farm import Client, picture, sleeping
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("query", ["status=nonsense", "sort_by=x", "sort_order=x", "limit=0", "limit=x", "offset=x"])
async def test_a_wrong_query_is_told_as_newer_comfyui_tells_it(caller: Client, query: str) -> None:
    answer = await caller.ask("GET", f"/api/jobs?{query}")
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert isinstance(answer.json["error"], str)


async def test_jobs_come_in_pages(behind: Scripted, caller: Client) -> None:
    ids = [await caller.submit(sleeping()) for _ in range(3)]
    page = await caller.get("/api/jobs?limit=2&sort_order=asc")
    assert [job["id"] for job in page["jobs"]] == ids[:2]
    assert page["pagination"] == {"offset": 0, "limit": 2, "total": 3, "has_more": True}
    page = await caller.get("/api/jobs?limit=2&offset=2&sort_order=asc")
    assert [job["id"] for job in page["jobs"]] == ids[2:]
    assert page["pagination"]["has_more"] is False


async def test_an_unknown_job_is_404_and_not_cancelled(caller: Client) -> None:
    answer = await caller.ask("GET", "/api/jobs/nobody")
    assert (answer.status, answer.json) == (404, {"error": "Job not found"})
    assert (await caller.send("/api/jobs/nobody/cancel")).json == {"cancelled": False}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "Request body must be valid JSON"),
        (b"", "Request body must be valid JSON"),
        (b"[]", "job_ids must be a list"),
        (b'{"job_ids": "x"}', "job_ids must be a list"),
        (b'{"job_ids": ["x", 5]}', "job_ids contains invalid id(s)"),
    ],
)
async def test_a_wrong_list_is_told(caller: Client, body: bytes, error: str) -> None:
    answer = await caller.ask("POST", "/api/jobs/cancel", data=body)
    assert (answer.status, answer.json["error"]) == (400, error)
    if "invalid" in error:
        assert answer.json["invalid_ids"] == ["x", "5"]


async def test_ids_that_are_no_uuids_are_cancelled_if_they_are_known(caller: Client) -> None:
    await caller.submit(sleeping())
    await caller.submit(picture(), prompt_id="mine")
    ids: list[Any] = ["mine", str(uuid.uuid4())]
    answer = await caller.send("/api/jobs/cancel", {"job_ids": ids})
    assert (answer.status, answer.json) == (200, {"cancelled": True})
    assert (await caller.queue())[1] == []
    assert (await caller.send("/api/jobs/cancel", {"job_ids": []})).json == {"cancelled": False}


async def test_jobs_are_under_api_only(caller: Client, behind: Scripted) -> None:
    answer = await caller.ask("GET", "/jobs")
    assert answer.status == 404
    assert behind.requests["GET /jobs"] == 1  # it went to the home worker, who does not know it
