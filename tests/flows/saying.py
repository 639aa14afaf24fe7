"""What a worker says, as tests need it."""

from __future__ import annotations

import json
import struct
from typing import Any

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"


def event(type: str, **data: Any) -> str:
    return json.dumps({"type": type, "data": data})


def executing(id: str, node: str = "2") -> str:
    return event("executing", node=node, display_node=node, prompt_id=id)


def progress(id: str, value: int, node: str = "2") -> str:
    return event("progress", value=value, max=9999, prompt_id=id, node=node)


def progress_state(id: str, value: int, node: str = "2") -> str:
    return event("progress_state", prompt_id=id, nodes={node: {"value": value, "max": 9999, "state": "running"}})


def result(id: str, text: str, node: str = "3") -> str:
    return event("executed", node=node, display_node=node, output={"text": [text]}, prompt_id=id)


def preview(id: str, picture: bytes = b"", node: str = "2") -> bytes:
    """Type 4."""
    told = json.dumps({"node_id": node, "prompt_id": id, "image_type": "image/jpeg"}).encode()
    return struct.pack(">II", 4, len(told)) + told + JPEG + picture


def picture(body: bytes = b"") -> bytes:
    """Type 1, a PNG: what SaveImageWebsocket says."""
    return struct.pack(">II", 1, 2) + PNG + body


def text(body: str, node: str = "2") -> bytes:
    """Type 3."""
    return struct.pack(">II", 3, len(node)) + node.encode() + body.encode()
