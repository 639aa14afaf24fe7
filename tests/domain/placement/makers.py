"""Small farms for the tests of placement."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.catalogue import Catalogue, Pool
from gateway.domain.demand import Choice, Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement import Chosen, LeastQueue, Placement, Policy, Waiting
from gateway.domain.workers import Liveness, Up, Worker
from tests.domain.catalogues import catalogue, info
from tests.domain.facts import names

GIB = 2**30
_POOL = Pool()


def offering(*models: str, classes: tuple[str, ...] = ("Load",)) -> Catalogue:
    """Node classes that each have an input `model` with these choices."""
    return catalogue({name: info({"model": [list(models), {}]}) for name in classes}, _POOL)


ALL = offering("a", "b", "c", "d")


def worker(
    name: str,
    *,
    catalogue: Catalogue | None = ALL,
    liveness: Liveness | None = None,
    foreign: int = 0,
    vram: int = 24 * GIB,
    free: int = 8 * GIB,
    draining: bool = False,
) -> Worker:
    return Worker(
        WorkerName(name),
        f"http://{name}",
        draining=draining,
        liveness=liveness or Up(),
        foreign=foreign,
        vram_total=vram,
        vram_free=free,
        catalogue=catalogue,
    )


def wants(*models: str, node_class: str = "Load", min_vram: int = 0) -> Demand:
    choices = frozenset(Choice(node_class, "model", model) for model in models)
    return Demand(frozenset({node_class}), choices, frozenset(models), min_vram)


def waiting(
    id: str, seq: int, *, caller: str = "me", number: float | None = None, demand: Demand | None = None, no: str = ""
) -> Waiting:
    """`no`: the workers that have refused it, by name, with blanks between."""
    place = seq if number is None else number
    return Waiting(PromptId(id), demand or wants("a"), caller, place, seq, names(*no.split()))


def runs(state: Placement, id: PromptId, worker: WorkerName, demand: Demand, caller: str = "me") -> None:
    state.runs(waiting(id, 0, caller=caller, demand=demand), worker, 0.0)


def place(
    state: Placement, demand: Demand, caller: str = "new", *, refused_by: frozenset[WorkerName] = frozenset()
) -> Chosen | None:
    return state.place(Waiting(PromptId(""), demand, caller, 0, 0, refused_by), 0.0)


def placement(*workers: Worker, policy: Policy | None = None) -> Placement:
    made = Placement(policy or LeastQueue())
    for each in workers:
        made.worker_seen(each)
    return made


def served(state: Placement, limit: int = 10_000) -> list[tuple[str, str]]:
    """(prompt, worker) in the order in which they are placed, each prompt done before the next decision."""
    order: list[tuple[str, str]] = []
    while (chosen := state.decide(0.0)) is not None and len(order) < limit:
        runs(state, chosen.id, chosen.worker, wants())
        state.gone(chosen.id, now=float(len(order) + 1))
        order.append((chosen.id, chosen.worker))
    return order


def changed(before: Worker, **what: object) -> Worker:
    return replace(before, **what)  # type: ignore[arg-type]
