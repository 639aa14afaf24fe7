"""Reading ASGI headers: names are lowercase bytes there, and a header may come more than once."""

from __future__ import annotations

from collections.abc import Iterable

RawHeaders = Iterable[tuple[bytes, bytes]]


def written(text: str) -> bytes:
    """A header's value as ComfyUI's server writes it, but for what would end the line."""
    return "".join(" " if ord(c) < 32 or ord(c) == 127 else c for c in text).encode("utf-8", "surrogateescape")


def header(headers: RawHeaders, name: bytes) -> str | None:
    """The first of that (lowercase) name, as ComfyUI's server takes it."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def values(headers: RawHeaders, name: bytes) -> list[str]:
    """The parts of a comma-separated header, in order, over all its lines."""
    lines = [value.decode("latin-1") for key, value in headers if key == name]
    return [part.strip() for line in lines for part in line.split(",") if part.strip()]


def content_length(headers: RawHeaders) -> int | None:
    """None when absent or no plain number."""
    text = header(headers, b"content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def has_body(headers: RawHeaders) -> bool:
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return True
    return False


def accepts_gzip(headers: RawHeaders) -> bool:
    """Whether `Accept-Encoding` names gzip (or `*`) and does not weigh it with 0."""
    for part in values(headers, b"accept-encoding"):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def matches(headers: RawHeaders, etag: str) -> bool:
    """Whether `If-None-Match` names this ETag; compared weakly, as RFC 9110 section 13.1.2 has it."""
    tags = values(headers, b"if-none-match")
    return "*" in tags or etag.removeprefix("W/") in (tag.removeprefix("W/") for tag in tags)
