"""Which requests of a browser are let in, as ComfyUI decides it, before any route is looked at.

A page of any site can make a browser send requests to 127.0.0.1. ComfyUI refuses those by what the browser says of
their origin (0.3.64: `create_origin_only_middleware` in server.py; newer: middleware/origin_middleware.py), on every
route, sockets included. Here no name is ever resolved: a name is local when it is `localhost`, ends in `.localhost`,
or is listed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_CORS = (
    ("Access-Control-Allow-Methods", "POST, GET, DELETE, PUT, OPTIONS, PATCH"),
    ("Access-Control-Allow-Headers", "Content-Type, Authorization"),
    ("Access-Control-Allow-Credentials", "true"),
)


@dataclass(frozen=True, slots=True)
class Allowed:
    headers: tuple[tuple[str, str], ...] = ()
    """What the response says besides, so that a page of a listed origin may read it."""


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str
    """For the log; the client gets an empty 403."""


class Door:
    """`origins` are let in from anywhere (`*`: all are); `local_names` are this machine's names besides localhost."""

    def __init__(self, origins: Iterable[str] = (), *, local_names: Iterable[str] = ()) -> None:
        listed = [origin.strip() for origin in origins]
        self._any = "*" in listed
        self._origins = frozenset(filter(None, map(_normal, listed)))
        self._local = frozenset(name.lower().rstrip(".") for name in local_names)

    def decide(
        self, *, host: str | None, origin: str | None, site: str | None, referer: str | None = None
    ) -> Allowed | Refused:
        """From the headers Host, Origin, Sec-Fetch-Site and Referer, each None when absent."""
        if self._any:
            return Allowed((("Access-Control-Allow-Origin", "*"), *_CORS))
        if origin is not None and _normal(origin) in self._origins:
            return Allowed((("Access-Control-Allow-Origin", origin), *_CORS, ("Vary", "Origin")))
        if site == "cross-site" and not self._embedded(origin, referer):
            return Refused("Sec-Fetch-Site is cross-site")
        if host is not None and origin is not None and self._differ(host, origin):
            return Refused(f"Origin {origin!r} is not Host {host!r}")
        return Allowed()

    def _embedded(self, origin: str | None, referer: str | None) -> bool:
        """An <img> of a listed page brings no Origin, but a Referer, which no page can forge."""
        return origin is None and referer is not None and _normal(referer) in self._origins

    def _differ(self, host: str, origin: str) -> bool:
        """The ports are compared only when both are given: some browsers leave out that of the origin."""
        try:
            ours, theirs = urlsplit("//" + host.lower()), urlsplit(origin.lower())
            if not self._is_local(ours.hostname):
                return False
            here = ours.hostname if theirs.port is None else ours.netloc
            there = theirs.hostname if ours.port is None else theirs.netloc
        except ValueError:
            return True  # a port that is no number: ComfyUI fails on it with a 500
        return bool(here and there and here != there)

    def _is_local(self, hostname: str | None) -> bool:
        if not hostname:
            return False
        try:
            return ipaddress.ip_address(hostname).is_loopback
        except ValueError:
            name = hostname.rstrip(".")
            return name == "localhost" or name.endswith(".localhost") or name in self._local


def _normal(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin, or of a URL below it; None for `null`, `*` and nonsense."""
    try:
        parts = urlsplit(url.lower())
        port = _port(parts)
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or port is None:
        return None
    return parts.scheme, parts.hostname, port


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
