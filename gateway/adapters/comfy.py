"""A worker's control API: Comfy over the aiohttp pool that also carries the streams.

Reads are tried again when the connection fails; POST /prompt never is, for what became of it must first be asked.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from gateway.domain.addresses import masked
from gateway.domain.errors import WorkerRefused, WorkerRejected, WorkerSilent
from gateway.domain.files import OutputFile
from gateway.domain.ports import PostAnswer, QueueItem, WorkerQueue

_CONTROL_TIMEOUT = 10.0
_CATALOGUE_TIMEOUT = 60.0
_AGAIN_AFTER = 0.1
_PLAIN = {"Accept-Encoding": "identity"}
_JSON = {**_PLAIN, "Content-Type": "application/json"}
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        kind = WorkerRefused if isinstance(error, _NEVER_SENT) else WorkerSilent
        raise kind(masked(f"{url}: {str(error) or type(error).__name__}")) from error
    except ValueError as error:
        raise WorkerSilent(masked(f"{url}: no JSON: {error}")) from error


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    content: bytes
    content_type: str


class ComfyApi:
    def __init__(self, session: aiohttp.ClientSession, *, connect_timeout: float) -> None:
        self._session = session
        self._connect = connect_timeout

    async def post_prompt(self, url: str, body: bytes, timeout: float) -> PostAnswer:
        """On the request path, hence straight on the pool. WorkerRefused: nothing of it was sent."""
        limits = aiohttp.ClientTimeout(total=timeout, connect=self._connect)
        headers = {"Content-Type": "application/json"}
        with _translated(url):
            async with self._session.post(url + "/prompt", data=body, headers=headers, timeout=limits) as reply:
                return PostAnswer(reply.status, await reply.read(), reply.headers.get("Content-Type", ""))

    async def remaining(self, url: str, timeout: float) -> int:
        found = await self._json(url, "/prompt", timeout, tries=1)
        try:
            return int(found["exec_info"]["queue_remaining"])
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerSilent(f"{url}: GET /prompt is not ComfyUI's") from error

    async def queue(self, url: str) -> WorkerQueue:
        found = await self._json(url, "/queue")
        return WorkerQueue(_items(found.get("queue_running")), _items(found.get("queue_pending")))

    async def history(self, url: str, id: str) -> dict[str, Any] | None:
        found = await self._json(url, f"/history/{id}")
        record = found.get(id)
        return record if isinstance(record, dict) else None

    async def newest(self, url: str, count: int) -> dict[str, dict[str, Any]]:
        found = await self._json(url, f"/history?max_items={count}")
        return {id: record for id, record in found.items() if isinstance(record, dict)}

    async def stats(self, url: str, timeout: float) -> dict[str, Any]:
        return await self._json(url, "/system_stats", timeout, tries=1)

    async def object_info(self, url: str) -> bytes:
        reply = await self._get(url, "/object_info", _CATALOGUE_TIMEOUT)
        return reply.content

    async def get(self, url: str, path: str) -> bytes | None:
        try:
            return (await self._get(url, path)).content
        except WorkerRejected as error:
            if error.status == 404:
                return None
            raise

    async def read(self, url: str, file: OutputFile) -> bytes | None:
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        return await self.get(url, f"/view?{urlencode(query)}")

    async def write(self, url: str, file: OutputFile, content: bytes) -> None:
        form = aiohttp.FormData({"type": file.type, "subfolder": file.subfolder, "overwrite": "true"})
        form.add_field("image", content, filename=file.filename, content_type="application/octet-stream")
        reply = await self._ask("POST", url + "/upload/image", data=form)
        if reply.status != 200:
            raise WorkerRejected(reply.status, reply.content, reply.content_type)

    async def interrupt(self, url: str, id: str) -> None:
        """By the job's own cancel where there is one: it cannot hit the prompt that follows."""
        reply = await self._post(url, f"/api/jobs/{id}/cancel", b"{}")
        if reply.status in (404, 405):
            await self._post(url, "/interrupt", json.dumps({"prompt_id": id}).encode())

    async def dequeue(self, url: str, id: str) -> None:
        await self._post(url, "/queue", json.dumps({"delete": [id]}).encode())

    async def free(self, url: str, body: bytes) -> None:
        await self._post(url, "/free", body)

    async def _post(self, url: str, path: str, body: bytes) -> _Reply:
        return await self._ask("POST", url + path, data=body, headers=_JSON)

    async def _json(self, url: str, path: str, timeout: float = _CONTROL_TIMEOUT, tries: int = 2) -> dict[str, Any]:
        reply = await self._get(url, path, timeout, tries)
        with _translated(url):
            found = json.loads(reply.content)
        if not isinstance(found, dict):
            raise WorkerSilent(f"{masked(url)}: GET {path} gave no object")
        return found

    async def _get(self, url: str, path: str, timeout: float = _CONTROL_TIMEOUT, tries: int = 2) -> _Reply:
        """Tried again after a moment if the connection broke off."""
        while True:
            try:
                reply = await self._ask("GET", url + path, timeout)
            except WorkerSilent:
                tries -= 1
                if not tries:
                    raise
                await asyncio.sleep(random.uniform(0.0, _AGAIN_AFTER))
            else:
                break
        if reply.status >= 400:
            raise WorkerRejected(reply.status, reply.content, reply.content_type)
        return reply

    async def _ask(
        self,
        method: str,
        address: str,
        timeout: float = _CONTROL_TIMEOUT,
        *,
        data: bytes | aiohttp.FormData | None = None,
        headers: Mapping[str, str] = _PLAIN,
    ) -> _Reply:
        connect = min(timeout, self._connect)
        limits = aiohttp.ClientTimeout(total=connect + timeout, connect=connect)
        with _translated(address):
            async with self._session.request(
                method, address, data=data, headers=headers, timeout=limits, allow_redirects=False
            ) as reply:
                return _Reply(reply.status, await reply.read(), reply.headers.get("Content-Type", ""))


def _items(rows: Any) -> Mapping[str, QueueItem]:
    """Queue tuples of five or six elements."""
    found: dict[str, QueueItem] = {}
    for row in rows or ():
        if isinstance(row, list) and len(row) >= 5:
            extra_data = row[3] if isinstance(row[3], dict) else {}
            found[str(row[1])] = QueueItem(row[2], extra_data, row[4])
    return found
