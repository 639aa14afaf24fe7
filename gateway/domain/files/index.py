"""The files that were uploaded to the farm, as each replica knows them, and how they get their names."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nlargest

from gateway.domain.files.refs import FileRef

Lists = Mapping[tuple[str, str], tuple[str, ...]]
"""Names by type and subfolder, the newest first."""
LISTED = 10_000
"""Of the newest files that many are listed; older ones are there for whoever names them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the farm has under one name. Names of equal bytes share a blob."""

    blob: str
    digest: str
    size: int
    at: float
    """When it was written, in seconds since the epoch: its modification time."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The names that an upload may get: the wanted one, else with ` (1)`, ` (2)`… before the extension."""

    ref: FileRef
    shown: str
    """As it was sent, which is how the answer spells it."""
    overwrite: bool

    @property
    def parts(self) -> tuple[str, str]:
        """What stands before and after the ` (1)` in `str(ref)`."""
        return posixpath.splitext(str(self.ref))

    def spelled(self, count: int) -> str:
        root, extension = posixpath.splitext(self.shown)
        return f"{root} ({count}){extension}" if count else self.shown


class FileIndex:
    """What is kept, by name; `version` rises with each change."""

    def __init__(self) -> None:
        self._kept: dict[FileRef, Kept] = {}
        self._lists: tuple[int, Lists] = (-1, {})
        self.version = 0

    def __contains__(self, ref: FileRef) -> bool:
        return ref in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, ref: FileRef) -> Kept | None:
        return self._kept.get(ref)

    def put(self, changes: Mapping[FileRef, Kept | None]) -> None:
        for ref, kept in changes.items():
            if kept is None:
                self._kept.pop(ref, None)
            else:
                self._kept[ref] = kept
        self.version += 1

    def replace(self, everything: Mapping[FileRef, Kept]) -> None:
        self._kept = dict(everything)
        self.version += 1

    def newest(self, type: str, subfolder: str = "") -> tuple[str, ...]:
        """The names in one folder, the last written first: as many as a list can sensibly show."""
        return self.lists().get((type, subfolder), ())

    def lists(self) -> Lists:
        """The same for each folder; a copy, made once for each version."""
        if self._lists[0] != self.version:
            last = nlargest(LISTED, self._kept.items(), key=lambda one: one[1].at)
            found: dict[tuple[str, str], list[str]] = {}
            for ref, _ in last:
                found.setdefault((ref.type, ref.subfolder), []).append(ref.name)
            self._lists = (self.version, {folder: tuple(names) for folder, names in found.items()})
        return self._lists[1]

    def size(self, refs: Iterable[FileRef]) -> int:
        """Bytes of those that are kept."""
        return sum(kept.size for ref in refs if (kept := self._kept.get(ref)) is not None)
