"""Queue items and history records as 0.38.1's job objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.emulator.queue import Item, PromptQueue

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
PREVIEWABLE = frozenset({"images", "video", "audio", "3d", "text"})
MODEL_FILES = (".obj", ".fbx", ".gltf", ".glb", ".usdz")
TEXT_FILES = (".txt", ".md", ".json")
TEXT_MAX = 1024
ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass(frozen=True, slots=True)
class Filters:
    statuses: tuple[str, ...] = STATUSES
    workflow_id: str | None = None
    sort_by: str = "created_at"
    descending: bool = True
    limit: int | None = None
    offset: int = 0


def all_jobs(queue: PromptQueue, filters: Filters) -> tuple[list[dict[str, Any]], int]:
    """One page, and how many there are in all."""
    running, pending = queue.snapshot()
    jobs = [_waiting(item, "in_progress") for item in running] + [_waiting(item, "pending") for item in pending]
    jobs += [_ended(prompt_id, record) for prompt_id, record in queue.history().items()]
    jobs = [job for job in jobs if job["status"] in filters.statuses]
    if filters.workflow_id:
        jobs = [job for job in jobs if job.get("workflow_id") == filters.workflow_id]
    jobs.sort(key=_duration if filters.sort_by == "execution_duration" else _created, reverse=filters.descending)
    end = None if filters.limit is None else filters.offset + filters.limit
    return jobs[filters.offset : end], len(jobs)


def one_job(queue: PromptQueue, prompt_id: str) -> dict[str, Any] | None:
    running, pending = queue.snapshot()
    record = queue.record(prompt_id).get(prompt_id)
    if record is not None:
        workflow = {"prompt": record["prompt"][2], "extra_data": record["prompt"][3]}
        detail = {"outputs": record["outputs"], "execution_status": record["status"], "workflow": workflow}
        return {**_ended(prompt_id, record), **detail}
    for items, status in ((running, "in_progress"), (pending, "pending")):
        for item in items:
            if item[1] == prompt_id:
                return _waiting(item, status)
    return None


def _waiting(item: Item, status: str) -> dict[str, Any]:
    job = {"id": item[1], "status": status, "priority": item[0], "create_time": item[3].get("create_time")}
    return _pruned({**job, "outputs_count": 0, "previewable_outputs_count": 0, "workflow_id": _workflow_id(item[3])})


def _ended(prompt_id: str, record: dict[str, Any]) -> dict[str, Any]:
    number, extra_data, outputs = record["prompt"][0], record["prompt"][3], record["outputs"]
    events = dict(record["status"]["messages"])
    end = next((event for event in ENDS if event in events), None)
    status = {"execution_error": "failed", "execution_interrupted": "cancelled"}.get(end or "", "completed")
    files = list(_outputs(outputs))
    return _pruned(
        {
            "id": prompt_id,
            "status": status,
            "priority": number,
            "create_time": extra_data.get("create_time"),
            "execution_start_time": events.get("execution_start", {}).get("timestamp"),
            "execution_end_time": events[end]["timestamp"] if end else None,
            "execution_error": events.get("execution_error"),
            "outputs_count": len(files),
            "previewable_outputs_count": sum(_previewable(kind, item) for _, kind, item in files),
            "preview_output": _preview(outputs, files),
            "workflow_id": _workflow_id(extra_data),
        }
    )


def _outputs(outputs: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(node, kind, file) of each file among a prompt's outputs; a bare name of a 3D file is one too."""
    for node_id, kinds in outputs.items():
        for kind, items in kinds.items():
            for item in items if isinstance(items, list) and kind != "animated" else ():
                if isinstance(item, dict):
                    yield node_id, kind, item
                elif isinstance(item, str) and item.lower().endswith(MODEL_FILES):
                    yield node_id, kind, {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"}


def _previewable(kind: str, item: dict[str, Any]) -> bool:
    name, form = item.get("filename", "").lower(), item.get("format") or ""
    return kind in PREVIEWABLE or form.startswith(("video/", "audio/")) or name.endswith(MODEL_FILES + TEXT_FILES)


def _preview(outputs: dict[str, Any], files: list[tuple[str, str, dict[str, Any]]]) -> dict[str, Any] | None:
    """A saved picture before a temporary one, that before a text file, that before bare text."""
    shown = [(node, kind, item) for node, kind, item in files if _previewable(kind, item)]

    def rank(found: tuple[str, str, dict[str, Any]]) -> int:
        _, kind, item = found
        if kind == "text" or item.get("filename", "").lower().endswith(TEXT_FILES):
            return 2
        return 0 if item.get("type") == "output" else 1

    if shown:
        node, kind, item = min(shown, key=rank)
        return {**item, "nodeId": node, "mediaType": item.get("mediaType", kind)}
    for node, kinds in outputs.items():
        for text in kinds.get("text", ()):
            cut = {"truncated": True} if len(str(text)) > TEXT_MAX else {}
            return {"content": str(text)[:TEXT_MAX], **cut, "nodeId": node, "mediaType": "text"}
    return None


def _workflow_id(extra_data: dict[str, Any]) -> Any:
    """Raises AttributeError for an extra_pnginfo of null, and the whole list is a 500: as in 0.38.1."""
    return extra_data.get("extra_pnginfo", {}).get("workflow", {}).get("id")


def _created(job: dict[str, Any]) -> float:
    return float(job.get("create_time", 0))


def _duration(job: dict[str, Any]) -> float:
    start, end = job.get("execution_start_time", 0), job.get("execution_end_time", 0)
    return float(end - start) if start and end else 0.0


def _pruned(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if value is not None}
