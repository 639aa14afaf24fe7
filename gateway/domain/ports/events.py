"""Events of prompts between replicas: what is kept of them, and who has the clients that want them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.ids import ClientId, PromptId, ReplicaId


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A state event of a prompt: `place` orders them over all replicas, `event` is the JSON that clients get.

    A place is two numbers with a dash between them, and is compared by these, the first one first.
    """

    place: str
    event: str


@dataclass(frozen=True, slots=True)
class Carried:
    """A frame on its way to the replica that has its client; a state event tells its place in the log."""

    prompt: PromptId
    client: ClientId
    place: str | None
    raw: str | bytes


@dataclass(frozen=True, slots=True)
class Interest:
    """The clients that a replica has; `asks` the others to tell theirs too."""

    replica: ReplicaId
    clients: frozenset[ClientId]
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What is sent from now on comes in; what was sent shortly before may be lost."""


Message = Carried | Interest | Subscribed


class EventBus(Protocol):
    async def log(self, events: Iterable[tuple[PromptId, str]]) -> list[str]:
        """Keep state events, and tell the place of each. The last thousand of a prompt stay, for an hour."""
        ...

    async def since(self, prompt: PromptId, place: str) -> list[LoggedEvent]:
        """What was logged after a place; all that is kept after ''."""
        ...

    async def send(self, replica: str, carried: Iterable[Carried]) -> None: ...

    async def announce(self, interest: Interest) -> None: ...

    def messages(self) -> AsyncIterator[Message]:
        """What the others send, until cancelled; Subscribed first, and again whenever it broke off."""
        ...
