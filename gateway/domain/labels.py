"""Labels on workers, and what a prompt may ask for besides its graph: labels that its worker must have, a priority.

Both stand in the `extra_data` of POST /prompt, where clients see them again as they sent them, or in a header, which
counts more (a proxy in front may set it) and is shown to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.domain.errors import PromptRefused
from gateway.domain.ids import WorkerName

REQUIRES_HEADER = "X-Gateway-Requires"
PRIORITY_HEADER = "X-Gateway-Priority"
HIGHEST = 100
MOST = 32
"""Labels that one worker may have, or one prompt ask for."""

_LABEL = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_INTEGER = re.compile(r"[+-]?\d{1,9}")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a client asks for besides its graph."""

    requires: frozenset[str] = frozenset()
    priority: int = 0
    """-100 to 100; a higher one goes first, whoever it is from."""


def labels(given: object) -> frozenset[str]:
    """A list of texts, or one text with spaces or commas between; ValueError says what is wrong."""
    words = re.findall(r"[^\s,]+", given) if isinstance(given, str) else given
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError("must be a list of labels, or labels with commas between them")
    for word in words:
        if not _LABEL.fullmatch(word):
            raise ValueError(f"a label is 1 to 64 of A-Z a-z 0-9 _ . : / - and not {word[:80]!r}")
    if len(words) > MOST:
        raise ValueError(f"at most {MOST} labels")
    return frozenset(words)


def by_worker(given: Iterable[str]) -> dict[WorkerName, frozenset[str]]:
    """Reads `NAME=LABEL`, one label each, as the settings have them; ValueError says what is wrong."""
    found: dict[WorkerName, frozenset[str]] = {}
    for text in given:
        name, equals, label = text.partition("=")
        if not (name and equals and label):
            raise ValueError(f"{text!r} is not NAME=LABEL")
        name = WorkerName(name)
        found[name] = found.get(name, frozenset()) | labels([label])
    return found


def wishes(extra_data: Mapping[str, Any], *, requires: str | None = None, priority: str | None = None) -> Wishes:
    """`requires` and `priority` are the headers. Raises PromptRefused, which names the field that is wrong."""
    return Wishes(_requires(extra_data, requires), _priority(extra_data, priority))


def _requires(extra_data: Mapping[str, Any], header: str | None) -> frozenset[str]:
    field, given = ("extra_data.requires", extra_data.get("requires")) if header is None else (REQUIRES_HEADER, header)
    try:
        return frozenset() if given is None else labels(given)
    except ValueError as error:
        raise refused(field, str(error)) from None


def _priority(extra_data: Mapping[str, Any], header: str | None) -> int:
    field, given = ("extra_data.priority", extra_data.get("priority")) if header is None else (PRIORITY_HEADER, header)
    if given is None:
        return 0
    if isinstance(given, str) and header is not None and _INTEGER.fullmatch(given.strip()):
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) > HIGHEST:
        raise refused(field, f"must be an integer from -{HIGHEST} to {HIGHEST}")
    return given


def refused(field: str, why: str) -> PromptRefused:
    return PromptRefused("invalid_request", f"{field}: {why}", details=field, extra_info={"field": field})
