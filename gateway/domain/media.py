"""What a file is to a browser: its content type by name, and what must not run in the farm's own origin."""

from __future__ import annotations

import mimetypes
from functools import lru_cache
from urllib.parse import quote

_RUNS = frozenset(
    {
        "text/html",
        "text/html-sandboxed",
        "application/xhtml+xml",
        "text/javascript",
        "text/css",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "message/rfc822",
    }
)
"""What ComfyUI 0.38.1 gives out as attachments only, besides everything that is XML."""


def content_type(name: str) -> str:
    """By the extension; ComfyUI adds two to what Python knows."""
    if name.endswith(".webp"):
        return "image/webp"
    if name.endswith(".js"):
        return "application/javascript; charset=utf-8"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def is_dangerous(kind: str) -> bool:
    """Whether a browser that opens it would run what is in it."""
    kind = kind.partition(";")[0].strip().lower()
    return kind in _RUNS or kind.endswith(("+xml", "/xml"))


@lru_cache(maxsize=2**14)
def media(name: str) -> str:
    """`image`, `video`, `audio` … as ComfyUI sorts the files that its loaders list."""
    return (mimetypes.guess_type(name)[0] or "").partition("/")[0]


def disposition(name: str, *, attachment: bool = False) -> str:
    """Content-Disposition as ComfyUI writes it, with quotes that end the name escaped."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return ("attachment; " if attachment else "") + f'filename="{quoted}"'


def view_headers(name: str, destination: str | None) -> list[tuple[str, str]]:
    """What /view says of a file besides its size and age. `destination` is the request's Sec-Fetch-Dest.

    As ComfyUI 0.38.1 has it: nothing runs in the farm's own origin, but an SVG may be shown inside an <img>.
    """
    kind = content_type(name)
    headers = [("content-type", kind), ("content-disposition", disposition(name))]
    if is_dangerous(kind):
        headers += [("vary", "Sec-Fetch-Dest"), ("cache-control", "no-store")]
        if not (kind == "image/svg+xml" and destination == "image"):
            headers[0] = ("content-type", "application/octet-stream")
            headers[1] = ("content-disposition", disposition(name, attachment=True))
    return [*headers, ("x-content-type-options", "nosniff")]


def stored_headers(name: str) -> dict[str, str]:
    """The same for those who fetch it from a store themselves. Only what every store gives back as it was: other names
    are written as in RFC 6266."""
    kind = content_type(name)
    attachment = is_dangerous(kind)
    shown = disposition(name, attachment=attachment)
    if not (name.isascii() and name.isprintable()):
        shown = f"{'attachment' if attachment else 'inline'}; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Type": "application/octet-stream" if attachment else kind, "Content-Disposition": shown}
