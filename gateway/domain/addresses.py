"""Where a worker is: `[NAME=]URL`, as people write it in settings, in flags and to `/gateway/workers`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.domain.ids import WorkerName

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAMED = re.compile(r"([^=/]*)=(.*)", re.DOTALL)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*(?:@[^/\s@]*)*@")
_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WorkerAddress:
    """A worker's lasting name and the base URL (no slash at its end) under which its routes are."""

    name: WorkerName
    url: str

    def __str__(self) -> str:
        return f"{self.name}={masked(self.url)}"


def worker_name(text: str) -> WorkerName:
    """Raises ValueError for what cannot be part of a file name and a URL without quoting."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"a worker's name is 1 to 64 of A-Z a-z 0-9 _ . - and not {text!r}")
    if not text.strip("."):
        raise ValueError(f"{text!r} would be a folder in a URL, not a worker's name")
    return WorkerName(text)


def worker_url(text: str) -> str:
    """The base URL without the slash at its end; ValueError says what is wrong, without its password."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"{masked(text)!r} is not a URL: {exc}") from None
    if parts.scheme not in _DEFAULT_PORT:
        raise ValueError(f"{masked(text)!r} must begin with http:// or https://")
    if not host or port == 0 or re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", text):
        raise ValueError(f"{masked(text)!r} has no usable host and port")
    if parts.query or parts.fragment:
        raise ValueError(f"{masked(text)!r} must end before any ? or #")
    return text.rstrip("/#?")


def worker_address(text: str) -> WorkerAddress:
    """Read `NAME=URL`, or `URL` alone, which is named after its host and port."""
    named = _NAMED.fullmatch(text.strip())
    url = worker_url(named[2] if named else text.strip())
    return WorkerAddress(worker_name(named[1]) if named else _derived(url), url)


def worker_addresses(texts: Iterable[str | WorkerAddress]) -> tuple[WorkerAddress, ...]:
    """Read all of them; a name or a URL that comes twice is a ValueError."""
    found: list[WorkerAddress] = []
    for text in texts:
        address = text if isinstance(text, WorkerAddress) else worker_address(text)
        for other in found:
            if other.url == address.url:
                raise ValueError(f"{masked(address.url)} is there twice")
            if other.name == address.name:
                raise ValueError(f"two are named {address.name!r}: write NAME=URL to tell them apart")
        found.append(address)
    return tuple(found)


def masked(text: str) -> str:
    """The text with what stands before the @ of any URL in it hidden."""
    return _CREDENTIALS.sub("***@", text)


def _derived(url: str) -> WorkerName:
    parts = urlsplit(url)
    host = re.sub(r"[^A-Za-z0-9_.-]+", "-", parts.hostname or "").strip("-.")
    port = str(parts.port or _DEFAULT_PORT[parts.scheme])
    return WorkerName(f"{host[: 63 - len(port)]}-{port}".lstrip("-"))


def blobs_url(text: str) -> str:
    """Where files are kept; empty for a folder of the gateway's own. Raises ValueError."""
    parts = urlsplit(text)
    if text and parts.scheme not in ("file", "s3", "gs", "az"):
        raise ValueError("must begin with file:///, s3://, gs:// or az://")
    if parts.scheme == "file" and (parts.netloc or parts.path in ("", "/")):
        raise ValueError("a folder has three slashes: file:///srv/blobs")
    if parts.password or re.search("secret|password|token|access_?key", parts.query, re.IGNORECASE):
        raise ValueError("credentials belong into the environment, as AWS_SECRET_ACCESS_KEY and the like")
    return text
