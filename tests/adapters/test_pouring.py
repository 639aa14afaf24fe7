from __future__ import annotations

from collections.abc import Callable

from gateway.adapters.pouring import Buffer, Pouring


class Client:
    """A socket that sends when it is told to."""

    def __init__(self) -> None:
        self.unsent = 0

    def write(self, data: bytes | memoryview) -> None:
        self.unsent += len(data)

    def pending(self) -> int:
        return self.unsent

    def fed_by(self, pace: Callable[[bool], None] | None) -> None:
        raise NotImplementedError


def hold(buffer: Buffer, client: Client) -> None:
    """A piece is read, and written to a client who does not take it yet."""
    pouring = Pouring(client)
    pouring.write(buffer.view[:10])
    buffer.held_by(pouring)


def test_what_is_not_sent_yet_is_not_read_over() -> None:
    buffer, client = Buffer(), Client()
    pouring = Pouring(client)
    used = []
    for _ in range(3):
        used.append(buffer.view)
        pouring.write(buffer.view[:1000])
        buffer.held_by(pouring)
    assert len({id(view) for view in [*used, buffer.view]}) == 4


def test_what_is_sent_is_used_again_though_more_was_written_after_it() -> None:
    buffer, client = Buffer(), Client()
    pouring = Pouring(client)
    first = buffer.view
    pouring.write(first[:1000])
    buffer.held_by(pouring)
    second = buffer.view
    pouring.write(second[:1000])
    client.unsent = 1000
    buffer.held_by(pouring)
    assert buffer.view is first


def test_another_client_that_does_not_read_is_passed_over() -> None:
    buffer, slow, quick = Buffer(), Client(), Client()
    hold(buffer, slow)
    last = buffer.view
    hold(buffer, quick)
    quick.unsent = 0
    hold(buffer, Client())
    assert buffer.view is last


def test_what_is_held_is_bounded() -> None:
    """Beyond, the memory is the sink's alone, and new is taken."""
    buffer, client = Buffer(), Client()
    before = []
    for _ in range(40):
        before.append(buffer.view)
        hold(buffer, client)
    client.unsent = 0
    after = []
    for _ in range(80):
        hold(buffer, Client())
        after.append(buffer.view)
    assert 1 < sum(any(view is one for one in before) for view in after) <= 16
