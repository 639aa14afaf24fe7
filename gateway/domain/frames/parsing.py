"""Any text or bytes as a Frame. Layouts: contract 4.4 and 4.6, ComfyUI's server.py and protocol.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway.domain.frames.frame import Frame, Kind
from gateway.domain.ids import AttemptId

PICTURE = 1
TEXT = 3
PICTURE_WITH_METADATA = 4

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PNG_FORMAT = 2
_EVENTS = {
    kind.value: kind
    for kind in Kind
    if kind not in (Kind.BLOCKED, Kind.PREVIEW, Kind.TEXT, Kind.CUSTOM, Kind.UNKNOWN)
}
_NODE_KEYS = {Kind.ERROR: "node_id", Kind.INTERRUPTED: "node_id"}
_ANIMATED = ((16, 12), (32, 12), (12, 8), (28, 8))
_NAMED_FROM = 28  # bytes before the JPEG of an animated preview that names its node


def parse(frame: str | bytes, *, text_ids: bool = False) -> Frame:
    """`text_ids`: the worker was told supports_progress_text_metadata and said it too: its texts name their prompt."""
    if isinstance(frame, str):
        return _event(frame)
    type = word(frame, 0)
    if type == PICTURE:
        return _picture(frame)
    if type == PICTURE_WITH_METADATA:
        return _picture_with_metadata(frame)
    if type == TEXT:
        return _text(frame, text_ids)
    return Frame(Kind.UNKNOWN, frame)


def word(frame: bytes, offset: int) -> int | None:
    """An integer of a binary frame; None beyond its end."""
    found = frame[offset : offset + 4]
    return int.from_bytes(found, "big") if len(found) == 4 else None


def _event(raw: str) -> Frame:
    value = _json(raw)
    event = value.get("type") if isinstance(value, dict) else None
    if not isinstance(event, str):
        return Frame(Kind.UNKNOWN, raw)
    data = value["data"] if "data" in value else None
    kind = _EVENTS.get(event, Kind.CUSTOM)
    if not isinstance(data, dict):
        return Frame(Kind.CUSTOM if kind is Kind.CUSTOM else Kind.UNKNOWN, raw, event=event, data=data)
    if kind is Kind.ERROR and data.get("exception_type") == "ExecutionBlocked":
        kind = Kind.BLOCKED
    node = _string(data, "node_id" if event in ("execution_error", "execution_interrupted") else "node")
    idle = kind is Kind.EXECUTING and data.get("node", "") is None
    return Frame(kind, raw, _attempt(data), node, idle, event=event, data=data)
