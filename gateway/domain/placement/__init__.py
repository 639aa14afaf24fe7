"""Which waiting prompt goes to which worker next: a small state that is told events and asked to decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from gateway.domain.placement.estimates import Constant, Estimates, Model, Work
from gateway.domain.placement.expected import ExpectedCompletion
from gateway.domain.placement.policies import LeastQueue, Picker, Policy, RandomChoice, RoundRobin
from gateway.domain.placement.spots import Spot
from gateway.domain.placement.state import Placement
from gateway.domain.placement.waiting import Chosen, Waiting, Weighed, Why

POLICIES: Mapping[str, Callable[[Random], Policy]] = {
    "expected-completion": lambda _: ExpectedCompletion(),
    "least-queue": lambda _: LeastQueue(),
    "round-robin": lambda _: RoundRobin(),
    "random": RandomChoice,
}

__all__ = [
    "POLICIES",
    "Chosen",
    "Constant",
    "Estimates",
    "ExpectedCompletion",
    "LeastQueue",
    "Model",
    "Picker",
    "Placement",
    "Policy",
    "RandomChoice",
    "RoundRobin",
    "Spot",
    "Waiting",
    "Weighed",
    "Why",
    "Work",
]
