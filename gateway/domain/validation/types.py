"""Whether what one node gives fits what another takes (comfy_execution/validation.py, both generations)."""

from __future__ import annotations

from gateway.domain.inputs import COMBO
from gateway.domain.validation.verdict import Generation

ANY = "*"
MATCHED = "COMFY_MATCHTYPE_V3"


def fits(received: object, wanted: object, generation: Generation) -> bool:
    """Types are a name, names joined by commas (one in common is enough), or a combo's list of options.

    `*` fits all: 0.3.64 says so only where a node made its type a class that never differs, which nearly every
    node with a `*` does, and which /object_info does not show.
    """
    if received == wanted:
        return True
    if generation is Generation.NEW:
        if MATCHED in (received, wanted):
            return True
        if isinstance(received, list) and wanted == COMBO:
            return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return ANY in (received, wanted)
    given, taken = _names(received), _names(wanted)
    return ANY in given or ANY in taken or not given.isdisjoint(taken)


def _names(types: str) -> set[str]:
    return {name.strip() for name in types.split(",")}
