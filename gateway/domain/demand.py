"""What a prompt needs of the worker that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Choice(NamedTuple):
    """A literal that a combo must offer."""

    node_class: str
    input: str
    value: str


@dataclass(frozen=True, slots=True)
class Demand:
    classes: frozenset[str]
    choices: frozenset[Choice]
    models: frozenset[str]
    """The chosen values that name model files; what placement calls a prompt's model set."""
    min_vram: int = 0
    """Bytes; 0 when nothing is known."""
    requires: frozenset[str] = frozenset()
    """Labels that the worker must have."""
