"""What the flows need of the world, each promise in a sentence. Adapters are checked against these."""

from gateway.domain.ports.events import Carried, EventBus, Interest, LoggedEvent, Message, Subscribed
from gateway.domain.ports.farm import (
    ChangeFeed,
    Changes,
    FarmStore,
    WorkerEntry,
)
from gateway.domain.ports.jobs import (
    CallerFull,
    Conflict,
    Ending,
    FarmFull,
    Interruption,
    JobStore,
    Known,
    Limits,
    New,
    NewPrompt,
    SameAgain,
    SlotLost,
    Taken,
    Won,
)
from gateway.domain.ports.lessons import LessonStore
from gateway.domain.ports.lines import LineFile
from gateway.domain.ports.recorder import (
    Recorder,
)
from gateway.domain.ports.worker import (
    Comfy,
    EventSource,
    Hearing,
    Listening,
    PostAnswer,
    QueueItem,
    WorkerQueue,
)

__all__ = [
    "CallerFull",
    "Carried",
    "ChangeFeed",
    "Changes",
    "Comfy",
    "Conflict",
    "Ending",
    "EventBus",
    "EventSource",
    "FarmFull",
    "FarmStore",
    "Hearing",
    "Interest",
    "Interruption",
    "JobStore",
    "Known",
    "LessonStore",
    "Limits",
    "LineFile",
    "Listening",
    "LoggedEvent",
    "Message",
    "New",
    "NewPrompt",
    "PostAnswer",
    "QueueItem",
    "Recorder",
    "SameAgain",
    "SlotLost",
    "Subscribed",
    "Taken",
    "Won",
    "WorkerEntry",
    "WorkerQueue",
]
