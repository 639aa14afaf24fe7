from __future__ import annotations

from gateway.domain.callers import Caller
from gateway.domain.ids import ClientId


def test_a_caller_is_known_by_its_client_id_else_by_its_address() -> None:
    assert Caller(ClientId("c"), "10.0.0.1").key == "c"
    assert Caller(None, "10.0.0.1").key == "10.0.0.1"
