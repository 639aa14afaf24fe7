"""How sure we are that a worker can take work, and what is known of it.

`after(liveness, probe)` is the whole state machine: a refused connection is down at once; a slow answer only
makes a worker suspect, for one that loads a model answers late; three answers that never came in a row are down;
one that comes back is half-open, trusted again by its second good answer or by a prompt that ends well.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from gateway.domain.catalogue import Catalogue
from gateway.domain.files import Lives
from gateway.domain.ids import WorkerName

MISSES_TO_DOWN = 3


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not asked yet."""


@dataclass(frozen=True, slots=True)
class Up:
    pass


@dataclass(frozen=True, slots=True)
class Suspect:
    """Slow or silent of late: keeps what it runs, and comes last among equals."""

    misses: int


@dataclass(frozen=True, slots=True)
class Down:
    since: float


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Back since a moment ago: takes one prompt, and a single miss closes it again."""


Liveness = Unknown | Up | Suspect | Down | HalfOpen


class Probe(StrEnum):
    GOOD = "good"
    SLOW = "slow"
    MISSED = "missed"
    REFUSED = "refused"


def after(state: Liveness, probe: Probe, now: float) -> Liveness:
    """What one probe makes of a worker's liveness; `now` in seconds, kept as the start of a down time."""
    if probe is Probe.REFUSED:
        return state if isinstance(state, Down) else Down(now)
    if probe is Probe.GOOD:
        return HalfOpen() if isinstance(state, Down) else Up()
    if probe is Probe.SLOW:
        return state if isinstance(state, Down | HalfOpen) else Suspect(0)
    misses = state.misses + 1 if isinstance(state, Suspect) else 1
    if isinstance(state, Down):
        return state
    if isinstance(state, HalfOpen) or misses >= MISSES_TO_DOWN:
        return Down(now)
    return Suspect(misses)


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as a replica knows it: what its owner says, and what its probes found."""

    name: WorkerName
    url: str
    draining: bool = False
    configured: bool = False  # by a gateway's settings
    leaving: bool = False  # to be removed once it holds nothing
    labels: frozenset[str] = frozenset()  # what prompts may require of it
    liveness: Liveness = field(default_factory=Unknown)
    remaining: int = 0  # its own GET /prompt count
    foreign: int = 0  # of those, prompts that nobody here put there
    vram_total: int = 0  # bytes, summed over its devices
    vram_free: int = 0
    catalogue: Catalogue | None = None
    catalogue_digest: str = ""
    stats: dict[str, Any] = field(default_factory=dict)  # its GET /system_stats
    away_since: float = 0.0  # when it went down; 0 while it answers
    error: str = ""  # why the last probe failed
    sid: str = ""  # the client_id under which the gateway listens there
    lives: Lives | None = None  # of its disk; None until that was looked at since the worker came or came back

    @property
    def answers(self) -> bool:
        return isinstance(self.liveness, Up | Suspect | HalfOpen)

    def refusal(self) -> str | None:
        """Why it takes no prompt at all at the moment, or None."""
        if self.draining:
            return "draining"
        if isinstance(self.liveness, Unknown):
            return "not seen yet"
        if isinstance(self.liveness, Down):
            return f"down: {self.error}" if self.error else "down"
        if self.catalogue is None:
            return "its node list is not read yet"
        return None

    def away(self, now: float, grace: float) -> bool:
        """Down or not seen, but not for longer than `grace`: still counted on with its last known nodes."""
        return not self.answers and (not self.away_since or now - self.away_since < grace)


def probed(worker: Worker, probe: Probe, now: float, error: str = "") -> Worker:
    liveness = after(worker.liveness, probe, now)
    away = (worker.away_since or now) if isinstance(liveness, Down) else 0.0
    return replace(worker, liveness=liveness, away_since=away, error="" if probe is Probe.GOOD else error)
