from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from starlette.requests import Request

from gateway.domain.errors import StoreUnavailable
from gateway.edge.ops import OpsRoutes

pytestmark = pytest.mark.anyio

REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})


def ops(*, store: str = "", late: Mapping[str, float] | None = None, draining: bool = False) -> OpsRoutes:
    async def ping() -> None:
        if store:
            raise StoreUnavailable(store)

    return OpsRoutes(store=ping, late=lambda: late or {}, draining=lambda: draining, metrics=lambda: (b"m 1\n", "t/x"))


async def test_the_loop_turns_whatever_else_is_wrong() -> None:
    answer = await ops(store="away", late={"dispatch": 99}, draining=True).healthz(REQUEST)
    assert (answer.status_code, answer.body) == (200, b"ok\n")


async def test_all_well_is_ready() -> None:
    answer = await ops().readyz(REQUEST)
    assert (answer.status_code, json.loads(bytes(answer.body))) == (200, {"ready": True, "problems": {}})


async def test_each_problem_is_named() -> None:
    answer = await ops(store="refused", late={"dispatch": 99.4}, draining=True).readyz(REQUEST)
    assert answer.status_code == 503
    assert json.loads(bytes(answer.body)) == {
        "ready": False,
        "problems": {
            "process": "is leaving",
            "state": "refused",
            "loop dispatch": "last good tick 99 s ago",
        },
    }


async def test_metrics_are_handed_out_with_their_type() -> None:
    answer = await ops().metrics(REQUEST)
    assert (answer.body, answer.headers["content-type"]) == (b"m 1\n", "t/x")
