"""The part of the composition root that has to do with looking after workers."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.redis_farm import RedisFarm
from gateway.adapters.redis_jobs import RedisJobs
from gateway.adapters.sockets import WorkerSockets
from gateway.app_outputs import Written
from gateway.domain.ids import WorkerName
from gateway.flows.attempts import Attempts
from gateway.flows.catalogues import Catalogues
from gateway.flows.children import Children
from gateway.flows.clients import Clients
from gateway.flows.mirror import Mirror
from gateway.flows.observe import Observer, Rhythm
from gateway.flows.relay import Relay
from gateway.flows.tender import Tender
from gateway.flows.watch import Watch
from gateway.settings import Settings

_FORGOTTEN = 1.5  # of post_timeout


def tenders(
    settings: Settings,
    jobs: RedisJobs,
    farm: RedisFarm,
    session: aiohttp.ClientSession,
    comfy: ComfyApi,
    mirror: Mirror,
    catalogues: Catalogues,
    attempts: Attempts,
    clients: Clients,
    written: Written,
) -> Callable[[WorkerName], Tender]:
    """Makes what looks after one worker while its lease is held."""
    events, children = WorkerSockets(session), Children(jobs, comfy, mirror)
    attempts.unheard = lambda job, record: clients.unheard(job, record)
    rhythm, forgotten = _rhythm(settings), _FORGOTTEN * settings.post_timeout

    def tender(name: WorkerName) -> Tender:
        observer = Observer(comfy, farm, catalogues, rhythm, lambda: len(mirror.on(name)))
        relay = Relay(name, mirror, clients)
        relay.renamed, relay.on_over = written.outputs.renamed, jobs.over
        watch = Watch(jobs, comfy, mirror, attempts, children, farm.alive, forgotten)
        watch.heard, watch.hears = lambda: relay.last_heard, relay.hears
        watch.will_tell = relay.will_tell
        return Tender(name, mirror, observer, watch, relay, events, written.disks.of(name))

    return tender


def _rhythm(settings: Settings) -> Rhythm:
    return Rhythm(
        poll_every=settings.poll_every,
        stats_every=settings.stats_every,
        catalogue_every=settings.catalogue_every,
        poll_timeout=settings.poll_timeout,
        slow_answer=settings.slow_answer,
    )
