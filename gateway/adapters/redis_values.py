"""What a prompt needs, and what it is estimated by, as text in Redis."""

from __future__ import annotations

import json

from gateway.domain.demand import Choice, Demand
from gateway.domain.placement.estimates import NOTHING, Model, Work


def dump_demand(demand: Demand) -> str:
    return json.dumps(
        {
            "classes": sorted(demand.classes),
            "choices": sorted(demand.choices),
            "models": sorted(demand.models),
            **({"requires": sorted(demand.requires)} if demand.requires else {}),
        }
    )


def load_demand(raw: bytes, min_vram: int) -> Demand:
    found = json.loads(raw)
    choices = frozenset(Choice(*choice) for choice in found["choices"])
    requires = frozenset(found.get("requires", ()))
    return Demand(frozenset(found["classes"]), choices, frozenset(found["models"]), min_vram, requires)


def dump_work(work: Work) -> str:
    """All but its parts."""
    return json.dumps([work.shape, work.nodes, work.size, sorted(work.models)], separators=(",", ":"))


def load_work(raw: bytes) -> Work:
    if not raw:
        return NOTHING
    shape, nodes, size, models = json.loads(raw)
    return Work(shape, nodes, frozenset(Model(name, size) for name, size in models), size=size)
