"""Tells the decision log what was decided here, and how what was decided here ended."""

from __future__ import annotations

import json

from gateway.domain import decisions
from gateway.domain.ids import PromptId
from gateway.domain.jobs import Ended, Job, Outcome, Running
from gateway.domain.placement import Chosen
from gateway.domain.ports import LineFile, NewPrompt
from gateway.flows.mirror import News

_KEPT = 10_000


class Decisions:
    def __init__(self, file: LineFile | None, policy: str) -> None:
        """Without a file nothing is kept."""
        self._file = file
        self._policy = policy
        self._here: dict[PromptId, None] = {}

    def made(self, chosen: Chosen, prompt: Job | NewPrompt, now: float) -> None:
        """A prompt that waited, or one that just came, was placed."""
        if self._file is None:
            return
        since = prompt.created_at if isinstance(prompt, Job) else now
        line = decisions.decision(chosen, prompt.caller, prompt.priority, since, now, self._policy)
        self._file.add(json.dumps(line))
        self._here[prompt.id] = None
        if len(self._here) > _KEPT:
            del self._here[next(iter(self._here))]

    async def flush(self) -> None:
        """Write what waits to be written."""
        if self._file is not None:
            await self._file.flush()

    def changed(self, news: News) -> None:
        """For the mirror's listeners."""
        if self._file is None or not self._here:
            return
        for before, after in news.prompts:
            if before is None or after is None or before.id not in self._here or not isinstance(after.state, Ended):
                continue
            del self._here[before.id]
            if isinstance(before.state, Running) and after.state.outcome is Outcome.SUCCEEDED:
                at = after.state.at
                self._file.add(json.dumps(decisions.end(before.id, at, max(0.0, at - before.state.since))))
