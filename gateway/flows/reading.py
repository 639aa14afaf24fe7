"""From a submission to the prompt that is taken in: what it demands, what it costs, what is stored of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.domain import posting
from gateway.domain.callers import Caller
from gateway.domain.demand import Demand
from gateway.domain.labels import Wishes
from gateway.domain.learning import Learner
from gateway.domain.placement import Placement, Work
from gateway.domain.ports import NewPrompt
from gateway.domain.shapes import work_of
from gateway.domain.submission import Submission
from gateway.domain.workflow import files_of, output_nodes, read
from gateway.flows.catalogues import Catalogues


@dataclass(frozen=True, slots=True)
class Reading:
    catalogues: Catalogues
    learner: Learner
    placement: Placement
    weighed: Callable[[Work], Work]
    """With the sizes of its models as they are known (ModelSizes)."""

    def prompt(self, submission: Submission, caller: Caller, wishes: Wishes) -> NewPrompt:
        extra_data, secrets = posting.split_secrets(submission.extra_data)
        id, nodes, targets = submission.prompt_id, self.catalogues.nodes, submission.targets
        outputs = output_nodes(submission.graph, nodes)
        wanted = outputs if targets is None else [id for id in outputs if id in targets]
        work = self.weighed(work_of(submission.graph, nodes, wanted, changing=self.learner.changing, salt=id))
        return NewPrompt(
            id=id,
            digest=posting.digest(submission),
            number=_number(submission),
            client_id=submission.client_id,
            peer=caller.peer,
            demand=self._roomy(self.demand(submission, wishes.requires), work),
            body=posting.kept_body(submission, extra_data),
            files=files_of(submission.graph, nodes),
            tail=posting.queue_tail(id, submission.graph, extra_data, outputs),
            secrets=secrets,
            priority=wishes.priority,
            work=work,
        )

    def demand(self, submission: Submission, requires: frozenset[str]) -> Demand:
        """By the node lists as they are now."""
        return replace(read(submission.graph, self.catalogues.nodes), requires=requires)

    def _roomy(self, demand: Demand, work: Work) -> Demand:
        """Not for workers that are no larger than one on which such a prompt ran out of memory, if larger ones can."""
        if not (outgrown := self.learner.outgrown(work)):
            return demand
        roomy = replace(demand, min_vram=outgrown + 1)
        return roomy if self.placement.able(roomy) else demand


def _number(submission: Submission) -> str:
    if submission.number is not None:
        return json.dumps(submission.number)
    return "front" if submission.front else "auto"
