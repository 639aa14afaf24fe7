"""The workers' node lists, parsed once for all workers that have the same one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from gateway.domain.catalogue import Catalogue, NodeClass, Pool, parse
from gateway.domain.ports import FarmStore
from gateway.domain.union import unite


class Catalogues:
    """Catalogues by digest, and the union of their node classes. Keeps what `retain` is told is in use."""

    def __init__(self, farm: FarmStore) -> None:
        self._farm = farm
        self._pool = Pool()
        self._known: dict[str, Catalogue] = {}
        self._united: tuple[str, ...] = ()
        self._union: dict[str, NodeClass] = {}

    @property
    def nodes(self) -> Mapping[str, NodeClass]:
        """Every node class that some worker has, with the options of all."""
        return self._union

    def get(self, digest: str) -> Catalogue | None:
        return self._known.get(digest)

    async def load(self, digest: str) -> Catalogue | None:
        """The catalogue from memory, else from the store; None when the store has lost it."""
        if digest in self._known:
            return self._known[digest]
        raw = await self._farm.catalogue(digest)
        return None if raw is None else await self._parse(raw)

    async def save(self, raw: bytes) -> Catalogue:
        """Parse a worker's answer and share it with the other replicas. Raises BadRequest for garbage."""
        catalogue = await self._parse(raw)
        await self._farm.save_catalogue(catalogue.digest, raw)
        return catalogue

    def retain(self, digests: Iterable[str]) -> None:
        self._known = {digest: self._known[digest] for digest in dict.fromkeys(digests) if digest in self._known}
        if (now := tuple(self._known)) != self._united:
            self._united = now
            self._union = unite(list(self._known.values()))

    async def _parse(self, raw: bytes) -> Catalogue:
        catalogue = await asyncio.to_thread(parse, raw, self._pool)
        return self._known.setdefault(catalogue.digest, catalogue)
