"""The composition root: the one module that knows every other. Read `opened` to see what runs, in order of need."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.redis_client import connect
from gateway.adapters.redis_farm import RedisFarm
from gateway.adapters.redis_feed import RedisFeed
from gateway.adapters.redis_jobs import RedisJobs
from gateway.adapters.redis_keys import Keys
from gateway.adapters.redis_scripts import Scripts, translated
from gateway.adapters.relay import Relay, new_session
from gateway.adapters.sockets import WorkerSockets
from gateway.domain.door import Door
from gateway.domain.errors import GatewayError
from gateway.domain.ids import ReplicaId, WorkerName, new_replica_id
from gateway.domain.placement import POLICIES, Placement
from gateway.domain.ports import Limits
from gateway.edge.admin import AdminRoutes
from gateway.edge.callers import Callers
from gateway.edge.catalog import CatalogRoutes
from gateway.edge.errors import on_anything, on_gateway_error
from gateway.edge.jobs import JobRoutes
from gateway.edge.middleware import BodyCap, Doorkeeper, Timing
from gateway.edge.ops import OpsRoutes
from gateway.edge.passthrough import Passthrough
from gateway.edge.prompt import PromptRoutes
from gateway.edge.queue import QueueRoutes
from gateway.edge.routes import Endpoints, router
from gateway.edge.view import Upload, View
from gateway.flows.attempts import Attempts
from gateway.flows.catalog import Catalog
from gateway.flows.catalogues import Catalogues
from gateway.flows.control import Control
from gateway.flows.dispatch import Dispatch
from gateway.flows.farm import Farm
from gateway.flows.homes import HomesOf
from gateway.flows.inquire import Inquire
from gateway.flows.mirror import Mirror
from gateway.flows.observe import Observer, Rhythm
from gateway.flows.pace import Pace
from gateway.flows.query import Query
from gateway.flows.sharing import Tasks
from gateway.flows.submit import Submit
from gateway.flows.tend import Tender, Tending
from gateway.flows.upkeep import Upkeep
from gateway.flows.watch import Watch
from gateway.loops import Loop, running
from gateway.metrics import Metrics, PrometheusRecorder
from gateway.settings import Settings

_PATIENCE = 1.0
_LAG_EVERY = 0.5
_UPKEEP_EVERY = 10.0


def build(settings: Settings, state_url: str, draining: Callable[[], bool]) -> ASGIApp:
    """The gateway as an ASGI app; connections are opened in its lifespan. `draining` says that we are leaving."""
    metrics = Metrics()
    late = _Late()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with opened(settings, state_url, draining, metrics) as app:
            late.app = app
            yield

    app = Starlette(
        lifespan=lifespan,
        exception_handlers={GatewayError: on_gateway_error, Exception: on_anything},
        middleware=[
            Middleware(Timing, observe=lambda route, seconds: metrics.requests.labels(route).observe(seconds)),
            Middleware(Doorkeeper, door=Door(settings.allowed_origins)),
            Middleware(BodyCap, limit=settings.max_upload),
        ],
    )
    app.router.default = late
    return app


class _Late:
    """Stands for the routes, which are there once the lifespan has begun."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Store:
    """Everything over one Redis."""

    redis: Redis
    jobs: RedisJobs
    feed: RedisFeed
    farm: RedisFarm

    async def ping(self) -> None:
        with translated():
            await self.redis.ping()


def _store(settings: Settings, url: str, replica: ReplicaId, metrics: Metrics) -> _Store:
    redis = connect(url)
    keys = Keys(settings.prefix)
    run = Scripts(redis, lambda name, seconds: metrics.redis.labels(name).observe(seconds))
    jobs = RedisJobs(
        redis, run, keys, replica=replica, history_max=settings.history_max, history_ttl=settings.history_ttl
    )
    farm = RedisFarm(redis, run, keys, replica=replica, lease_ttl=settings.lease_ttl)
    return _Store(redis, jobs, RedisFeed(redis, run, keys), farm)


