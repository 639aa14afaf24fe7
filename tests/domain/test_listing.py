from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.domain.listing import STATUSES, JobFilter, page, parse


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, JobFilter()),
        ({"status": "completed, FAILED,,"}, JobFilter(statuses=frozenset({"completed", "failed"}))),
        ({"status": " , "}, JobFilter()),
        ({"workflow_id": ""}, JobFilter()),
        ({"workflow_id": "w"}, JobFilter(workflow_id="w")),
        ({"sort_by": "Execution_Duration"}, JobFilter(sort_by="execution_duration")),
        ({"sort_order": "ASC"}, JobFilter(descending=False)),
        ({"limit": "5", "offset": "10"}, JobFilter(limit=5, offset=10)),
        ({"offset": "-3"}, JobFilter(offset=0)),
    ],
)
def test_a_query_is_read_as_comfyui_reads_it(query: dict[str, str], wanted: JobFilter) -> None:
    assert parse(query) == wanted


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        (
            {"status": "done,running,failed"},
            "status",
            f"Invalid status value(s): done, running. Valid values: {', '.join(STATUSES)}",
        ),
        ({"sort_by": "name"}, "sort_by", "sort_by must be 'created_at' or 'execution_duration'"),
        ({"sort_order": "up"}, "sort_order", "sort_order must be 'asc' or 'desc'"),
        ({"limit": "0"}, "limit", "limit must be a positive integer"),
        ({"limit": "-1"}, "limit", "limit must be a positive integer"),
        ({"limit": "many"}, "limit", "limit must be an integer"),
        ({"limit": ""}, "limit", "limit must be an integer"),
        ({"offset": "1.5"}, "offset", "offset must be an integer"),
    ],
)
def test_a_wrong_query_is_told_what_is_wrong(query: dict[str, str], field: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(query)
    assert (str(refused.value), refused.value.field) == (message, field)


def entry(id: str, status: str, created: int, ran: tuple[int, int] | None = None, **more: Any) -> dict[str, Any]:
    times = {} if ran is None else {"execution_start_time": ran[0], "execution_end_time": ran[1]}
    return {"id": id, "status": status, "create_time": created, **times, **more}


JOBS = [
    entry("run", "in_progress", 30),
    entry("wait", "pending", 40),
    entry("slow", "completed", 10, (100, 900), workflow_id="w"),
    entry("fast", "failed", 20, (1000, 1010), workflow_id="w"),
    entry("lost", "failed", 20, execution_end_time=10**12),
    entry("stop", "cancelled", 5, (10, 200)),
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (JobFilter(), "wait run fast lost slow stop"),
        (JobFilter(descending=False), "stop slow fast lost run wait"),
        (JobFilter(statuses=frozenset({"failed", "pending"})), "wait fast lost"),
        (JobFilter(statuses=frozenset({"cancelled"})), "stop"),
        (JobFilter(workflow_id="w"), "fast slow"),
        (JobFilter(workflow_id="other"), ""),
        (JobFilter(sort_by="execution_duration"), "slow stop fast run wait lost"),
        (JobFilter(sort_by="execution_duration", descending=False), "run wait lost fast stop slow"),
    ],
)
def test_filters_and_order(wanted: JobFilter, ids: str) -> None:
    """What is equal keeps its order; what never began took no time, however it ended."""
    assert [job["id"] for job in page(JOBS, wanted)["jobs"]] == ids.split()


@pytest.mark.parametrize(
    ("limit", "offset", "ids", "more"),
    [
        (None, 0, "wait run fast lost slow stop", False),
        (2, 0, "wait run", True),
        (2, 4, "slow stop", False),
        (2, 5, "stop", False),
        (2, 6, "", False),
        (5, 0, "wait run fast lost slow", True),
        (None, 4, "slow stop", False),
        (3, 99, "", False),
    ],
)
def test_pages(limit: int | None, offset: int, ids: str, more: bool) -> None:
    found = page(JOBS, JobFilter(limit=limit, offset=offset))
    assert [job["id"] for job in found["jobs"]] == ids.split()
    assert found["pagination"] == {"offset": offset, "limit": limit, "total": 6, "has_more": more}
