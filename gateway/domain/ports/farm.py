"""The workers in the store, who looks after them, and the news of what changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.jobs import Job
from gateway.domain.workers import Worker


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replica must read to be as new as `version`; `everything` when it lags too far."""

    version: int
    waits: str
    everything: bool
    prompts: frozenset[PromptId]
    workers: frozenset[WorkerName]
    emptied: Mapping[WorkerName, bool] = field(default_factory=dict)
    """Workers that lost their models, and whether their node caches too."""
    files: frozenset[FileRef] = frozenset()
    more: bool = False  # this is not yet all that there was
    jobs: Mapping[PromptId, Job | None] = field(default_factory=dict, compare=False)
    """Those of the prompts that came along; the others are still to be read."""


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A worker as its owner configured it."""

    name: WorkerName
    url: str
    draining: bool = False
    configured: bool = False  # by the settings of a gateway, not by its API
    leaving: bool = False  # drains, and is removed when it holds nothing any more
    labels: frozenset[str] = frozenset()


class ChangeFeed(Protocol):
    async def version(self) -> int:
        """What the store has come to; the cheapest of all questions, and never asked twice at a time."""
        ...

    async def since(self, version: int) -> Changes: ...

    async def wait(self, version: int, timeout: float) -> bool:
        """True once something newer than `version` is there, False after `timeout` seconds."""
        ...

    async def jobs(self, ids: Sequence[PromptId]) -> dict[PromptId, Job | None]: ...

    async def files(self, refs: Sequence[FileRef]) -> dict[FileRef, Kept | None]: ...

    async def all_files(self) -> dict[FileRef, Kept]:
        """Every file that was uploaded and is kept."""
        ...

    async def all_ids(self) -> list[PromptId]:
        """Of all prompts that are live or in the history."""
        ...


class FarmStore(Protocol):
    async def workers(self) -> dict[WorkerName, Worker]:
        """All workers, with what was last seen of them."""
        ...

    async def some(self, names: Collection[WorkerName]) -> tuple[dict[WorkerName, Worker], WorkerName | None]:
        """Those of these workers that are there, and the home worker's name."""
        ...

    async def put(self, entry: WorkerEntry, *, new: bool = False) -> bool: ...

    async def remove(self, name: WorkerName) -> Literal["ok", "busy", "unknown"]: ...

    async def publish(self, worker: Worker) -> None:
        """Let all replicas see what this one saw."""
        ...

    async def emptied(self, name: WorkerName, *, nodes: bool) -> None:
        """Let all replicas know that its models are gone, with `nodes` its node cache too."""
        ...

    async def save_catalogue(self, digest: str, raw: bytes) -> None: ...

    async def catalogue(self, digest: str) -> bytes | None: ...

    async def farm_id(self) -> str:
        """What this farm is called on the disks of its workers; lasting, and no other farm's."""
        ...

    async def lives(self, name: WorkerName) -> dict[str, int]:
        """The recorded life of each folder of a worker's disk, by type; kept for a year, also after it was removed."""
        ...

    async def begin_life(self, name: WorkerName, type: str, before: int, life: int) -> int:
        """A folder that was in the life `before` (0: in none) is in `life` from now on, unless somebody said so
        already; the life that is recorded now."""
        ...

    async def home(self) -> WorkerName | None: ...

    async def set_home(self, name: WorkerName) -> None: ...

    async def lease(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that this replica holds from now on, for the lease's time to live."""
        ...

    async def release(self, names: Sequence[str]) -> None:
        """Give leases back, and be dead to the others: this replica is leaving."""
        ...

    async def alive(self, replica: str) -> bool: ...
