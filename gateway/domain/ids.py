"""The names things go by, each a type of its own so that one cannot stand in for another."""

from __future__ import annotations

import uuid
from typing import NewType

PromptId = NewType("PromptId", str)
"""What clients know a prompt by: theirs if they sent one, else minted here."""

AttemptId = NewType("AttemptId", str)
"""What a worker knows one try at a prompt by; always a fresh UUID, never shown to clients."""

ClientId = NewType("ClientId", str)
"""What a client calls itself (`client_id`, the socket's `clientId`)."""

WorkerName = NewType("WorkerName", str)
"""A worker's name in the farm: letters, digits, `-`, `_`, `.`; unique and lasting."""

ReplicaId = NewType("ReplicaId", str)
"""One run of one gateway process."""


def new_prompt_id() -> PromptId:
    """A lowercase hyphenated UUID, which every generation of ComfyUI accepts."""
    return PromptId(str(uuid.uuid4()))


def new_attempt_id() -> AttemptId:
    return AttemptId(str(uuid.uuid4()))


def new_replica_id() -> ReplicaId:
    return ReplicaId(uuid.uuid4().hex[:12])
