"""Which waiting prompt goes to which worker next: a small state that is told events and asked to decide."""

from gateway.domain.placement.estimates import Constant, Estimates, Model, Work
from gateway.domain.placement.policies import POLICIES, LeastQueue, Policy, RandomChoice, RoundRobin
from gateway.domain.placement.spots import Spot
from gateway.domain.placement.state import Placement
from gateway.domain.placement.waiting import Chosen, Waiting

__all__ = [
    "POLICIES",
    "Chosen",
    "Constant",
    "Estimates",
    "LeastQueue",
    "Model",
    "Placement",
    "Policy",
    "RandomChoice",
    "RoundRobin",
    "Spot",
    "Waiting",
    "Work",
]
