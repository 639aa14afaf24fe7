from __future__ import annotations

import socket

from gateway.adapters.keepalive import ask_after


def test_a_socket_asks_and_goes_without_what_the_system_does_not_have() -> None:
    with socket.socket() as sock:
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        ask_after(sock, {"TCP_KEEPCNT": 7, "TCP_NO_SUCH_OPTION": 1})
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if option := getattr(socket, "TCP_KEEPCNT", None):
            assert sock.getsockopt(socket.IPPROTO_TCP, option) == 7
