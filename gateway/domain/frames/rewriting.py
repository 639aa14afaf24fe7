"""The same frame for somebody else: under the public prompt_id, or without what a client does not understand."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

from gateway.domain.frames.frame import Frame, Kind
from gateway.domain.frames.parsing import JPEG_FORMAT, PICTURE, PNG_FORMAT, TEXT, part
from gateway.domain.ids import AttemptId, PromptId

_MINTED = re.compile(r"[0-9a-f-]{32,36}")  # stands nowhere by chance, and is written in one way only


def renamed(frame: Frame, prompt_id: PromptId, attempt: AttemptId | None = None) -> str | bytes:
    """The frame with the public id wherever the attempt's stands, and all else byte for byte.

    `attempt` is for frames that have no prompt_id of their own, and may yet hold it elsewhere.
    An attempt's id that the gateway did not mint (a node's own prompt) is looked for under `prompt_id` only.
    """
    old: str | None = frame.attempt if frame.attempt is not None else attempt
    if old is None or old == prompt_id:
        return frame.raw
    if isinstance(frame.raw, str):
        return _in_json(frame.raw, old, prompt_id)
    if frame.kind is Kind.PREVIEW and frame.metadata and (metadata := part(frame.raw, 4)):
        told = _in_json(str(metadata[0], "utf-8", "surrogateescape"), old, prompt_id)
        return _with_part(frame.raw, metadata[1], told.encode("utf-8", "surrogateescape"))
    if frame.kind is Kind.TEXT and frame.attempt is not None and (named := part(frame.raw, 4)):
        return _with_part(frame.raw, named[1], prompt_id.encode("utf-8", "surrogatepass"))
    return frame.raw


def public(frame: Frame, prompt_id: PromptId, attempt: AttemptId | None = None) -> Frame:
    """The frame as clients see it; its `attempt` is then the public id. `data` stays the worker's."""
    raw = renamed(frame, prompt_id, attempt)
    if raw is frame.raw and frame.attempt is None:
        return frame
    attempt = AttemptId(prompt_id) if frame.attempt is not None else None
    what = frame.node, frame.idle, frame.png, frame.jpeg, frame.metadata, frame.index, frame.event, frame.data
    return Frame(frame.kind, raw, attempt, *what)  # every event comes by here, and `replace` takes three times as long


def plain(frame: Frame) -> bytes:
    """A picture with metadata as one without, a text with its prompt's id as one without; other bytes as they are.

    Raises TypeError for a JSON event.
    """
    if isinstance(frame.raw, str):
        raise TypeError("a JSON event has no plain form")
    if frame.kind is Kind.PREVIEW and frame.metadata and (metadata := part(frame.raw, 4)):
        format = PNG_FORMAT if frame.png else JPEG_FORMAT
        return struct.pack(">II", PICTURE, format) + frame.raw[metadata[1] :]
    if frame.kind is Kind.TEXT and frame.attempt is not None and (named := part(frame.raw, 4)):
        return struct.pack(">I", TEXT) + frame.raw[named[1] :]
    return frame.raw


def _with_part(raw: bytes, end: int, new: bytes) -> bytes:
    """The frame with another first part after its type; `end` is where the present one ends."""
    return raw[:4] + struct.pack(">I", len(new)) + new + raw[end:]


def _in_json(text: str, old: str, new: str) -> str:
    if _MINTED.fullmatch(old) and old in text:
        return text.replace(old, new if _MINTED.fullmatch(new) else json.dumps(new)[1:-1])
    try:
        return json.dumps(_walked(json.loads(text), old, new))
    except (ValueError, RecursionError):
        return text


def _walked(value: Any, old: str, new: str) -> Any:
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            if item.get("prompt_id") == old:
                item["prompt_id"] = new
            rest += item.values()
        elif isinstance(item, list):
            rest += item
    return value
