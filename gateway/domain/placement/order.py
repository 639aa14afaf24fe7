"""Whose turn it is among callers: as they submitted (`Turns`), or in fair shares of the farm's time (`Shares`)."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.ids import PromptId
from gateway.domain.placement.waiting import Waiting

ROUND = 60.0
"""Seconds of the farm that a caller may have had more than another and still be its equal."""

CREDIT = 60.0

KEPT_FLOWS = 4096


class Order(Protocol):
    def came(self, prompt: Waiting) -> bool:
        """A prompt waits; whether its caller's key is another now."""
        ...

    def left(self, prompt: Waiting) -> None:
        """It was cancelled while it waited; its caller's key may be another now."""
        ...

    def served(self, prompt: Waiting, *, waited: bool, cost: float) -> None:
        """It runs, which is predicted to take `cost` seconds; its caller's key may be another now."""
        ...

    def ended(self, id: PromptId, spent: float) -> str | None:
        """It ran for so long, 0 when it is to run again; the caller whose key is another now, if any."""
        ...

    def key(self, caller: str) -> float:
        """Callers with the smallest are served first; among equals the prompt that came first."""
        ...

    def before(self, caller: str, rank: int) -> dict[str, int]:
        """How many waiting prompts of each caller are served before the one that `rank` of its caller's precede."""
        ...


class Turns:
    """A turn is a place in the farm's line that a caller got by submitting, and any prompt of its may use it.

    Who cancels gives up the last of its turns. `front` and `number` so never pass another caller's prompt.
    """

    def __init__(self) -> None:
        self._turns: dict[str, list[int]] = {}

    def came(self, prompt: Waiting) -> bool:
        turns = self._turns.setdefault(prompt.caller, [])
        insort(turns, prompt.seq)
        return turns[0] == prompt.seq

    def left(self, prompt: Waiting) -> None:
        self._take(prompt.caller, -1)

    def served(self, prompt: Waiting, *, waited: bool, cost: float) -> None:
        if waited:
            self._take(prompt.caller, 0)

    def _take(self, caller: str, which: int) -> None:
        turns = self._turns[caller]
        turns.pop(which)
        if not turns:
            del self._turns[caller]

    def ended(self, id: PromptId, spent: float) -> str | None:
        return None

    def key(self, caller: str) -> float:
        return self._turns[caller][0]

    def before(self, caller: str, rank: int) -> dict[str, int]:
        turn = self._turns[caller][rank]
        return {other: bisect_left(turns, turn) for other, turns in self._turns.items()}


@dataclass(slots=True)
class _Flow:
    """A caller: its clock, at which its next prompt starts, and how many of its prompts there are."""

    start: float
    waiting: int = 0
    running: int = 0
    cost: float = 1.0  # of its last prompt; what the next ones are expected to cost


class Shares:
    """Start-time fair queueing (Goyal 1996): each caller's clock goes on by the seconds that its prompts take.

    The caller whose clock is behind is served first; clocks count in rounds, within which all are equal. A prompt is
    charged as predicted when it is placed, and what it really took is set right at its end. Who comes back after a
    pause starts CREDIT seconds before the farm's clock, which is that of the prompts placed: so that it comes before
    those who always have more waiting, and nobody saves up more by being away.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._waiting = 0
        self._flows: dict[str, _Flow] = {}
        self._charged: dict[PromptId, tuple[str, float]] = {}
        self._sweep_at = KEPT_FLOWS

    def came(self, prompt: Waiting) -> bool:
        flow = self._flow(prompt.caller)
        flow.waiting += 1
        self._waiting += 1
        if flow.waiting > 1:
            return False
        flow.start = max(self._now - CREDIT, flow.start)
        return True

    def left(self, prompt: Waiting) -> None:
        self._flows[prompt.caller].waiting -= 1
        self._waiting -= 1

    def served(self, prompt: Waiting, *, waited: bool, cost: float) -> None:
        flow = self._flow(prompt.caller)
        flow.waiting -= waited
        self._waiting -= waited
        if prompt.id in self._charged:
            return
        if not waited:
            flow.start = max(self._now - CREDIT, flow.start)
        self._now = max(self._now, flow.start)
        flow.start += cost
        flow.cost = cost
        flow.running += 1
        self._charged[prompt.id] = (prompt.caller, cost)

    def ended(self, id: PromptId, spent: float) -> str | None:
        caller, cost = self._charged.pop(id, ("", 0.0))
        flow = self._flows.get(caller)
        if flow is None or not flow.running:
            return None
        flow.running -= 1
        flow.start += spent - cost
        if not self._charged and not self._waiting:  # nobody is left to be fair to
            self._flows.clear()
            self._now = 0.0
        return caller

    def key(self, caller: str) -> float:
        return self._flows[caller].start // ROUND

    def before(self, caller: str, rank: int) -> dict[str, int]:
        mine = self._flows[caller]
        start = mine.start + rank * mine.cost
        found = {caller: rank}
        for other, flow in self._flows.items():
            if flow is not mine and flow.waiting and flow.start <= start:
                found[other] = min(flow.waiting, 1 + int((start - flow.start) / max(flow.cost, 1e-9)))
        return found

    def _flow(self, caller: str) -> _Flow:
        flow = self._flows.get(caller)
        if flow is None:
            if len(self._flows) >= self._sweep_at:
                self._forget()
            flow = self._flows[caller] = _Flow(self._now - CREDIT)
        return flow

    def _forget(self) -> None:
        """Callers who have nothing here any more: the half of them that owe least."""
        idle = [(flow.start, caller) for caller, flow in self._flows.items() if not flow.waiting and not flow.running]
        for _, caller in sorted(idle)[: (len(idle) + 1) // 2]:
            del self._flows[caller]
        self._sweep_at = max(KEPT_FLOWS, 2 * len(self._flows))
