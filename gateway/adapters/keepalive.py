"""Whether the machine at the other end is there at all, asked by the kernel while nothing is sent."""

from __future__ import annotations

import socket
from collections.abc import Mapping


def ask_after(sock: socket.socket, options: Mapping[str, int]) -> None:
    """`options` are of TCP, by their names in `socket`; where a system has no such option, it goes without."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
