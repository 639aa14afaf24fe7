"""What runs and loads cost, learned from how prompts ended. Pure: it is told facts in order, and asked.

`Learner` answers placement's questions (`gateway.domain.placement.estimates.Estimates`); every replica tells its own
the same lessons in the same order, so all of them know the same.
"""

from gateway.domain.learning.learner import Finding, Learner
from gateway.domain.learning.lesson import Lesson, lesson_of

__all__ = ["Finding", "Learner", "Lesson", "lesson_of"]
