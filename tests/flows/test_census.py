from __future__ import annotations

from dataclasses import replace

from gateway.domain.ids import AttemptId, ClientId, WorkerName
from gateway.domain.jobs import Job, Queued, Running
from gateway.domain.placement import Work
from gateway.flows.census import Census
from tests.domain.facts import job

C = ClientId("c")


def waiting(id: str, shape: str, size: int = 10) -> Job:
    return replace(job(id), state=Queued(), work=Work(shape=shape), size=size, client_id=C)


def running(of: Job) -> Job:
    return replace(of, state=Running(WorkerName("w"), AttemptId("a"), 0.0))


def test_what_came_and_went_leaves_no_trace() -> None:
    census = Census()
    jobs = [waiting("p", "s"), waiting("q", "s"), waiting("r", "t", 5)]
    for one in jobs:
        census.add(one)
    assert (census.waiting, census.bytes, census.live(C)) == (3, 25, 3)
    assert census.seconds(lambda work: {"s": 1.0, "t": 10.0}[work.shape]) == 12.0
    census.remove(jobs[2])
    census.add(running(jobs[2]))
    assert (census.waiting, census.running, census.live(C)) == (2, 1, 3)
    assert census.seconds(lambda work: {"s": 1.0}[work.shape]) == 2.0, "the shape of one that runs is not asked for"
    for one in (*jobs[:2], running(jobs[2])):
        census.remove(one)
    assert (census.waiting, census.running, census.bytes, census.live(C), census.knows(C)) == (0, 0, 0, None, False)
    assert census.seconds(lambda work: 1.0) == 0
