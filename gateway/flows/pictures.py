"""A picture as /view converts it: a smaller preview, or one of its channels. It is work for a thread."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO

from PIL import Image


def is_asked_for(query: Mapping[str, str]) -> bool:
    return "preview" in query or query.get("channel") in ("rgb", "a")


def converted(source: IO[bytes], query: Mapping[str, str]) -> tuple[str, bytes]:
    """Content type and bytes. Raises what Pillow raises when the file is no picture, upon which ComfyUI says 500."""
    with Image.open(source) as image:
        if "preview" in query:
            form, data = _preview(image, query)
        else:
            form, data = "png", _channel(image, query["channel"])
    return f"image/{form}", data


def _preview(image: Image.Image, query: Mapping[str, str]) -> tuple[str, bytes]:
    form, *rest = query["preview"].split(";")
    channel = query.get("channel", "")
    if form not in ("webp", "jpeg") or "a" in channel:
        form = "webp"
    last = rest[-1] if rest else form
    shown = image.convert("RGB") if form == "jpeg" or channel == "rgb" else image
    return form, _encoded(shown, form, quality=int(last) if last.isdigit() else 90)


def _channel(image: Image.Image, channel: str) -> bytes:
    if channel == "rgb":
        return _encoded(image.convert("RGB"), "png")
    alpha = image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255)
    shown = Image.new("RGBA", image.size)
    shown.putalpha(alpha)
    return _encoded(shown, "png")


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()
