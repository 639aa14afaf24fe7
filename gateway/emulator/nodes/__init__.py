"""The node classes that the emulator can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.emulator.nodes import images, media, models, probe
from gateway.emulator.nodes.base import Behaviour, Node

BEHAVIOURS: Mapping[str, Behaviour] = {
    **images.BEHAVIOURS,
    **media.BEHAVIOURS,
    **models.BEHAVIOURS,
    **probe.BEHAVIOURS,
}


def registry(catalogue: Mapping[str, Any]) -> dict[str, Node]:
    """The classes of a catalogue with what they do; raises KeyError for one that nothing is known of."""
    return {name: Node.of(BEHAVIOURS[name], info) for name, info in catalogue.items()}
