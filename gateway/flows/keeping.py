"""How long the farm keeps uploaded files: until nobody has used them for long, or until there are too many bytes.

One replica does it, the leading one. What a prompt that waits or runs names always stays.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from gateway.domain.errors import BlobsUnavailable
from gateway.domain.files.refs import FileRef
from gateway.domain.ports.blobs import Blobs
from gateway.domain.ports.inputs import InputStore
from gateway.flows.mirror import Mirror

log = logging.getLogger(__name__)

_JUST_USED = 300.0
"""Seconds for which a file stays whatever happens: somebody may be about to send a prompt that names it."""
_BATCH = 500
_NAMES_KEPT = 100_000
_SWEEP_EVERY = 3600.0
_SWEPT_AFTER = 3600.0
"""Seconds from when a blob that has no name was left over by a gateway that died, and is not just on its way."""


@dataclass(frozen=True, slots=True)
class Keep:
    """For how many seconds without use, and how many bytes at most."""

    ttl: float
    max_bytes: int


class Keeping:
    def __init__(self, store: InputStore, blobs: Blobs, mirror: Mirror, keep: Keep) -> None:
        self._store = store
        self._blobs = blobs
        self._mirror = mirror
        self._keep = keep
        self._swept_at = float("-inf")

    async def tick(self) -> None:
        """Remove what is due, the least recently used first."""
        await self._mirror.fresh()
        total, count = await self._store.total(), len(self._mirror.inputs)
        named = self._named()
        for ref, idle in await self._store.oldest(_BATCH):
            if ref in named:
                await self._store.touch([ref])
            elif not self._is_due(idle, too_much=total > self._keep.max_bytes or count > _NAMES_KEPT):
                break
            else:
                total -= await self._removed(ref)
                count -= 1
        if time.monotonic() - self._swept_at >= _SWEEP_EVERY:
            self._swept_at = time.monotonic()
            await self.sweep()

    async def sweep(self) -> None:
        """Delete blobs that no name has: a gateway died between keeping and naming, or naming and deleting."""
        old = [key async for key in self._blobs.keys(_SWEPT_AFTER)]
        known = await self._store.known_blobs()
        for key in old:
            if key not in known:
                log.info("blob %s has no name and is deleted", key)
                await self._blobs.delete(key)

    def _named(self) -> set[FileRef]:
        jobs = [*self._mirror.live.values(), *self._mirror.accepted.values()]
        return {ref for job in jobs for ref in job.files}

    def _is_due(self, idle: float, *, too_much: bool) -> bool:
        return idle >= min(_JUST_USED, self._keep.ttl) and (too_much or idle > self._keep.ttl)

    async def _removed(self, ref: FileRef) -> int:
        """How many bytes became free."""
        kept = self._mirror.inputs.get(ref)
        blob = await self._store.remove(ref, min(_JUST_USED, self._keep.ttl))
        if blob is None:
            return 0
        log.info("input file %s is removed", ref)
        try:
            await self._blobs.delete(blob)
        except BlobsUnavailable as error:
            log.warning("blob %s is left over: %s", blob, error)
        return kept.size if kept else 0
