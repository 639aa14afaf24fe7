"""Range and conditions of one GET, as the server of ComfyUI reads them (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import re
from email.utils import formatdate, parsedate_to_datetime

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Unsatisfiable(ValueError):
    """No byte of the file is in that range, or it is no single range of bytes."""


def wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole file. Raises Unsatisfiable."""
    if header is None:
        return None
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        raise Unsatisfiable(header)
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        end = min(size, int(found[2]) + 1) if found[2] else size
    if start >= end:
        raise Unsatisfiable(header)
    return start, end


def http_date(at: float) -> str:
    return formatdate(at, usegmt=True)


def is_since(header: str | None, at: float) -> bool:
    """Whether what was written at `at` is not newer than the date in the header; False for what is no date."""
    try:
        return header is not None and int(at) <= parsedate_to_datetime(header).timestamp()
    except ValueError:
        return False
