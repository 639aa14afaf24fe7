"""The composition root: the one module that knows every other. Read `opened` to see what runs, in order of need."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from redis.asyncio import Redis
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.redis_client import connect
from gateway.adapters.redis_events import RedisEvents
from gateway.adapters.redis_farm import RedisFarm
from gateway.adapters.redis_feed import RedisFeed
from gateway.adapters.redis_inputs import RedisInputs
from gateway.adapters.redis_jobs import RedisJobs
from gateway.adapters.redis_keys import Keys
from gateway.adapters.redis_lessons import RedisLessons
from gateway.adapters.redis_outputs import RedisOutputs
from gateway.adapters.redis_scripts import Scripts, translated
from gateway.adapters.relay import Relay as Wire
from gateway.adapters.relay import new_session
from gateway.app_inputs import Inputs, inputs
from gateway.app_outputs import Written, written
from gateway.app_prompts import decisions, submit, tries
from gateway.app_workers import tenders
from gateway.domain.door import Door
from gateway.domain.ids import ReplicaId, WorkerName, new_replica_id
from gateway.domain.labels import by_worker
from gateway.domain.learning import Learner
from gateway.domain.placement import POLICIES, Placement
from gateway.edge.admin import AdminRoutes
from gateway.edge.callers import Callers
from gateway.edge.catalog import CatalogRoutes
from gateway.edge.errors import Telling
from gateway.edge.events import EventRoutes
from gateway.edge.folders import FolderList
from gateway.edge.jobs import JobRoutes
from gateway.edge.middleware import BodyCap, Doorkeeper, Timing
from gateway.edge.ops import OpsRoutes
from gateway.edge.passthrough import Passthrough
from gateway.edge.prompt import PromptRoutes
from gateway.edge.queue import QueueRoutes
from gateway.edge.routes import Endpoints, router
from gateway.edge.socket import Socket
from gateway.edge.view import View
from gateway.flows.attempts import Attempts
from gateway.flows.catalog import Catalog
from gateway.flows.catalogues import Catalogues
from gateway.flows.clients import Clients
from gateway.flows.connection import Room
from gateway.flows.control import Control
from gateway.flows.dispatch import Dispatch
from gateway.flows.exchange import Exchange
from gateway.flows.farm import Farm
from gateway.flows.follow import Follow
from gateway.flows.forecast import Forecast
from gateway.flows.homes import HomesOf
from gateway.flows.learn import Learn
from gateway.flows.mirror import Mirror
from gateway.flows.pace import Pace
from gateway.flows.query import Query, RecordCache
from gateway.flows.reading import Reading
from gateway.flows.sharing import Tasks, beside
from gateway.flows.submit import Submit
from gateway.flows.tend import Tending
from gateway.flows.upkeep import Upkeep
from gateway.loops import Loop, running
from gateway.metrics import Metrics, PrometheusRecorder
from gateway.settings import Settings

_FOLLOW = 0.5
_UPKEEP_EVERY = 10.0
_KEEPING_EVERY = 30.0
_LOG_EVERY = 0.5


def build(settings: Settings, state_url: str, draining: Callable[[], bool]) -> ASGIApp:
    """The gateway as an ASGI app; connections are opened in its lifespan. `draining` says that we are leaving."""
    metrics = Metrics()
    late = _Late()

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with opened(settings, state_url, draining, metrics) as app:
            late.app = app
            yield

    answering = Doorkeeper(BodyCap(Telling(late), settings.max_upload), Door(settings.allowed_origins))
    return _Application(Timing(answering, metrics.request), Router(lifespan=lifespan))


class _Application:
    """Starlette keeps the lifespan; requests do not pass through it."""

    def __init__(self, app: ASGIApp, lifespan: Router) -> None:
        self._app = app
        self._lifespan = lifespan

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._lifespan.lifespan(scope, receive, send)
        return self._app(scope, receive, send)


class _Late:
    """Stands for the routes, which are there once the lifespan has begun."""

    app: ASGIApp

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Store:
    """Everything over one Redis. What all else waits for, the mirror and the leases, has connections of its own:
    the looks at a thousand workers must not be ahead of it in a queue."""

    redis: Redis
    vital: Redis
    jobs: RedisJobs
    feed: RedisFeed
    farm: RedisFarm
    inputs: RedisInputs
    outputs: RedisOutputs
    events: RedisEvents
    lessons: RedisLessons
    replica: ReplicaId

    async def ping(self) -> None:
        with translated():
            await self.redis.ping()


def _store(settings: Settings, url: str, replica: ReplicaId, metrics: Metrics) -> _Store:
    redis, vital = connect(url), connect(url)
    keys = Keys(settings.prefix)
    run, surely = (
        Scripts(one, lambda name, seconds: metrics.redis.labels(name).observe(seconds)) for one in (redis, vital)
    )
    jobs = RedisJobs(
        redis, run, keys, replica=replica, history_max=settings.history_max, history_ttl=settings.history_ttl
    )
    farm = RedisFarm(redis, run, surely, keys, replica=replica, lease_ttl=settings.lease_ttl)
    feed, events = RedisFeed(vital, surely, keys), RedisEvents(redis, run, keys, replica=replica)
    inputs, lessons = RedisInputs(redis, run, keys), RedisLessons(redis, keys)
    outputs = RedisOutputs(redis, keys, ttl=settings.history_ttl)
    return _Store(redis, vital, jobs, feed, farm, inputs, outputs, events, lessons, replica)


@asynccontextmanager
async def opened(
    settings: Settings, state_url: str, draining: Callable[[], bool], metrics: Metrics
) -> AsyncIterator[ASGIApp]:
    """Everything connected and running around the body; closed in reverse order."""
    async with AsyncExitStack() as stack:
        store = _store(settings, state_url, new_replica_id(), metrics)
        for redis in (store.redis, store.vital):
            stack.push_async_callback(redis.aclose, close_connection_pool=True)
        session = await stack.enter_async_context(new_session(connect_timeout=settings.connect_timeout))
        tasks = Tasks()
        stack.push_async_callback(tasks.close, settings.shutdown_grace)
        flows = _flows(settings, store, session, tasks, metrics)
        await flows.learn.recall()
        home = WorkerName(settings.home) if settings.home else None
        await flows.upkeep.configure(settings.workers, home, by_worker(settings.labels))
        await stack.enter_async_context(beside(flows.clients.run(), "tell ends"))
        await stack.enter_async_context(beside(flows.exchange.run(), "exchange events"))
        stack.push_async_callback(flows.tending.close)
        await stack.enter_async_context(flows.catalog)
        stack.push_async_callback(flows.dispatch.decisions.flush)
        loops = _loops(settings, flows, metrics)
        await stack.enter_async_context(running(*loops, grace=settings.shutdown_grace))
        ops = OpsRoutes(
            store=store.ping,
            late=lambda: {loop.name: loop.age() for loop in loops if loop.late()},
            draining=draining,
            metrics=lambda: metrics.exposition(flows.mirror, flows.forecast.waiting()),
        )
        wire = await stack.enter_async_context(Wire(session, connect_timeout=settings.connect_timeout))
        yield router(_endpoints(settings, flows, wire, ops))


@dataclass(frozen=True, slots=True)
class _Flows:
    """The use cases, built; what each does is said in its module."""

    mirror: Mirror
    submit: Submit
    query: Query
    clients: Clients
    exchange: Exchange
    follow: Follow
    control: Control
    farm: Farm
    homes: HomesOf
    catalog: Catalog
    dispatch: Dispatch
    tending: Tending
    upkeep: Upkeep
    forecast: Forecast
    learn: Learn
    written: Written
    inputs: Inputs


def _flows(settings: Settings, store: _Store, session: aiohttp.ClientSession, tasks: Tasks, metrics: Metrics) -> _Flows:
    recorder, pace, log, learner = PrometheusRecorder(metrics), Pace(), decisions(settings), Learner()
    jobs, farm, comfy = store.jobs, store.farm, ComfyApi(session, connect_timeout=settings.connect_timeout)
    catalogues, placement, mirror, homes = _known(settings, store, learner, comfy)
    wrote = written(settings, jobs, farm, store.outputs, session, comfy, mirror, tasks, recorder)
    files = inputs(settings, store.inputs, session, mirror, catalogues, tasks, recorder, wrote.outputs)
    attempts = Attempts(jobs, comfy, placement, recorder, pace, tries(settings), farm, wrote.outputs, files.staging)
    forecast, kept = Forecast(mirror, placement, learner, pace), RecordCache(jobs, settings.history_cache_bytes)
    catalog = Catalog(homes, max_upload=settings.max_upload, files=mirror)
    clients, reading = Clients(mirror, kept, Room()), Reading(catalogues, learner, placement, catalog.sizes.weighed)
    tender = tenders(settings, jobs, farm, session, comfy, mirror, catalogues, attempts, clients, wrote)
    tending = Tending(farm, mirror, tasks, tender, lease_ttl=settings.lease_ttl)
    return _Flows(
        mirror=mirror,
        submit=submit(settings, jobs, comfy, mirror, placement, reading, attempts, forecast, recorder, tasks, log),
        query=Query(mirror, kept),
        clients=clients,
        exchange=Exchange(store.events, clients, store.replica),
        follow=Follow(store.events, mirror),
        control=Control(jobs, farm, comfy, mirror, attempts),
        farm=Farm(farm, mirror, placement, forecast),
        homes=homes,
        catalog=catalog,
        dispatch=Dispatch(jobs, mirror, placement, attempts, tasks, recorder, tending.leads, tending.reread, log),
        tending=tending,
        upkeep=Upkeep(jobs, farm, mirror, leads=tending.leads),
        forecast=forecast,
        learn=Learn(learner, store.lessons, mirror, placement, recorder, tending.leads),
        written=wrote,
        inputs=files,
    )


def _known(
    settings: Settings, store: _Store, learner: Learner, comfy: ComfyApi
) -> tuple[Catalogues, Placement, Mirror, HomesOf]:
    """What there is, as this replica knows it."""
    catalogues, policy = Catalogues(store.farm), POLICIES[settings.policy](random.Random())
    placement = Placement(policy, parallelism=settings.client_parallelism, estimates=learner)
    mirror = Mirror(store.feed, store.farm, catalogues, placement)
    return catalogues, placement, mirror, HomesOf(mirror, comfy, grace=settings.worker_grace)


def _loops(settings: Settings, flows: _Flows, metrics: Metrics) -> list[Loop]:
    dispatch = Loop("dispatch", every=1.0, tick=flows.dispatch.tick)
    flows.mirror.listen(lambda _: dispatch.wake())
    for changed in (flows.clients.changed, flows.dispatch.decisions.changed, flows.tending.changed):
        flows.mirror.listen(changed)
    leases = Loop("leases", every=min(1.0, settings.lease_ttl / 4), tick=flows.tending.tick, timeout=settings.lease_ttl)
    flows.mirror.listen(lambda news: leases.wake() if flows.tending.is_due(news.workers) else None)
    return [
        Loop("follow", every=0.0, tick=lambda: flows.mirror.follow(_FOLLOW)),
        leases,
        Loop("let go", every=1.0, tick=flows.tending.let_go),
        dispatch,
        Loop("catalogue", every=1.0, tick=flows.catalog.tick),
        Loop("counts", every=1.0, tick=flows.clients.tick),
        Loop("forecast", every=2.0, tick=flows.forecast.tick),
        Loop("learn", every=_UPKEEP_EVERY, tick=flows.learn.tick),
        Loop("upkeep", every=_UPKEEP_EVERY, tick=flows.upkeep.tick),
        Loop("keeping", every=_KEEPING_EVERY, tick=lambda: flows.inputs.keep(flows.tending.leads()), timeout=600),
        Loop("sweep", every=_KEEPING_EVERY, tick=lambda: flows.written.sweep(flows.tending.leads()), timeout=600),
        Loop("decisions", every=_LOG_EVERY, tick=flows.dispatch.decisions.flush),
        Loop("lag", every=0.0, tick=metrics.measure_lag),
    ]


def _endpoints(settings: Settings, flows: _Flows, relay: Wire, ops: OpsRoutes) -> Endpoints:
    callers, passthrough = Callers(settings.trusted_proxies), Passthrough(relay, flows.homes)
    return Endpoints(
        prompt=PromptRoutes(flows.submit, flows.query, callers, flows.clients),
        queue=QueueRoutes(flows.query, flows.control, callers),
        jobs=JobRoutes(flows.query, flows.control),
        catalog=CatalogRoutes(flows.catalog),
        view=flows.inputs.view(relay, View(relay, flows.homes, flows.written.outputs, callers, flows.written.kept)),
        folders=FolderList(flows.written.folders, passthrough),
        upload=flows.inputs.upload(),
        mask=flows.inputs.mask(),
        admin=AdminRoutes(flows.farm),
        ops=ops,
        passthrough=passthrough,
        socket=Socket(flows.clients, flows.catalog.flags),
        events=EventRoutes(flows.follow),
    )
