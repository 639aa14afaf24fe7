"""What a frame of a worker's socket says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.domain.ids import AttemptId


class Kind(StrEnum):
    STATUS = "status"
    FLAGS = "feature_flags"
    START = "execution_start"
    CACHED = "execution_cached"
    EXECUTING = "executing"
    PROGRESS = "progress"
    PROGRESS_STATE = "progress_state"
    EXECUTED = "executed"
    SUCCESS = "execution_success"
    ERROR = "execution_error"
    BLOCKED = "execution_blocked"
    """An execution_error of type ExecutionBlocked: the prompt goes on (contract 4.4)."""
    INTERRUPTED = "execution_interrupted"
    PREVIEW = "preview"
    """A picture, be it a preview or a result: binary types 1 and 4."""
    TEXT = "text"
    """A node's progress text: binary type 3."""
    CUSTOM = "custom"
    """Any other JSON event."""
    UNKNOWN = "unknown"
    """Anything else: other binary types, broken JSON, a known event without its object."""

    @property
    def ends(self) -> bool:
        """Whether a prompt is over with it."""
        return self in _ENDS


_ENDS = frozenset((Kind.SUCCESS, Kind.ERROR, Kind.INTERRUPTED))


@dataclass(slots=True)
class Frame:
    """Not to be changed. Not frozen: each event that passes makes two, and frozen ones take three times as long."""

    kind: Kind
    raw: str | bytes
    """As it came."""
    attempt: AttemptId | None = None
    """The prompt_id in it; None where it has none, and the running prompt is meant (contract 4.8)."""
    node: str | None = None
    idle: bool = False
    """`executing` with node null: the worker is through with this prompt."""
    png: bool = False
    """A PNG, by its bytes or by what it says it is: a result (of SaveImageWebsocket), not a preview."""
    jpeg: bool = False
    """A JPEG by its bytes, and no PNG by its word: a preview, which a newer one of the same node makes worthless."""
    metadata: bool = False
    """Binary type 4, for clients only that announced supports_preview_metadata."""
    index: int = 0
    """The place in its animation of a preview of VideoHelperSuite."""
    event: str = ""
    """The `type` of a JSON event."""
    data: Any = field(default=None, compare=False, repr=False)
    """The `data` of a JSON event, the metadata of a type 4; an object in every kind but CUSTOM. Not to be changed."""
