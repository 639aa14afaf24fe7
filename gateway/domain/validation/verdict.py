"""What validation answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

Reason = dict[str, Any]
"""ComfyUI's error object: `{type, message, details, extra_info}`."""


class Generation(enum.Enum):
    """Which ComfyUI to answer like: each stands for the behaviour of that version."""

    OLD = "0.3.64"
    NEW = "0.38.1"


@dataclass(frozen=True, slots=True)
class Valid:
    graph: dict[str, Any]
    """A copy with the values converted as ComfyUI converts them."""
    outputs: tuple[str, ...]
    """Output nodes to execute, in the graph's order."""
    node_errors: dict[str, Any]
    """What was wrong with the outputs that are left out."""
    doubtful: bool = False
    """A worker may also take outputs that are left out here; see Invalid."""


@dataclass(frozen=True, slots=True)
class Invalid:
    error: Reason
    node_errors: dict[str, Any]
    doubtful: bool = False
    """A worker may see it otherwise: the refusal rests on a list or a file, which may be stale, or on a check that
    a custom node may have replaced by one of its own."""

    def body(self) -> dict[str, Any]:
        """The answer to POST /prompt, with status 400."""
        return {"error": self.error, "node_errors": self.node_errors}


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    valid: bool
    reasons: list[Reason]
    """Empty for a node that is only invalid because of one upstream."""
