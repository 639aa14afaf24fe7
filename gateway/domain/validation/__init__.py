"""ComfyUI's own verdict on a prompt graph, from what /object_info tells; the gateway and the emulator share it."""

from __future__ import annotations

from gateway.domain.validation.prompt import validate
from gateway.domain.validation.verdict import Generation, Invalid, Valid

__all__ = ["Generation", "Invalid", "Valid", "validate"]
