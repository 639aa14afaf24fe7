"""The index of uploaded files in the store, and what each worker was sent of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.files.index import Naming
from gateway.domain.files.refs import FileRef
from gateway.domain.ids import WorkerName
from gateway.domain.ports.blobs import Blob


@dataclass(frozen=True, slots=True)
class Placed:
    """Under which name an upload is from now on. `useless` are blobs that no name has any more: delete them."""

    count: int
    """0 for the wanted name, else the number in its brackets."""
    ref: FileRef
    useless: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a worker was sent under a name: the digest, and the ETag that its own /view gave for it then."""

    digest: str
    etag: str


class InputStore(Protocol):
    """Each method is one atomic step."""

    async def place(self, naming: Naming, blob: Blob, compared: str) -> Placed:
        """Give an uploaded blob its name, by ComfyUI's rules. `compared` is the digest that decides whether a taken
        name already has these bytes."""
        ...

    async def touch(self, refs: Sequence[FileRef]) -> None:
        """They are used now; what is not kept is passed over."""
        ...

    async def oldest(self, count: int) -> list[tuple[FileRef, float]]:
        """Those not used for the longest, and the seconds since then."""
        ...

    async def remove(self, ref: FileRef, idle: float) -> str | None:
        """Forget a name, unless it was used within the last `idle` seconds; the blob that is to be deleted, if any."""
        ...

    async def total(self) -> int:
        """Bytes of all blobs that have a name."""
        ...

    async def known_blobs(self) -> set[str]: ...

    async def sent(self, worker: WorkerName, refs: Sequence[FileRef]) -> Mapping[FileRef, Sent]: ...

    async def note_sent(self, worker: WorkerName, ref: FileRef, sent: Sent) -> None: ...
