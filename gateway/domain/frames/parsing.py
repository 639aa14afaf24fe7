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
JPEG_FORMAT = 1
PNG_FORMAT = 2

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_NOT_TYPES = (Kind.BLOCKED, Kind.PREVIEW, Kind.TEXT, Kind.CUSTOM, Kind.UNKNOWN)
_KINDS = {kind.value: (kind, "node") for kind in Kind if kind not in _NOT_TYPES}
_KINDS |= {kind.value: (kind, "node_id") for kind in (Kind.ERROR, Kind.INTERRUPTED)}
_OTHER = (Kind.CUSTOM, "node")
_decode = json.JSONDecoder().raw_decode  # twice as fast as json.loads, which looks for blanks around the value
_LONGEST_NAME = 15
_ANIMATED = ((32, 12), (16, 12), (28, 8))
"""Where VideoHelperSuite's JPEG starts, and where its index is: it writes the two first words itself, and the server
puts its own in front; older versions do not name the node. The last is as the contract has it."""


def parse(frame: str | bytes, *, text_ids: bool = False) -> Frame:
    """`text_ids`: both sides of this socket said supports_progress_text_metadata, so that texts name their prompt."""
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


def word(frame: bytes, offset: int) -> int:
    """The integer there; -1 beyond the end."""
    found = frame[offset : offset + 4]
    return int.from_bytes(found, "big") if len(found) == 4 else -1


def part(frame: bytes, offset: int) -> tuple[bytes, int] | None:
    """The bytes after their own length, and where they end; None when the frame is shorter than that."""
    start, length = offset + 4, word(frame, offset)
    end = start + length
    return (frame[start:end], end) if length >= 0 and end <= len(frame) else None


def _event(raw: str) -> Frame:
    message = _json(raw)
    event = message.get("type") if isinstance(message, dict) else None
    if not isinstance(event, str):
        return Frame(Kind.UNKNOWN, raw)
    kind, node_key = _KINDS.get(event, _OTHER)
    data = message.get("data")
    if not isinstance(data, dict):
        return Frame(kind if kind is Kind.CUSTOM else Kind.UNKNOWN, raw, event=event, data=data)
    if kind is Kind.ERROR and data.get("exception_type") == "ExecutionBlocked":
        kind = Kind.BLOCKED
    idle = kind is Kind.EXECUTING and data.get("node", "") is None
    return Frame(kind, raw, _attempt(data), _string(data, node_key), idle, event=event, data=data)


def _picture(raw: bytes) -> Frame:
    if len(raw) < 8:
        return Frame(Kind.UNKNOWN, raw)
    png = raw.startswith(_PNG, 8) or word(raw, 4) == PNG_FORMAT
    if not png and not raw.startswith(_JPEG, 8):
        for jpeg_at, index_at in _ANIMATED:
            if raw.startswith(_JPEG, jpeg_at):
                node = _pascal(raw[12:jpeg_at] if index_at == 8 else raw[16:jpeg_at])
                return Frame(Kind.PREVIEW, raw, node=node, jpeg=True, index=word(raw, index_at))
    return Frame(Kind.PREVIEW, raw, png=png, jpeg=not png and raw.startswith(_JPEG, 8))


def _picture_with_metadata(raw: bytes) -> Frame:
    found = part(raw, 4)
    told = _json(_utf8(found[0])) if found else None
    if not found or not isinstance(told, dict):
        return Frame(Kind.UNKNOWN, raw, metadata=True)
    start = found[1]
    png = raw.startswith(_PNG, start) or told.get("image_type") == "image/png"
    jpeg = not png and raw.startswith(_JPEG, start)
    node = _string(told, "node_id")
    return Frame(Kind.PREVIEW, raw, _attempt(told), node, png=png, jpeg=jpeg, metadata=True, data=told)


def _text(raw: bytes, text_ids: bool) -> Frame:
    prompt = part(raw, 4) if text_ids else None
    node = part(raw, prompt[1]) if prompt else None
    if prompt and node:
        return Frame(Kind.TEXT, raw, AttemptId(_utf8(prompt[0])), _utf8(node[0]))
    node = part(raw, 4)
    return Frame(Kind.TEXT, raw, node=_utf8(node[0])) if node else Frame(Kind.UNKNOWN, raw)


def _json(text: str) -> Any:
    """The value; None for what is none. NaN is one (contract trap 30)."""
    try:
        value, end = _decode(text) if text.startswith("{") else (None, -1)
        return value if end == len(text) else json.loads(text)
    except (ValueError, RecursionError):
        return None


def _utf8(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _string(data: Mapping[str, Any], key: str) -> str | None:
    found = data.get(key)
    return found if isinstance(found, str) else None


def _attempt(data: Mapping[str, Any]) -> AttemptId | None:
    found = data.get("prompt_id")
    return AttemptId(found) if isinstance(found, str) else None


def _pascal(field: bytes) -> str | None:
    """A name with its length before it, filled up with zeros."""
    length = field[0] if field else 0
    return field[1 : 1 + length].decode("ascii", "replace") if 0 < length <= _LONGEST_NAME else None
