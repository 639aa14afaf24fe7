"""Checking a graph here, against a worker's node list and the files of the farm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

from gateway.domain import posting
from gateway.domain.catalogue import Catalogue
from gateway.domain.ports import NewPrompt
from gateway.domain.submission import Submission
from gateway.domain.validation import Invalid, Valid, validate

_BIG = 500


async def judged(
    submission: Submission, catalogue: Catalogue | None, there: Mapping[str, bool] | None = None
) -> Valid | Invalid:
    """The verdict by a worker's node list; a big graph is checked in a thread, for it may take half a second.

    `there` tells of files whether the farm has them; those that it does not name are taken to be there.
    """
    nodes, known = catalogue.nodes if catalogue else {}, there or {}

    def verdict() -> Valid | Invalid:
        has_file = lambda name: known.get(name, True)  # noqa: E731
        return validate(submission.graph, nodes, targets=submission.targets, has_file=has_file)

    return verdict() if len(submission.graph) < _BIG else await asyncio.to_thread(verdict)


def with_verdict(new: NewPrompt, submission: Submission, verdict: Valid) -> NewPrompt:
    extra_data, _ = posting.split_secrets(submission.extra_data)
    tail = posting.queue_tail(new.id, verdict.graph, extra_data, verdict.outputs)
    return replace(new, tail=tail, node_errors=json.dumps(verdict.node_errors).encode())
