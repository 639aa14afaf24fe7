"""JSON answers that are made once and sent many times."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass

_WORTH_PACKING = 2**14
"""Bytes; below that a packed answer is no faster."""


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON text in all forms in which it is sent."""

    plain: bytes
    packed: bytes | None
    """gzip; None for what is too small to be worth it."""
    etag: str
    """Weak, for both forms share it."""


def body(plain: bytes) -> Body:
    """Slow for large texts: call it off the event loop."""
    packed = gzip.compress(plain, compresslevel=6, mtime=0) if len(plain) >= _WORTH_PACKING else None
    return Body(plain, packed, f'W/"{hashlib.blake2s(plain, digest_size=12).hexdigest()}"')


def json_body(value: object) -> Body:
    """As ComfyUI's server writes it: ASCII only, `, ` and `: ` between, NaN as it is."""
    return body(json.dumps(value).encode())
