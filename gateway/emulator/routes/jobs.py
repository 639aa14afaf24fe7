"""0.38.1's view of queue and history as jobs; only under /api."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from gateway.emulator.jobs import STATUSES, Filters, all_jobs, one_job
from gateway.emulator.routes.prompts import is_canonical
from gateway.emulator.worker import Worker


class Refused(Exception):
    """A query that is answered 400 with this text."""


def routes(worker: Worker) -> list[web.RouteDef]:
    async def get_jobs(request: web.Request) -> web.Response:
        try:
            filters = _filters(dict(request.query))
        except Refused as refused:
            return _error(str(refused), 400)
        jobs, total = all_jobs(worker.queue, filters)
        page = {"offset": filters.offset, "limit": filters.limit, "total": total}
        more = filters.offset + len(jobs) < total
        return web.json_response({"jobs": jobs, "pagination": {**page, "has_more": more}})

    async def get_job(request: web.Request) -> web.Response:
        job = one_job(worker.queue, request.match_info["job_id"])
        return _error("Job not found", 404) if job is None else web.json_response(job)

    async def cancel_one(request: web.Request) -> web.Response:
        return web.json_response({"cancelled": _cancel(worker, request.match_info["job_id"])})

    async def cancel_many(request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except json.JSONDecodeError:
            return _error("Request body must be valid JSON", 400)
        ids = body.get("job_ids") if isinstance(body, dict) else None
        if not isinstance(ids, list):
            return _error("job_ids must be a list", 400)
        wrong = [job if isinstance(job, str) else repr(job) for job in ids if not is_canonical(job)]
        if wrong:
            return web.json_response({"error": "job_ids contains invalid id(s)", "invalid_ids": wrong}, status=400)
        return web.json_response({"cancelled": sum(_cancel(worker, job) for job in ids) > 0})

    return [
        web.get("/api/jobs", get_jobs),
        web.get("/api/jobs/{job_id}", get_job),
        web.post("/api/jobs/cancel", cancel_many),
        web.post("/api/jobs/{job_id}/cancel", cancel_one),
    ]


def _cancel(worker: Worker, job_id: str) -> bool:
    """A waiting one is taken out, a running one interrupted; one that starts in between is caught running."""
    return worker.queue.delete(job_id) or worker.queue.if_running(job_id, worker.interrupt.set)


def _filters(query: dict[str, str]) -> Filters:
    wanted = [word for part in query.get("status", "").split(",") if (word := part.strip().lower())]
    if wrong := [word for word in wanted if word not in STATUSES]:
        raise Refused(f"Invalid status value(s): {', '.join(wrong)}. Valid values: {', '.join(STATUSES)}")
    sort_by = query.get("sort_by", "created_at").lower()
    if sort_by not in ("created_at", "execution_duration"):
        raise Refused("sort_by must be 'created_at' or 'execution_duration'")
    sort_order = query.get("sort_order", "desc").lower()
    if sort_order not in ("asc", "desc"):
        raise Refused("sort_order must be 'asc' or 'desc'")
    limit = _integer(query, "limit")
    if limit is not None and limit <= 0:
        raise Refused("limit must be a positive integer")
    offset = max(0, _integer(query, "offset") or 0)
    statuses = tuple(wanted) if query.get("status") else STATUSES
    return Filters(statuses, query.get("workflow_id"), sort_by, sort_order == "desc", limit, offset)


def _integer(query: dict[str, str], name: str) -> int | None:
    try:
        return int(query[name]) if name in query else None
    except ValueError:
        raise Refused(f"{name} must be an integer") from None


def _error(text: str, status: int) -> web.Response:
    told: dict[str, Any] = {"error": text}
    return web.json_response(told, status=status)
