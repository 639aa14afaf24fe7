"""The workers as their owner sees and changes them, and why a prompt is where it is."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

from gateway.domain.addresses import masked
from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.jobs import Accepted, Assigned, Ended, Job, Queued, Running
from gateway.domain.placement import Placement
from gateway.domain.ports import FarmStore, WorkerEntry
from gateway.domain.workers import Worker
from gateway.flows.forecast import Forecast
from gateway.flows.mirror import Mirror


class Farm:
    def __init__(self, store: FarmStore, mirror: Mirror, placement: Placement, forecast: Forecast) -> None:
        self._store = store
        self._mirror = mirror
        self._placement = placement
        self._forecast = forecast

    async def workers(self) -> list[dict[str, Any]]:
        await self._mirror.fresh()
        return [self._shown(worker) for worker in self._mirror.workers.values()]

    async def worker(self, name: WorkerName) -> dict[str, Any]:
        await self._mirror.fresh()
        return self._shown(self._known(name))

    async def add(self, entry: WorkerEntry) -> None:
        """Raises BadRequest when the name or the address is taken."""
        await self._mirror.fresh()
        if any(worker.url == entry.url for worker in self._mirror.workers.values()):
            raise BadRequest(f"{entry.url} is a worker already", field="url")
        if not await self._store.put(entry, new=True):
            raise BadRequest(f"a worker is named {entry.name} already", field="name")

    async def remove(self, name: WorkerName) -> None:
        """Raises NotFound, or BadRequest while it holds one of our prompts: drain it first."""
        told = await self._store.remove(name)
        if told == "unknown":
            raise NotFound(f"no worker is named {name!r}")
        if told == "busy":
            raise BadRequest(f"worker {name} runs a prompt: drain it first, then remove it", field="name")

    async def drain(self, name: WorkerName, draining: bool) -> None:
        await self._mirror.fresh()
        worker = self._known(name)
        await self._store.put(WorkerEntry(name, worker.url, draining, worker.configured, labels=worker.labels))

    async def jobs(self) -> list[dict[str, Any]]:
        """All that wait or run, and what was cancelled of late."""
        await self._mirror.fresh()
        known = (*self._mirror.accepted.values(), *self._mirror.live.values(), *self._mirror.cancelled.values())
        return [_brief(job) for job in known]

    async def job(self, id: PromptId) -> dict[str, Any]:
        """One prompt, with what it waits for: its place, an estimate, each worker's reason. Raises NotFound."""
        await self._mirror.fresh()
        job = self._mirror.jobs.get(id) or self._mirror.cancelled.get(id)
        if job is None:
            raise NotFound(f"no prompt has the id {id!r}")
        shown = _brief(job)
        eta = self._forecast.of(job)
        if isinstance(job.state, Queued):
            shown["position"] = self._placement.position(id)
            shown["estimated_start_seconds"] = eta.start
            shown["workers"] = self._placement.explain(job.demand)
        elif job.reasons:
            shown |= json.loads(job.reasons)
        needs = {name: sorted(getattr(job.demand, name)) for name in ("classes", "models", "requires")}
        if not isinstance(job.state, Ended):
            shown["eta"] = eta.done
        return {**shown, "needs": needs}

    def _known(self, name: WorkerName) -> Worker:
        worker = self._mirror.workers.get(name)
        if worker is None:
            raise NotFound(f"no worker is named {name!r}")
        return worker

    def _shown(self, worker: Worker) -> dict[str, Any]:
        return {
            "name": worker.name,
            "url": masked(worker.url),
            "state": type(worker.liveness).__name__.lower(),
            "draining": worker.draining,
            "labels": sorted(worker.labels),
            "home": worker.name == self._mirror.home,
            "running": [job.id for job, _ in self._mirror.on(worker.name)],
            "foreign": worker.foreign,
            "vram_total": worker.vram_total,
            "vram_free": worker.vram_free,
            "version": worker.stats.get("system", {}).get("comfyui_version"),
            "node_classes": len(worker.catalogue.classes) if worker.catalogue else None,
            "lives": asdict(worker.lives) if worker.lives else None,
            "error": worker.error,
        }


def _brief(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": job.id,
        "state": _name(job),
        "number": json.loads(job.number),
        "caller": job.caller,
        "created_at": job.created_at,
        "age_seconds": max(0.0, time.time() - job.created_at),
        "priority": job.priority,
        "attempts": job.attempts,
        "crashes": job.crashes,
    }
    if isinstance(job.state, Accepted | Assigned | Running):
        shown["worker"] = job.state.worker
    elif isinstance(job.state, Ended):
        shown |= {"worker": job.state.worker, "ended_at": job.state.at}
    if job.interrupting:
        shown["interrupting"] = True
    return shown


def _name(job: Job) -> str:
    state = job.state
    return str(state.outcome) if isinstance(state, Ended) else type(state).__name__.lower()
