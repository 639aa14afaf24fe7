from __future__ import annotations

import pytest

from gateway.domain.door import Allowed, Door, Refused


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        pytest.param("127.0.0.1:8188", "http://127.0.0.1:8188", id="the same"),
        pytest.param("127.0.0.1:8188", "HTTP://127.0.0.1:8188", id="case"),
        pytest.param("LOCALHOST:8188", "http://localhost:8188", id="case of the host"),
        pytest.param("127.0.0.1:8188", "http://127.0.0.1", id="some browsers leave the port out"),
        pytest.param("127.0.0.1", "http://127.0.0.1:9000", id="and some proxies that of the host"),
        pytest.param("[::1]:8188", "http://[::1]:8188", id="IPv6"),
        pytest.param("gw.example", "http://evil.example", id="only local hosts are guarded"),
        pytest.param("192.168.1.4:8188", "http://evil.example", id="nor an address of the network"),
        pytest.param("127.0.0.1:8188", "null", id="a page without an origin has no host to compare"),
        pytest.param("127.0.0.1:8188", None, id="no origin"),
        pytest.param(None, "http://evil.example", id="no host"),
        pytest.param("", "http://evil.example", id="empty host"),
        pytest.param("localhost.evil.example", "http://evil.example", id="no name below localhost"),
        pytest.param("notlocalhost", "http://evil.example", id="nor one that ends like it"),
    ],
)
def test_let_in_as_comfyui_does(host: str | None, origin: str | None) -> None:
    assert Door().decide(host=host, origin=origin, site=None) == Allowed()


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        pytest.param("127.0.0.1:8188", "http://evil.example", id="another site"),
        pytest.param("127.0.0.1:8188", "http://localhost:8188", id="localhost is another host"),
        pytest.param("localhost:8188", "http://127.0.0.1:8188", id="and the other way"),
        pytest.param("127.0.0.1:8188", "http://127.0.0.1:9000", id="another port"),
        pytest.param("127.9.9.9:8188", "http://evil.example", id="all of 127/8 is local"),
        pytest.param("[::1]:8188", "http://evil.example", id="IPv6"),
        pytest.param("localhost.", "http://evil.example", id="with the root's dot"),
        pytest.param("ui.localhost:1", "http://evil.example", id="below localhost"),
        pytest.param("127.0.0.1:8188", "http://evil.example:x", id="a port that is none: 500 there"),
        pytest.param("127.0.0.1:8188", "http://[evil", id="an origin that is none"),
        pytest.param("me.lan:8188", "http://evil.example", id="a listed name of this machine"),
    ],
)
def test_refused_as_comfyui_does(host: str, origin: str) -> None:
    verdict = Door(local_names=["ME.lan"]).decide(host=host, origin=origin, site=None)
    assert isinstance(verdict, Refused)
    assert origin in verdict.reason


@pytest.mark.parametrize(
    ("site", "allowed"), [("cross-site", False), ("same-site", True), ("same-origin", True), ("none", True)]
)
def test_what_the_browser_calls_cross_site_is_refused_on_any_host(site: str, allowed: bool) -> None:
    verdict = Door().decide(host="gw.example", origin=None, site=site)
    assert isinstance(verdict, Allowed) is allowed


LISTED = ["https://ui.example", "http://Other.example:3000/"]


@pytest.mark.parametrize("origin", ["https://ui.example", "https://UI.example:443", "http://other.example:3000"])
def test_a_listed_origin_gets_in_and_may_read(origin: str) -> None:
    verdict = Door(LISTED).decide(host="127.0.0.1:8188", origin=origin, site="cross-site")
    assert isinstance(verdict, Allowed)
    assert dict(verdict.headers) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST, GET, DELETE, PUT, OPTIONS, PATCH",
        "Access-Control-Allow-Headers": "Content-Type, Authorization",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


@pytest.mark.parametrize(
    "origin",
    ["http://ui.example", "https://ui.example:444", "https://ui.example.evil", "http://other.example", "null", "*", ""],
)
def test_an_origin_must_be_listed_exactly(origin: str) -> None:
    assert isinstance(Door(LISTED).decide(host="gw.example", origin=origin, site="cross-site"), Refused)
    assert Door(LISTED).decide(host="gw.example", origin=origin, site=None) == Allowed()


def test_a_picture_in_a_listed_page_is_let_in_by_its_referer() -> None:
    door = Door(LISTED)
    page, evil = "https://ui.example/page?x", "https://evil.example/?https://ui.example"
    assert door.decide(host="h", origin=None, site="cross-site", referer=page) == Allowed()
    assert isinstance(door.decide(host="h", origin=None, site="cross-site", referer=evil), Refused)
    assert isinstance(door.decide(host="h", origin="https://evil.example", site="cross-site", referer=page), Refused)


def test_a_star_opens_the_door_for_all() -> None:
    verdict = Door(["*"]).decide(host="127.0.0.1:8188", origin="http://evil.example", site="cross-site")
    assert isinstance(verdict, Allowed)
    assert dict(verdict.headers)["Access-Control-Allow-Origin"] == "*"
    assert isinstance(Door(["*"]).decide(host=None, origin=None, site=None), Allowed)
