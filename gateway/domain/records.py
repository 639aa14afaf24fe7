"""History records: a worker's, made the farm's; the gateway's own, for ends that no worker told; and job summaries.

Shapes: contract section 3.2 (recordings success.json, failing.json, interrupting.json) and, for GET /api/jobs,
the newer ComfyUI's comfy_execution/jobs.py (contract 1.2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.domain import outputs
from gateway.domain.ids import AttemptId, PromptId
from gateway.domain.jobs import Job, Outcome
from gateway.domain.posting import OURS, SECRETS

Record = dict[str, Any]

_STATUS = {
    Outcome.SUCCEEDED: "completed",
    Outcome.FAILED: "failed",
    Outcome.INTERRUPTED: "cancelled",
    Outcome.CANCELLED: "cancelled",
}


def outcome_of(record: Mapping[str, Any]) -> Outcome:
    status = record.get("status") or {}
    if status.get("status_str") == "success":
        return Outcome.SUCCEEDED
    if any(event == "execution_interrupted" for event, _ in messages(record)):
        return Outcome.INTERRUPTED
    return Outcome.FAILED if status else Outcome.SUCCEEDED  # before 2024 there was no status


def out_of_memory(record: Mapping[str, Any]) -> bool:
    """Whether it failed for want of VRAM, which a bigger worker may have."""
    errors = (data for event, data in messages(record) if event == "execution_error")
    return any("OutOfMemory" in str(data.get("exception_type", "")) for data in errors)


def last_event(record: Mapping[str, Any], job: Job, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """(type, data) of the event that tells clients of this end; from its messages, as the worker sent it."""
    kind = _END_EVENTS[outcome]
    told = dict(messages(record)).get(kind)
    return kind, told if told is not None else {"prompt_id": job.id}


def story(record: Mapping[str, Any], prompt_id: PromptId) -> list[tuple[str, dict[str, Any]]]:
    """(type, data) of the events before its end, as far as it tells them; none for a prompt that never began."""
    told = [(kind, data) for kind, data in messages(record) if kind in ("execution_start", "execution_cached")]
    if not told:
        return []
    for node, output in (record.get("outputs") or {}).items():
        display = ((record.get("meta") or {}).get(node) or {}).get("display_node", node)
        told.append(("executed", {"node": node, "display_node": display, "output": output, "prompt_id": prompt_id}))
    return told


def ran_seconds(record: Mapping[str, Any]) -> float:
    """From its first to its last message, as the worker's clock has it."""
    times = [data["timestamp"] for _, data in messages(record) if "timestamp" in data]
    return (max(times) - min(times)) / 1000 if times else 0.0


def public(record: Record, job: Job, attempt: AttemptId) -> Record:
    """A worker's record of an attempt as one ComfyUI would have it of the prompt."""
    number, _, graph, extra_data, *rest = record["prompt"]
    del number
    shown = json.loads(job.item())[3]
    client = {"client_id": shown["client_id"]} if "client_id" in shown else {}
    ours = (OURS, *SECRETS, "client_id", "create_time")
    kept = {key: value for key, value in extra_data.items() if key not in ours}
    if "create_time" in extra_data:
        kept["create_time"] = int(job.created_at * 1000)
    prompt = [json.loads(job.number), job.id, graph, {**kept, **client}, *rest]
    told = json.dumps({**record, "prompt": prompt})
    return json.loads(told.replace(attempt, _inside_json(job.id)))  # type: ignore[no-any-return]


def made(job: Job, outcome: Outcome, message: str, now: float, *, kind: str = "GatewayError") -> Record:
    """A record for an end that no worker told; an error names no node and says what happened."""
    stamp = int(now * 1000)
    data: dict[str, Any] = {"prompt_id": job.id, "node_id": "", "node_type": "", "executed": []}
    if outcome is Outcome.INTERRUPTED:
        messages = [["execution_interrupted", {**data, "timestamp": stamp}]]
    else:
        error = {"exception_message": message, "exception_type": kind, "traceback": []}
        inputs: dict[str, Any] = {"current_inputs": {}, "current_outputs": []}
        messages = [["execution_error", {**data, **error, **inputs, "timestamp": stamp}]]
    return {
        "prompt": json.loads(job.item()),
        "outputs": {},
        "status": {"status_str": "error", "completed": False, "messages": messages},
        "meta": {},
    }


def summary(job: Job, record: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """The job object of GET /api/jobs for an ended prompt; null fields are left out."""
    told = dict(messages(record))
    items = outputs.items_of(record.get("outputs") or {})
    ends = [told[e]["timestamp"] for e in _ENDS if e in told and "timestamp" in told[e]]
    fields: dict[str, Any] = {
        "id": job.id,
        "status": _STATUS[outcome],
        "priority": json.loads(job.number),
        "create_time": int(job.created_at * 1000),
        "execution_start_time": told.get("execution_start", {}).get("timestamp"),
        "execution_end_time": ends[0] if ends else None,
        "execution_error": told.get("execution_error"),
        "outputs_count": outputs.count(items),
        "previewable_outputs_count": outputs.count_previewable(items),
        "preview_output": outputs.preview(items),
        "workflow_id": workflow_id(record["prompt"][3]),
    }
    return {key: value for key, value in fields.items() if value is not None}


def waiting_summary(job: Job, status: str) -> dict[str, Any]:
    """The job object for a prompt that is pending or in progress."""
    extra_data = json.loads(job.item())[3]
    fields = {
        "id": job.id,
        "status": status,
        "priority": json.loads(job.number),
        "create_time": int(job.created_at * 1000),
        "outputs_count": 0,
        "previewable_outputs_count": 0,
        "workflow_id": workflow_id(extra_data),
    }
    return {key: value for key, value in fields.items() if value is not None}


def detail(listed: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of GET /api/jobs/{id} for an ended prompt, from its job object and its record."""
    return {
        **listed,
        "outputs": outputs.normalised(record.get("outputs") or {}),
        "execution_status": record.get("status"),
        "workflow": {"prompt": record["prompt"][2], "extra_data": record["prompt"][3]},
    }


def workflow_id(extra_data: Any) -> str | None:
    """extra_data.extra_pnginfo.workflow.id, whatever is null or of another type on the way (contract 1.2, poison)."""
    for key in ("extra_pnginfo", "workflow", "id"):
        extra_data = extra_data.get(key) if isinstance(extra_data, dict) else None
    return extra_data if isinstance(extra_data, str) else None


_END_EVENTS = {
    Outcome.SUCCEEDED: "execution_success",
    Outcome.FAILED: "execution_error",
    Outcome.INTERRUPTED: "execution_interrupted",
}
_ENDS = tuple(_END_EVENTS.values())


def messages(record: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    messages = (record.get("status") or {}).get("messages") or []
    pairs = (entry[:2] for entry in messages if isinstance(entry, list) and len(entry) > 1)
    return ((event, data) for event, data in pairs if isinstance(data, dict))


def _inside_json(text: str) -> str:
    return json.dumps(text)[1:-1]
