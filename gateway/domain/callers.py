"""Who is asking: what counts, fair shares and bare interrupts go by."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.ids import ClientId


@dataclass(frozen=True, slots=True)
class Caller:
    """A client by the name that it gives itself, else by the address it comes from."""

    client_id: ClientId | None
    peer: str
    """The address, without a port; "" when the server cannot tell (a unix socket)."""

    @property
    def key(self) -> str:
        """One string for all requests of this caller."""
        return self.client_id or self.peer


NOBODY = Caller(None, "")
"""For what is looked up for the whole farm: names that only mean something to one caller mean nothing to it."""
