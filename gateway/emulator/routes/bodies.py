"""Request bodies as ComfyUI reads them: whatever JSON came, with no check of its kind."""

from __future__ import annotations

from typing import Any


def given(body: Any, key: str, missing: Any = None) -> Any:
    """Works on a list or a text too, which simply have no such key; raises TypeError for a number or null."""
    return body[key] if key in body else missing  # noqa: SIM401
