from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from gateway.edge.callers import Callers


def scope(peer: str | None = "9.9.9.9", query: bytes = b"", **headers: str | list[str]) -> dict[str, Any]:
    pairs = [(name, [given] if isinstance(given, str) else given) for name, given in headers.items()]
    return {
        "client": (peer, 1) if peer is not None else None,
        "query_string": query,
        "headers": [(name.replace("_", "-").encode(), line.encode()) for name, lines in pairs for line in lines],
    }


@pytest.mark.parametrize(
    ("query", "header", "body", "expected"),
    [
        (b"client_id=q", "h", "b", "q"),
        (b"clientId=q%2F1", "h", "b", "q/1"),
        (b"client_id=first&client_id=second&clientId=third", "", None, "first"),
        (b"clientId=", "h", "b", "h"),
        (b"", "h", "b", "h"),
        (b"", "", "b", "b"),
        (b"x=1", "", None, None),
        (b"", "", {"not": "text"}, None),
        (b"", "", "", None),
    ],
)
def test_a_client_id_is_looked_for_in_query_header_and_body(
    query: bytes, header: str, body: object, expected: str | None
) -> None:
    caller = Callers().of(scope(query=query, x_client_id=header), body)
    assert caller.client_id == expected
    assert caller.key == (expected or "9.9.9.9")


TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param("9.9.9.9", "1.1.1.1", "9.9.9.9", id="a stranger is not believed"),
        pytest.param("10.0.0.1", "1.1.1.1", "1.1.1.1", id="a trusted proxy is"),
        pytest.param("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1", id="but not what the client wrote before it"),
        pytest.param("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1", id="two proxies"),
        pytest.param("10.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1", id="two lines"),
        pytest.param("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", id="a client within"),
        pytest.param("10.0.0.1", "1.1.1.1, unknown", "10.0.0.1", id="no further than can be read"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="nothing forwarded"),
        pytest.param("10.0.0.1", "1.1.1.1:4711", "1.1.1.1", id="with a port"),
        pytest.param("fd00::1", "[2001:DB8::1]:443", "2001:db8::1", id="IPv6 with a port"),
        pytest.param("fd00::1", "2001:db8:0::1", "2001:db8::1", id="IPv6 in one spelling"),
        pytest.param("::ffff:10.0.0.1", "1.1.1.1", "1.1.1.1", id="IPv4 on an IPv6 socket"),
        pytest.param("fe80::1%eth0", "1.1.1.1", "fe80::1", id="zone"),
        pytest.param("testclient", "1.1.1.1", "testclient", id="no address at all"),
        pytest.param(None, "1.1.1.1", "", id="a unix socket"),
    ],
)
def test_the_peer_is_the_nearest_hop_that_is_not_ours(
    peer: str | None, forwarded: str | list[str], expected: str
) -> None:
    assert Callers(TRUSTED).of(scope(peer, x_forwarded_for=forwarded)).peer == expected
