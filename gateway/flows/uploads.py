"""POST /upload/image: bytes into the blob store, a name by ComfyUI's rules, for the whole farm (contract 5.1)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.domain.errors import BadRequest, BlobsUnavailable, BrokenBody
from gateway.domain.files import WRITTEN, bare
from gateway.domain.files.index import Naming
from gateway.domain.files.refs import TYPES, FileRef, Outside, located
from gateway.domain.ports.blobs import Blob, Blobs
from gateway.domain.ports.inputs import InputStore
from gateway.flows.mirror import Mirror

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """A file of a form; its bytes are kept already."""

    filename: str
    blob: Blob


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent. `image` is the file of that name, or the text of a plain field of that name."""

    fields: Mapping[str, str]
    image: Received | str | None


class NothingUploaded(BadRequest):
    """ComfyUI's empty 400: no file, or one that would leave its folder."""


class Uploads:
    def __init__(
        self, store: InputStore, blobs: Blobs, mirror: Mirror, bring: Callable[[FileRef], Awaitable[object]]
    ) -> None:
        """`bring` takes a file in that only a worker's own disk has, so that its name counts as taken."""
        self._store = store
        self._blobs = blobs
        self._mirror = mirror
        self._bring = bring

    async def keep(self, chunks: AsyncIterable[bytes]) -> Blob:
        return await self._blobs.put(chunks)

    async def drop(self, keys: Iterable[str]) -> None:
        """Blobs that nobody will ask for; what cannot be deleted now is found by the sweeping."""
        for key in keys:
            try:
                await self._blobs.delete(key)
            except BlobsUnavailable as error:
                log.warning("blob %s is left over: %s", key, error)

    async def image(self, form: Form) -> dict[str, str]:
        """ComfyUI's reply. Raises NothingUploaded, or BrokenBody where ComfyUI answers its bare 500."""
        received, naming = await self.checked(form)
        return await self.named(naming, received.blob, received.blob.digest, form)

    async def checked(self, form: Form) -> tuple[Received, Naming]:
        """In ComfyUI's order; what is refused is dropped. Nobody uploads under the name of a worker's output."""
        try:
            received, naming = naming_of(form)
            self._check(naming.ref)
        except BadRequest:
            if isinstance(form.image, Received):
                await self.drop([form.image.blob.key])
            raise
        return received, naming

    def _check(self, ref: FileRef) -> None:
        if ref.type in WRITTEN and bare(ref.name, self._mirror.workers) is not None:
            raise NothingUploaded(f"{ref} is the name of what a worker writes", field="image")

    async def named(self, naming: Naming, blob: Blob, compared: str, form: Form) -> dict[str, str]:
        """Give the blob its name, and answer."""
        await self._mirror.fresh()
        if naming.ref not in self._mirror.inputs:
            await self._bring(naming.ref)
        placed = await self._store.place(naming, blob, compared)
        await self.drop(placed.useless)
        subfolder = form.fields.get("subfolder", "")
        return {"name": naming.spelled(placed.count), "subfolder": subfolder, "type": naming.ref.type}


def naming_of(form: Form) -> tuple[Received, Naming]:
    type = form.fields.get("type", "input")
    if type not in TYPES:
        raise BrokenBody(f"there is no folder of type {type!r}", field="type")
    if not form.image:
        raise NothingUploaded("no image was sent", field="image")
    if isinstance(form.image, str) or not form.image.filename:
        raise BrokenBody("image is no file with a name", field="image")
    shown, subfolder = form.image.filename, form.fields.get("subfolder", "")
    try:
        ref = located(type, subfolder, shown)
    except Outside as error:
        raise NothingUploaded(f"the file would not be in its folder: {error}", field="image") from None
    return form.image, Naming(ref, shown, form.fields.get("overwrite") in ("true", "1"))
