"""Filters, order and pages of GET /api/jobs (newer ComfyUI's server.py and comfy_execution/jobs.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.domain.errors import BadRequest

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
_SORTS = ("created_at", "execution_duration")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What is asked for; no statuses means all of them."""

    statuses: frozenset[str] = frozenset()
    workflow_id: str | None = None
    sort_by: str = "created_at"
    descending: bool = True
    limit: int | None = None
    offset: int = 0


def parse(query: Mapping[str, str]) -> JobFilter:
    """From a query string; raises BadRequest with ComfyUI's own text."""
    sort_by = query.get("sort_by", "created_at").lower()
    if sort_by not in _SORTS:
        raise BadRequest("sort_by must be 'created_at' or 'execution_duration'", field="sort_by")
    order = query.get("sort_order", "desc").lower()
    if order not in ("asc", "desc"):
        raise BadRequest("sort_order must be 'asc' or 'desc'", field="sort_order")
    limit = _integer(query, "limit")
    if limit is not None and limit <= 0:
        raise BadRequest("limit must be a positive integer", field="limit")
    return JobFilter(
        statuses=_statuses(query.get("status", "")),
        workflow_id=query.get("workflow_id") or None,
        sort_by=sort_by,
        descending=order == "desc",
        limit=limit,
        offset=max(0, _integer(query, "offset") or 0),
    )


def page(jobs: Sequence[Mapping[str, Any]], wanted: JobFilter) -> dict[str, Any]:
    """The body of GET /api/jobs from all job objects."""
    found = [job for job in jobs if _fits(job, wanted)]
    found.sort(key=_sort_key(wanted.sort_by), reverse=wanted.descending)
    end = None if wanted.limit is None else wanted.offset + wanted.limit
    shown = found[wanted.offset : end]
    more = wanted.offset + len(shown) < len(found)
    pagination = {"offset": wanted.offset, "limit": wanted.limit, "total": len(found), "has_more": more}
    return {"jobs": shown, "pagination": pagination}


def _fits(job: Mapping[str, Any], wanted: JobFilter) -> bool:
    if wanted.statuses and job["status"] not in wanted.statuses:
        return False
    return wanted.workflow_id is None or job.get("workflow_id") == wanted.workflow_id


def _sort_key(sort_by: str) -> Any:
    if sort_by == "created_at":
        return lambda job: job.get("create_time", 0)
    return _duration


def _duration(job: Mapping[str, Any]) -> float:
    """0 for what has not both begun and ended."""
    begin, end = job.get("execution_start_time"), job.get("execution_end_time")
    return end - begin if begin and end else 0


def _statuses(text: str) -> frozenset[str]:
    given = [name.strip().lower() for name in text.split(",") if name.strip()]
    if wrong := [name for name in given if name not in STATUSES]:
        valid = ", ".join(STATUSES)
        raise BadRequest(f"Invalid status value(s): {', '.join(wrong)}. Valid values: {valid}", field="status")
    return frozenset(given)


def _integer(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    try:
        return int(query[name])
    except ValueError as error:
        raise BadRequest(f"{name} must be an integer", field=name) from error
