"""From a request to its Caller: the client_id that it gives, else the address it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import parse_qsl

from starlette.types import Scope

from gateway.domain.callers import Caller
from gateway.domain.ids import ClientId
from gateway.edge.headers import header, values

_Address = IPv4Address | IPv6Address
_IN_QUERY = ("client_id", "clientId")


class Callers:
    """Believes `X-Forwarded-For` only as far as it was written by proxies in `trusted`."""

    def __init__(self, trusted: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def of(self, scope: Scope, body_client_id: object = None) -> Caller:
        """The caller of an HTTP or socket request; `body_client_id` is what its JSON body names, if it has one.

        The query comes before the header `X-Client-Id`, and that before the body. Empty and what is no string
        counts as absent.
        """
        given = _in_query(scope["query_string"]) or header(scope["headers"], b"x-client-id") or body_client_id
        client_id = ClientId(given) if isinstance(given, str) and given else None
        return Caller(client_id, self._peer(scope))

    def _peer(self, scope: Scope) -> str:
        """The nearest hop that no trusted proxy stands at; an unreadable one is as far as can be seen."""
        host = scope["client"][0] if scope.get("client") else ""
        peer = _address(host)
        if peer is None:
            return host
        for hop in reversed(values(scope["headers"], b"x-forwarded-for")):
            if not self._is_trusted(peer) or (further := _address(hop)) is None:
                break
            peer = further
        return str(peer)

    def _is_trusted(self, peer: _Address) -> bool:
        return any(peer in network for network in self._trusted)


def _in_query(query: bytes) -> str | None:
    if b"client" not in query:
        return None
    given = dict(reversed(parse_qsl(query.decode("latin-1"))))
    return next((given[name] for name in _IN_QUERY if name in given), None)


def _address(text: str) -> _Address | None:
    """Reads `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80` and `fe80::1%eth0`; an IPv4 in IPv6 clothes is the IPv4."""
    host = text.strip().strip('"')
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
