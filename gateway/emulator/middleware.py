"""What ComfyUI does around every route: its check of Host and Origin, and its cache headers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
CACHED = frozenset({200, 201, 202, 203, 204, 205, 206, 301, 308})


@web.middleware
async def cache_control(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pictures keep for a day, their absence for an hour; scripts are asked for each time."""
    response = await handler(request)
    path = request.path
    last = path.rpartition("/")[2]
    if path.endswith((".js", ".css")) or (last.startswith("index") and last.endswith(".json")):
        response.headers.setdefault("Cache-Control", "no-cache")
    elif path.lower().endswith(PICTURES):
        if response.status == 404:
            response.headers.setdefault("Cache-Control", "public, max-age=3600")
        elif response.status in CACHED:
            response.headers.setdefault("Cache-Control", "public, max-age=86400")
        elif response.status in (302, 303, 307):
            response.headers.setdefault("Cache-Control", "no-cache")
    return response


def door(*, is_new: bool) -> Middleware:
    """403 for a page of another site that talks to a worker on this machine. OPTIONS is answered for any path."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_new and request.headers.get("Sec-Fetch-Site") == "cross-site":
            return web.Response(status=403)
        if "Host" in request.headers and "Origin" in request.headers:
            host, origin = urlsplit("//" + request.headers["Host"].lower()), urlsplit(request.headers["Origin"].lower())
            hosts = (
                (host.hostname, origin.hostname) if None in (host.port, origin.port) else (host.netloc, origin.netloc)
            )
            if all(hosts) and hosts[0] != hosts[1] and await _is_loopback(host.hostname):
                return web.Response(status=403)
        if request.method == "OPTIONS":
            return web.Response()
        return await handler(request)

    return check


async def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)
