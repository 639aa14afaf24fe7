"""POST /upload/mask: composed by a worker that has the original, kept by the farm (contract 5.2)."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from typing import Any

from gateway.domain.callers import NOBODY
from gateway.domain.errors import (
    BadRequest,
    BrokenBody,
    NotFound,
    NoWorker,
    WorkerRefused,
    WorkerRejected,
    WorkerSilent,
)
from gateway.domain.files import WRITTEN
from gateway.domain.files.refs import TYPES, FileRef, Outside, annotated, located
from gateway.domain.ports.blobs import Blob, Blobs
from gateway.domain.ports.worker_files import WorkerFiles
from gateway.domain.workers import Worker
from gateway.flows.mirror import Mirror
from gateway.flows.reuse import Reuse
from gateway.flows.staging import Stage
from gateway.flows.uploads import Form, Uploads

log = logging.getLogger(__name__)

_TRIES = 3


class Masks:
    def __init__(
        self,
        uploads: Uploads,
        blobs: Blobs,
        mirror: Mirror,
        worker_files: WorkerFiles,
        staging: Stage,
        reuse: Reuse,
    ) -> None:
        self._reuse = reuse
        self._uploads = uploads
        self._blobs = blobs
        self._mirror = mirror
        self._worker_files = worker_files
        self._staging = staging

    async def mask(self, form: Form) -> dict[str, str]:
        """ComfyUI's reply. Raises as `Uploads.image` does; BadRequest when there is no such original, for which
        ComfyUI would name a file that does not exist."""
        received, naming = await self._uploads.checked(form)
        try:
            text = form.fields.get("original_ref", "")
            original = original_of(text)
            await self._mirror.fresh()
            made = await self._composed(received.blob, original, text)
        finally:
            await self._uploads.drop([received.blob.key])
        return await self._uploads.named(naming, made, received.blob.digest, form)

    async def _composed(self, mask: Blob, original: FileRef, text: str) -> Blob:
        failure: Exception = NoWorker("no worker is up to compose the mask")
        for worker in self._able()[:_TRIES]:
            try:
                return await self._on(worker, mask, original, text)
            except (WorkerRefused, WorkerSilent) as error:
                log.warning("mask on %s: %s", worker.name, error)
                failure = error
        raise failure

    async def _on(self, worker: Worker, mask: Blob, original: FileRef, text: str) -> Blob:
        known = await self._is_the_farms(original)
        if known:
            await self._staging.stage(worker, [original], NOBODY)
        if not known or await self._worker_files.stat(worker.url, original) is None:
            raise BadRequest(f"original_ref: there is no {original.type} file {original.path!r}", field="original_ref")
        result = FileRef("temp", f"gateway-mask-{uuid.uuid4().hex}.png")
        try:
            async with self._blobs.open(mask.key) as chunks:
                await self._worker_files.compose(worker.url, result, mask.size, chunks, text)
            async with self._worker_files.open(worker.url, result) as opened:
                return await self._blobs.put(opened.chunks)
        except WorkerRejected as error:
            raise BrokenBody(f"the worker could not compose the mask: {error}") from error
        except NotFound as error:
            raise BadRequest(f"original_ref: {original} cannot be an original", field="original_ref") from error

    async def _is_the_farms(self, original: FileRef) -> bool:
        """What a worker wrote and named by itself may be another picture on each worker."""
        own = original.type in WRITTEN and original not in self._mirror.inputs
        return not own or await self._reuse.knows(original)

    def _able(self) -> Sequence[Worker]:
        up = [worker for worker in self._mirror.workers.values() if worker.answers]
        return sorted(up, key=lambda worker: (self._mirror.load(worker), worker.name != self._mirror.home))


def original_of(text: str) -> FileRef:
    """Raises BrokenBody for what ComfyUI cannot read, BadRequest for what it refuses without saying so."""
    try:
        found: Any = json.loads(text)
        name, type = annotated(found["filename"])
        type, subfolder = type or found.get("type", "output"), found.get("subfolder", "")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise BrokenBody("original_ref is no JSON object with a filename", field="original_ref") from error
    if name and isinstance(subfolder, str) and not name.startswith("/") and ".." not in name and type in TYPES:
        try:
            return located(type, subfolder, name)
        except Outside:
            pass
    raise BadRequest(f"original_ref: {text[:200]} names no file of the farm's folders", field="original_ref")
