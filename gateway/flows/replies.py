"""What the client of a prompt is told."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gateway.domain.errors import PromptConflict
from gateway.domain.ports import NewPrompt
from gateway.domain.validation import Invalid


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"


def invalid(verdict: Invalid) -> Reply:
    return Reply(400, json.dumps(verdict.body()).encode())


def conflict(new: NewPrompt) -> PromptConflict:
    details = f"prompt_id {new.id} is taken by another prompt"
    return PromptConflict("prompt_id_conflict", "prompt_id is already in use", details=details)
