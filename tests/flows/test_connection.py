from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.ids import ClientId
from gateway.domain.outbox import Item
from gateway.flows.connection import Connection, Room

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


def waiting(connection: Connection) -> Any:
    return connection._outbox


async def taken(connection: Connection, count: int) -> list[str | bytes]:
    found = []
    async for message in connection:
        found.append(message)
        if len(found) == count:
            break
    return found


async def test_a_client_that_keeps_up_gets_every_step() -> None:
    connection = Connection(ClientId("c"), Room())
    for number in range(60):
        connection.put([Item((f"step {number}",), "progress")])
    assert await taken(connection, 60) == [f"step {number}" for number in range(60)]


async def test_one_that_is_behind_gets_the_newest_step_and_every_result() -> None:
    connection = Connection(ClientId("c"), Room())
    for number in range(1000):
        connection.put([Item((f"step {number}",), "progress"), Item((f"result {number}",))])
    got = await taken(connection, len(waiting(connection)))
    assert [message for message in got if "result" in str(message)] == [f"result {number}" for number in range(1000)]
    steps = [message for message in got if "step" in str(message)]
    assert len(steps) < 70
    assert steps[-1] == "step 999"


async def test_one_that_is_too_far_behind_is_told_so_once_and_gets_nothing_more() -> None:
    connection = Connection(ClientId("c"), Room(messages=10))
    for number in range(12):
        connection.put([Item((f"result {number}",))])
    assert connection.behind.done()
    connection.put([Item(("another",))])
    assert [message async for message in connection] == []


async def test_big_pictures_count_as_being_behind() -> None:
    connection = Connection(ClientId("c"), Room())
    for number in range(10):
        connection.put([Item((bytes([number]) * 2**19,), "preview")])
    (got,) = await taken(connection, 1)
    assert got == bytes([9]) * 2**19
    assert len(waiting(connection)) == 0
