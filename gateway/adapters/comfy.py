"""A worker's control API: Comfy over httpx, which rides on the aiohttp pool that also carries the streams.

Reads are tried again when the connection fails; POST /prompt never is, for what became of it must first be asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from gateway.domain.addresses import masked
from gateway.domain.errors import WorkerRefused, WorkerRejected, WorkerSilent
from gateway.domain.files import OutputFile
from gateway.domain.ports import PostAnswer, QueueItem, WorkerQueue

_CONTROL_TIMEOUT = 10.0
_CATALOGUE_TIMEOUT = 60.0
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, aiohttp.ClientError, TimeoutError, OSError) as error:
        # To httpx-aiohttp every lost connection is one that was never made; its cause tells them apart.
        cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
        kind = WorkerRefused if isinstance(cause, _NEVER_SENT) else WorkerSilent
        raise kind(masked(f"{url}: {str(error) or type(error).__name__}")) from error
    except ValueError as error:
        raise WorkerSilent(masked(f"{url}: no JSON: {error}")) from error


class ComfyApi:
    def __init__(self, session: aiohttp.ClientSession, *, connect_timeout: float) -> None:
        self._session = session
        self._connect = connect_timeout
        transport = AiohttpTransport(client=session)
        # aiohttp itself sends the credentials of a URL, and refuses to if httpx has done so already.
        self._http = httpx.AsyncClient(transport=transport, auth=httpx.Auth(), timeout=_CONTROL_TIMEOUT)

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
        fields = {"type": file.type, "subfolder": file.subfolder, "overwrite": "true"}
        part = {"image": (file.filename, content, "application/octet-stream")}
        with _translated(url):
            reply = await self._http.post(url + "/upload/image", data=fields, files=part)
        if reply.status_code != 200:
            raise WorkerRejected(reply.status_code, reply.content, reply.headers.get("content-type", ""))

    async def interrupt(self, url: str, id: str) -> None:
        """By the job's own cancel where there is one: it cannot hit the prompt that follows."""
        reply = await self._post(url, f"/api/jobs/{id}/cancel", b"{}")
        if reply.status_code in (404, 405):
            await self._post(url, "/interrupt", json.dumps({"prompt_id": id}).encode())

    async def dequeue(self, url: str, id: str) -> None:
        await self._post(url, "/queue", json.dumps({"delete": [id]}).encode())

    async def free(self, url: str, body: bytes) -> None:
        await self._post(url, "/free", body)

    async def _post(self, url: str, path: str, body: bytes) -> httpx.Response:
        with _translated(url):
            return await self._http.post(url + path, content=body, headers={"Content-Type": "application/json"})

    async def _json(self, url: str, path: str, timeout: float = _CONTROL_TIMEOUT, tries: int = 2) -> dict[str, Any]:
        reply = await self._get(url, path, timeout, tries)
        with _translated(url):
            found = json.loads(reply.content)
        if not isinstance(found, dict):
            raise WorkerSilent(f"{masked(url)}: GET {path} gave no object")
        return found

    async def _get(self, url: str, path: str, timeout: float = _CONTROL_TIMEOUT, tries: int = 2) -> httpx.Response:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(WorkerSilent),
            stop=stop_after_attempt(tries),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt, _translated(url):
                reply = await self._http.get(url + path, timeout=timeout)
        if reply.status_code >= 400:
            raise WorkerRejected(reply.status_code, reply.content, reply.headers.get("content-type", ""))
        return reply


def _items(rows: Any) -> Mapping[str, QueueItem]:
    """Queue tuples of five or six elements."""
    found: dict[str, QueueItem] = {}
    for row in rows or ():
        if isinstance(row, list) and len(row) >= 5:
            extra_data = row[3] if isinstance(row[3], dict) else {}
            found[str(row[1])] = QueueItem(row[2], extra_data, row[4])
    return found
