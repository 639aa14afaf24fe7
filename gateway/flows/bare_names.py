"""Prompts that name an output as its worker called it (`ComfyUI_00001_.png [output]`), as clients may have kept it.

Each worker may have a file of that name, of anybody's. So it means the caller's newest, such a prompt goes where no
other file is called so, and what is no file of the caller's is missing, whatever workers have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.domain.files.refs import FileRef, of_value
from gateway.domain.ids import WorkerName
from gateway.domain.ports import NewPrompt
from gateway.domain.submission import Submission
from gateway.domain.validation import Invalid, Valid
from gateway.domain.workers import Worker
from gateway.domain.workflow import input_files
from gateway.flows.judging import judged
from gateway.flows.staging import Stage


async def by_bare_names(
    new: NewPrompt, submission: Submission, staging: Stage, able: Iterable[Worker]
) -> NewPrompt | Invalid:
    """The prompt, kept from workers that have other files of its names; or the verdict of a worker without the file."""
    taken = await staging.taken(new.files, new.whose)
    if not taken:
        return new
    missing = {ref for ref, workers in taken.items() if workers is None}
    if missing and (verdict := await _without(submission, missing, able)) is not None:
        return verdict
    others: frozenset[WorkerName] = frozenset().union(*(workers or () for workers in taken.values()))
    return replace(new, refused_by=new.refused_by | others)


async def _without(submission: Submission, missing: set[FileRef], able: Iterable[Worker]) -> Invalid | None:
    """None where it is valid without them, or for other reasons invalid."""
    for catalogue in {worker.catalogue for worker in able}:
        nodes = catalogue.nodes if catalogue else {}
        there = {name: of_value(name) not in missing for name in input_files(submission.graph, nodes)}
        verdict = await judged(submission, catalogue, there)
        if isinstance(verdict, Invalid) and isinstance(await judged(submission, catalogue), Valid):
            return verdict
    return None
