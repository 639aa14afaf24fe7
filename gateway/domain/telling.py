"""What one client is told about its prompts, several of which may run at once, on a socket made for one at a time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.domain.frames import Downgrade, Frame, Kind, made
from gateway.domain.ids import ClientId, PromptId
from gateway.domain.outbox import Item

_REMEMBERED = 512  # ended prompts: long enough for frames that were on their way
_OURS = (Kind.STATUS, Kind.FLAGS)


@dataclass(slots=True)
class _Run:
    node: str | None = None
    display_node: str | None = None
    downgrade: Downgrade = field(default_factory=Downgrade)


class Told:
    """One socket of one client. Frames are as clients see them (`frames.public`), and of this client's prompts only.

    A frame without a prompt_id means, to a client, the prompt whose `executing` or `execution_start` came last. So
    before such a frame of another prompt that one's `executing` is sent again.
    """

    __slots__ = ("_ended", "_runs", "_shown", "metadata")

    def __init__(self, *, metadata: bool = False) -> None:
        self.metadata = metadata
        """Whether the client announced supports_preview_metadata."""
        self._runs: dict[PromptId, _Run] = {}  # the one shown last is the last
        self._ended: dict[PromptId, None] = {}
        self._shown: PromptId | None = None

    @property
    def running(self) -> tuple[PromptId, ...]:
        return tuple(self._runs)

    def announced(self, flags: Mapping[str, Any]) -> None:
        """The client's feature flags; only `true` itself counts (contract 4.3)."""
        self.metadata = flags.get("supports_preview_metadata") is True

    def hello(self, sid: ClientId, remaining: int) -> list[Item]:
        """What a socket is told first."""
        return [Item((made.status(remaining, sid),))]

    def status(self, remaining: int) -> list[Item]:
        """The count has changed by others' prompts."""
        return [Item((made.status(remaining),), ("status",))]

    def began(self, prompt_id: PromptId) -> None:
        """The prompt was accepted: also when one of that id had ended before."""
        self._ended.pop(prompt_id, None)

    def stopped(self, prompt_id: PromptId) -> None:
        """The attempt was given up, and the prompt waits again: it is not shown as running meanwhile."""
        self._runs.pop(prompt_id, None)

    def frame(self, prompt_id: PromptId, frame: Frame) -> list[Item]:
        """What is to be sent for one frame of a worker. Nothing for a prompt that has ended, nor for what the gateway
        says itself: counts, flags, and ends, which come by `ended`."""
        if prompt_id in self._ended or frame.kind in _OURS:
            return []
        run = self._runs.get(prompt_id)
        if run is None or frame.kind is Kind.START:
            self._runs.pop(prompt_id, None)
            run = self._runs[prompt_id] = _Run()
        fed = [*run.downgrade.flush(), frame] if self.metadata else run.downgrade.feed(frame)
        return [item for one in fed for item in self._items(prompt_id, run, one)]

    def ended(self, prompt_id: PromptId, event: str, data: Mapping[str, Any], remaining: int) -> list[Item]:
        """The prompt's last frames, once: `event` is execution_success, _error or _interrupted, and its history can
        be read. Nothing the second time."""
        if prompt_id in self._ended:
            return []
        run = self._runs.pop(prompt_id, None)
        items = [] if run is None else [i for one in run.downgrade.flush() for i in self._items(prompt_id, run, one)]
        self._forget(prompt_id)
        ends = made.event(event, data), made.status(remaining), made.executing_idle(prompt_id)
        return [*items, *(Item((message,)) for message in ends), *self._back_to_another()]

    def _items(self, prompt_id: PromptId, run: _Run, frame: Frame) -> list[Item]:
        if frame.kind.ends or frame.idle or (frame.metadata and not self.metadata):
            return []  # with metadata after the downgrade: one that could not be read
        if frame.kind is Kind.START:
            self._shown = prompt_id
        if frame.kind is Kind.EXECUTING:
            return [self._executing(prompt_id, run, frame)]
        key = _key(prompt_id, run, frame)
        if frame.attempt is not None or self._shown == prompt_id or run.node is None:
            return [Item((frame.raw,), key)]
        # One that may be taken out again takes its `executing` along, so nothing may count on that having been sent.
        self._shown = prompt_id if key is None else None
        return [Item((made.executing(run.node, prompt_id, run.display_node), frame.raw), key)]

    def _executing(self, prompt_id: PromptId, run: _Run, frame: Frame) -> Item:
        run.node = frame.node
        display = frame.data.get("display_node")
        run.display_node = display if isinstance(display, str) else None
        self._runs[prompt_id] = self._runs.pop(prompt_id)
        self._shown = prompt_id
        if frame.attempt is None and frame.node is not None:  # of a worker's reconnected socket
            return Item((made.executing(frame.node, prompt_id, run.display_node),))
        return Item((frame.raw,))

    def _back_to_another(self) -> list[Item]:
        """After `executing` null a client shows nothing, though another prompt of its may run."""
        self._shown = None
        for prompt_id, run in reversed(self._runs.items()):
            if run.node is not None:
                self._shown = prompt_id
                return [Item((made.executing(run.node, prompt_id, run.display_node),))]
        return []

    def _forget(self, prompt_id: PromptId) -> None:
        self._ended[prompt_id] = None
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]


def _key(prompt_id: PromptId, run: _Run, frame: Frame) -> Hashable:
    """What a newer frame makes worthless, if anything: never a result, nor a change of state."""
    if frame.kind is Kind.PREVIEW and frame.jpeg:
        return ("preview", prompt_id, frame.node or run.node, frame.index)
    if frame.kind is Kind.PROGRESS:
        return ("progress", prompt_id, frame.node)
    if frame.kind is Kind.PROGRESS_STATE:
        return ("progress_state", prompt_id)
    return None
