"""The body of POST /prompt as it is kept and as a worker gets it, and the queue item that clients see.

The kept body has `extra_data` as its last key, so that what a worker must be told besides is put in without
parsing the graph again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.domain.ids import AttemptId, PromptId
from gateway.domain.submission import Submission

SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
"""Keys for paid API nodes (ComfyUI's SENSITIVE_EXTRA_DATA_KEYS): kept apart, never shown."""

OURS = "comfy_gateway"
"""The key in a worker's extra_data that says which prompt an attempt is of."""

_OPEN = b'"extra_data": {'


def digest(submission: Submission) -> str:
    """Equal for two submissions that ask for the same: same graph, same targets."""
    same = json.dumps([submission.graph, submission.targets], sort_keys=True)
    return hashlib.sha256(same.encode()).hexdigest()


def split_secrets(extra_data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what may be stored and shown, the API keys)."""
    secrets = {key: extra_data[key] for key in SECRETS if key in extra_data}
    return {key: value for key, value in extra_data.items() if key not in secrets}, secrets


def parent_of(extra_data: Mapping[str, Any]) -> PromptId | None:
    """Whose attempt this extra_data was posted with; nodes that enqueue prompts themselves copy it into those."""
    ours = extra_data.get(OURS)
    parent = ours.get("prompt_id") if isinstance(ours, dict) else None
    return PromptId(parent) if isinstance(parent, str) else None


def kept_body(submission: Submission, extra_data: Mapping[str, Any]) -> bytes:
    body: dict[str, Any] = {**submission.rest, "prompt": submission.graph}
    if submission.targets is not None:
        body["partial_execution_targets"] = list(submission.targets)
    body["extra_data"] = {key: value for key, value in extra_data.items() if key not in ("client_id", OURS)}
    return json.dumps(body).encode()


def body_for_worker(
    kept: bytes, secrets: Mapping[str, Any], *, sid: str, prompt_id: PromptId, attempt: AttemptId, number: int
) -> bytes:
    """What the worker is posted: the attempt under its own id, the events to the gateway's own socket."""
    more = {**secrets, OURS: {"prompt_id": prompt_id, "attempt": number, "attempt_id": attempt}}
    inside = kept[:-2]
    comma = b"" if inside.endswith(_OPEN) else b", "
    tail = json.dumps({"client_id": sid, "prompt_id": attempt})
    return inside + comma + json.dumps(more)[1:-1].encode() + b"}, " + tail[1:].encode()


def queue_tail(
    prompt_id: PromptId, graph: Mapping[str, Any], extra_data: Mapping[str, Any], outputs: Sequence[str]
) -> bytes:
    """All of a /queue item but its number: `, prompt_id, prompt, extra_data, outputs_to_execute]`."""
    shown = {key: value for key, value in extra_data.items() if key not in (OURS, *SECRETS)}
    return b", " + json.dumps([prompt_id, graph, shown, list(outputs)])[1:].encode()


def answer(prompt_id: PromptId, number: str, node_errors: bytes) -> bytes:
    """The body of a 200 of POST /prompt."""
    head = json.dumps({"prompt_id": prompt_id})[:-1]
    return f'{head}, "number": {number}, "node_errors": '.encode() + node_errors + b"}"
