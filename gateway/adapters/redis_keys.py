"""Every Redis key: its type, what it is for, and how long it lives.

All keys of a gateway share one hash tag, so that each Lua step works on one slot of a Redis Cluster.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from gateway.domain.files import OutputFile
from gateway.domain.ids import PromptId, WorkerName

CHANGES_KEPT = 20_000
"""A replica that lags by more changes than this reads everything anew."""

EVENTS_KEPT = 1000
EVENTS_TTL = 3600  # seconds
FILES_LISTED = 2000
DISK_TTL = 365 * 86400
LEARNED_TTL = 90 * 86400


@dataclass(frozen=True, slots=True)
class Keys:
    prefix: str  # without braces

    def _key(self, *parts: str) -> str:
        return "{" + self.prefix + "}:" + ":".join(parts)

    @property
    def version(self) -> str:
        """string: counts changes. Permanent."""
        return self._key("version")

    @property
    def changes(self) -> str:
        """stream: `<version>-0` → what changed (`j` prompt_id, or `w` worker). Permanent, trimmed."""
        return self._key("changes")

    @property
    def number(self) -> str:
        """string: the farm's queue number, as ComfyUI counts from 0. Permanent."""
        return self._key("number")

    @property
    def waits(self) -> str:
        """string: counts prompts that began to wait; a claim past the queue names the count it saw. Permanent."""
        return self._key("waits")

    @property
    def live(self) -> str:
        """zset: prompt_id → seq, of all that are accepted and not ended. Permanent."""
        return self._key("live")

    @property
    def waiting(self) -> str:
        """zset: prompt_id → seq, of the queued ones. Permanent."""
        return self._key("waiting")

    @property
    def load(self) -> str:
        """hash: `bytes` waiting, and for each caller (`c:` + caller) how many of its prompts wait. Permanent."""
        return self._key("load")

    @property
    def history(self) -> str:
        """zset: prompt_id → place, of the ended ones that have a record. Permanent, bounded by history_max."""
        return self._key("history")

    @property
    def workers(self) -> str:
        """hash: worker → JSON {url, draining}. Permanent."""
        return self._key("workers")

    @property
    def home(self) -> str:
        """string: the home worker's name. Permanent."""
        return self._key("home")

    @property
    def farm_id(self) -> str:
        """string: what this farm is called on its workers' disks. Permanent."""
        return self._key("farm")

    @property
    def inputs(self) -> str:
        """hash: `type/path` of an uploaded file → JSON {blob, digest, size, at}. Permanent, bounded by its keeping."""
        return self._key("inputs")

    @property
    def inputs_used(self) -> str:
        """zset: `type/path` → when it was last used, in ms. Permanent, as `inputs`."""
        return self._key("inputs_used")

    @property
    def input_blobs(self) -> str:
        """hash: digest → JSON {blob, size, names}, and `bytes` of all. Permanent, as `inputs`."""
        return self._key("input_blobs")

    @property
    def jobs(self) -> str:
        """The prefix of `job`, for scripts that reach several of them."""
        return self._key("job", "")

    @property
    def records(self) -> str:
        return self._key("record", "")

    @property
    def secrets(self) -> str:
        return self._key("secret", "")

    @property
    def events_of(self) -> str:
        return self._key("events", "")

    @property
    def held_by(self) -> str:
        return self._key("held", "")

    @property
    def buried_at(self) -> str:
        return self._key("buried", "")

    def job(self, id: PromptId) -> str:
        """hash: one prompt. Permanent while it is in `live`; then it lives as long as its record."""
        return self.jobs + id

    def record(self, id: PromptId) -> str:
        """string: its history record, compressed JSON. Lives for history_ttl."""
        return self.records + id

    def secret(self, id: PromptId) -> str:
        """string: JSON of the API keys in its extra_data. Deleted at the end, and after a week."""
        return self.secrets + id

    def held(self, worker: WorkerName) -> str:
        """hash: attempt → prompt_id, the slots of a worker that are taken; → "" once it is over there, until its record
        is read. Permanent while there are any."""
        return self.held_by + worker

    def buried(self, worker: WorkerName) -> str:
        """zset: attempt → when it was given up, on this worker. Lives for a day."""
        return self.buried_at + worker

    def file(self, file: OutputFile, caller: str = "") -> str:
        """hash: what the farm calls this caller's newest file of a worker's name. Lives for history_ttl."""
        return self._key("file", hashlib.sha256(json.dumps([caller, *file]).encode()).hexdigest())

    @property
    def kept_blobs(self) -> str:
        """zset: blobs of outputs → when they may be deleted. Permanent, bounded by what lives for history_ttl."""
        return self._key("kept_blobs")

    def kept(self, file: OutputFile) -> str:
        """string: JSON, the blob of an output by its name in the farm. Lives for history_ttl."""
        return self._key("kept", hashlib.sha256(json.dumps(file).encode()).hexdigest())

    def written(self, type: str) -> str:
        """zset: the farm's names of files at the top of a folder → when. Bounded; lives for history_ttl."""
        return self._key("written", type)

    def sent(self, worker: WorkerName) -> str:
        """hash: `type/path` → JSON [digest, ETag], what this worker was sent. Lives for a week after the last."""
        return self._key("sent", worker)

    def events(self, id: PromptId) -> str:
        """stream: its state events, the last thousand. Lives for an hour after the last one."""
        return self.events_of + id

    def channel(self, name: str) -> str:
        """pub/sub: what is for one replica, or for `all`."""
        return self._key("to", name)

    def seen(self, worker: WorkerName) -> str:
        """string: JSON, what its lease holder last saw of it. Lives for a day."""
        return self._key("seen", worker)

    def disk(self, worker: WorkerName) -> str:
        """hash: type of folder → the life it is in. Lives for a year after it was last read or written."""
        return self._key("disk", worker)

    def catalogue(self, digest: str) -> str:
        """string: compressed GET /object_info bytes. Lives for a day after it was last read from a worker."""
        return self._key("catalogue", digest)

    @property
    def learned(self) -> str:
        """string: compressed JSON, what runs and loads cost. Lives for 90 days after it was last written."""
        return self._key("learned")

    def lease(self, name: str) -> str:
        """string: the replica that holds it. Lives for lease_ttl."""
        return self._key("lease", name)

    def replica(self, id: str) -> str:
        """string: this replica is alive. Lives for lease_ttl."""
        return self._key("replica", id)


_NAMES = ["version", "changes", "number", "waits", "live", "waiting", "load", "history", "workers", "home"]
_NAMES += ["farm", "inputs", "inputs_used", "input_blobs", "kept_blobs"]
PERMANENT = re.compile(r"\{[^}]*\}:(" + "|".join(_NAMES) + r"|held:.*)$")
"""Keys without a TTL; a job's hash is the one exception, while the job is live."""
