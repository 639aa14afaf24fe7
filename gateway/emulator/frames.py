"""The binary frames of ComfyUI's socket. All integers are unsigned, 32 bits, big-endian."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

from PIL import Image

PREVIEW = 1
TEXT = 3
PREVIEW_WITH_METADATA = 4


def preview(jpeg: bytes) -> bytes:
    return struct.pack(">II", PREVIEW, 1) + jpeg


def preview_with_metadata(jpeg: bytes, metadata: dict[str, Any]) -> bytes:
    told = json.dumps({**metadata, "image_type": "image/jpeg"}).encode()
    return struct.pack(">II", PREVIEW_WITH_METADATA, len(told)) + told + jpeg


def encode_jpeg(image: Image.Image, longest: int = 512) -> bytes:
    """As ComfyUI shrinks, or enlarges, a preview to its longest side."""
    scale = longest / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()
