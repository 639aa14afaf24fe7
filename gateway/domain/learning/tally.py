"""A running mean of the logarithms of times: durations spread by factors, not by seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

KEPT = 30.0
"""How many observations the mean remembers; older ones fade."""
_SPREAD = 0.3
"""Standard deviation that is assumed before there are observations: a third more or less."""
_FAR = 3.0
_AGAIN = 3


@dataclass(slots=True)
class Tally:
    """`weight` observations, the mean of their logarithms, and their variance around it.

    One that lies far off counts as if it lay at the edge of what is usual; the third of them in a row on the same side
    means that things have changed, and is where the mean begins anew.
    """

    weight: float = 0.0
    mean: float = 0.0
    variance: float = _SPREAD**2
    astray: int = 0

    @property
    def spread(self) -> float:
        return math.sqrt(self.variance)

    def take(self, value: float, weight: float = 1.0) -> None:
        """`value` is a logarithm."""
        off = value - self.mean
        reach = _FAR * max(0.05, self.spread)
        if self.weight >= 1.0 and abs(off) > reach:
            self.astray = self.astray + 1 if off * self.astray > 0 else 1
            self.astray = abs(self.astray) if off > 0 else -abs(self.astray)
            if abs(self.astray) >= _AGAIN:
                self.weight, self.mean, self.variance, self.astray = 1.0, value, _SPREAD**2, 0
                return
            off = math.copysign(reach, off)
        else:
            self.astray = 0
        share = weight / (min(self.weight, KEPT) + weight)
        self.mean += share * off
        if self.weight:  # the assumed spread counts as one observation
            self.variance += (off * off - self.variance) * weight / (min(self.weight, KEPT) + weight + 1.0)
        self.weight = min(self.weight + weight, KEPT)

    def towards(self, prior: float, doubt: float) -> float:
        """The mean, drawn to what is otherwise expected as strongly as `doubt` observations of that would."""
        return prior + (self.mean - prior) * self.weight / (self.weight + doubt)

    def dump(self) -> list[float]:
        return [self.weight, self.mean, self.variance, self.astray]


def load(raw: object) -> Tally | None:
    """None for what is none."""
    if not isinstance(raw, list) or len(raw) != 4:
        return None
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in raw):
        return None
    return Tally(min(max(0.0, float(raw[0])), KEPT), float(raw[1]), max(0.0, float(raw[2])), int(raw[3]))
