"""How long it takes to bring files to a worker: what each has, and how fast each was sent the last ones.

Pure, and told by whoever sends. What a replica does not know of counts as missing, for a guess that is too long by a
picture does less harm than none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

from gateway.domain.files.refs import FileRef
from gateway.domain.ids import WorkerName

FIRST_RATE = 50e6
"""Bytes a second, until something was sent."""
OVERHEAD = 0.02
"""Seconds that each file costs besides its bytes."""
_WEIGHT = 0.3
_SMALL = 2**20
_KEPT = 5000

_LEAST_RATE = 2**20
_PATIENCE = 30.0


def patience(size: int) -> float:
    """Seconds after which a file of this size counts as never arriving."""
    return _PATIENCE + size / _LEAST_RATE


class Transfers:
    def __init__(self) -> None:
        self._rates: dict[WorkerName, float] = {}
        self._there: dict[WorkerName, OrderedDict[FileRef, str]] = {}

    def sent(self, worker: WorkerName, size: int, seconds: float) -> None:
        """A file went there. Small ones tell more of the way than of its width."""
        if size >= _SMALL and seconds > 0:
            before = self._rates.get(worker, size / seconds)
            self._rates[worker] = before + _WEIGHT * (size / seconds - before)

    def there(self, worker: WorkerName, ref: FileRef, digest: str) -> None:
        """It has these bytes under that name."""
        has = self._there.setdefault(worker, OrderedDict())
        has[ref] = digest
        has.move_to_end(ref)
        if len(has) > _KEPT:
            has.popitem(last=False)

    def retain(self, workers: Collection[WorkerName]) -> None:
        for known in (self._rates, self._there):
            for worker in known.keys() - set(workers):
                del known[worker]

    def staged(self, files: Mapping[FileRef, str]) -> frozenset[WorkerName]:
        """The workers that have all of these, by their digests."""
        return frozenset(worker for worker in self._there if not self._missing(files, worker))

    def seconds(self, files: Mapping[FileRef, str], sizes: Mapping[FileRef, int], worker: WorkerName) -> float:
        """To bring those that it lacks."""
        missing = self._missing(files, worker)
        size = sum(sizes.get(ref, 0) for ref in missing)
        return len(missing) * OVERHEAD + size / self._rates.get(worker, FIRST_RATE)

    def typical(self, sizes: Collection[int]) -> float:
        """Seconds for files of these sizes to a worker that has none of them, and is as fast as the others."""
        rate = sum(self._rates.values()) / len(self._rates) if self._rates else FIRST_RATE
        return len(sizes) * OVERHEAD + sum(sizes) / rate

    def _missing(self, files: Mapping[FileRef, str], worker: WorkerName) -> list[FileRef]:
        has: Mapping[FileRef, str] = self._there.get(worker, {})
        return [ref for ref, digest in files.items() if has.get(ref) != digest]