@asynccontextmanager
async def opened(
    settings: Settings, state_url: str, draining: Callable[[], bool], metrics: Metrics
) -> AsyncIterator[ASGIApp]:
    """Everything connected and running around the body; closed in reverse order."""
    async with AsyncExitStack() as stack:
        store = _store(settings, state_url, new_replica_id(), metrics)
        stack.push_async_callback(store.redis.aclose)
        session = await stack.enter_async_context(new_session(connect_timeout=settings.connect_timeout))
        comfy = ComfyApi(session, connect_timeout=settings.connect_timeout)
        tasks = Tasks()
        stack.push_async_callback(tasks.close, settings.shutdown_grace)

        recorder, pace = PrometheusRecorder(metrics), Pace()
        placement = Placement(POLICIES[settings.policy](random.Random()))
        catalogues = Catalogues(store.farm)
        mirror = Mirror(store.feed, store.farm, catalogues, placement)
        attempts = Attempts(
            store.jobs,
            comfy,
            placement,
            recorder,
            pace,
            max_attempts=settings.max_attempts,
            post_timeout=settings.post_timeout,
        )
        inquire = Inquire(store.jobs, comfy, mirror, catalogues, attempts, grace=settings.worker_grace)
        submit = Submit(
            store.jobs,
            mirror,
            placement,
            catalogues,
            attempts,
            inquire,
            pace,
            recorder,
            limits=Limits(settings.max_queue, settings.max_queue_bytes, settings.max_queue_per_caller),
            patience=settings.validation_timeout,
        )
        events = WorkerSockets(session)

        def tender(name: WorkerName) -> Tender:
            observer = Observer(comfy, store.farm, catalogues, _rhythm(settings), lambda: len(mirror.on(name)))
            watch = Watch(store.jobs, comfy, mirror, attempts, store.farm.alive)
            return Tender(name, mirror, observer, watch, events)

        tending = Tending(store.farm, mirror, tasks, tender, lease_ttl=settings.lease_ttl)
        dispatch = Dispatch(
            store.jobs,
            mirror,
            placement,
            attempts,
            tasks,
            recorder,
            leads=tending.leads,
            reread=tending.reread,
        )
        upkeep = Upkeep(store.jobs, store.farm, mirror, leads=tending.leads)
        await upkeep.configure(settings.workers, WorkerName(settings.home) if settings.home else None)

        homes = HomesOf(mirror, store.jobs, comfy, grace=settings.worker_grace)
        catalog = await stack.enter_async_context(Catalog(homes, max_upload=settings.max_upload))
        drain_queue = Loop("dispatch", every=_PATIENCE, tick=dispatch.tick)
        loops = [
            Loop("follow", every=0.0, tick=lambda: mirror.follow(_PATIENCE)),
            Loop("leases", every=settings.lease_ttl / 4, tick=tending.tick, timeout=settings.lease_ttl),
            drain_queue,
            Loop("let go", every=1.0, tick=_async(tending.let_go)),
            Loop("catalogue", every=_PATIENCE, tick=catalog.tick),
            Loop("upkeep", every=_UPKEEP_EVERY, tick=upkeep.tick),
            Loop("lag", every=_LAG_EVERY, tick=lambda: _measure_lag(metrics)),
        ]
        mirror.listen(drain_queue.wake)
        mirror.listen(tending.wake)
        await stack.enter_async_context(running(*loops, grace=settings.shutdown_grace))

        query = Query(store.jobs, mirror, cache_bytes=settings.history_cache_bytes)
        control = Control(store.jobs, comfy, mirror, placement, attempts)
        callers, relay = Callers(settings.trusted_proxies), Relay(session)
        yield router(
            Endpoints(
                prompt=PromptRoutes(submit, query, callers),
                queue=QueueRoutes(query, control, callers),
                jobs=JobRoutes(query, control),
                catalog=CatalogRoutes(catalog),
                view=View(relay, homes, homes),
                upload=Upload(relay, homes),
                admin=AdminRoutes(Farm(store.farm, mirror, placement, pace)),
                ops=OpsRoutes(
                    store=store.ping,
                    late=lambda: {loop.name: loop.age() for loop in loops if loop.late()},
                    draining=draining,
                    metrics=lambda: metrics.exposition(mirror),
                ),
                passthrough=Passthrough(relay, homes),
            )
        )


def _rhythm(settings: Settings) -> Rhythm:
    return Rhythm(
        poll_every=settings.poll_every,
        stats_every=settings.stats_every,
        catalogue_every=settings.catalogue_every,
        poll_timeout=settings.poll_timeout,
        slow_answer=settings.slow_answer,
    )


async def _measure_lag(metrics: Metrics) -> None:
    began = time.perf_counter()
    await asyncio.sleep(0)
    metrics.lag.observe(time.perf_counter() - began)


def _async(work: Callable[[], None]) -> Callable[[], Awaitable[object]]:
    async def tick() -> None:
        work()

    return tick
