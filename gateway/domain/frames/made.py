"""What the gateway says itself, byte for byte as ComfyUI's server.py and aiohttp's `send_json` write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway.domain.ids import ClientId, PromptId


def event(type: str, data: Any) -> str:
    return json.dumps({"type": type, "data": data})


def status(remaining: int, sid: ClientId | None = None) -> str:
    """The count of waiting and running prompts; `sid` in the first frame of a socket only."""
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": remaining}}}
    return event("status", data if sid is None else {**data, "sid": sid})


def executing(node: str, prompt_id: PromptId | None = None, display_node: str | None = None) -> str:
    """Without a prompt_id: the short one, with the display node, that a worker sends to a socket that comes back."""
    if prompt_id is None:
        return event("executing", {"node": node})
    shown = node if display_node is None else display_node
    return event("executing", {"node": node, "display_node": shown, "prompt_id": prompt_id})


def executing_idle(prompt_id: PromptId) -> str:
    """The last frame about a prompt."""
    return event("executing", {"node": None, "prompt_id": prompt_id})


def feature_flags(flags: Mapping[str, Any]) -> str:
    return event("feature_flags", dict(flags))
