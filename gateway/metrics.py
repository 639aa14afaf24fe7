"""Every metric, declared once, on a registry of the app's own; and the Recorder through which flows report facts.

No prompt_id, file name or caller is ever a label.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from gateway.domain.jobs import Queued
from gateway.domain.workers import Worker
from gateway.flows.mirror import Mirror

_JOB = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_RATIO = (0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2, 5)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_EVERY = 0.05
_STATES = ("unknown", "up", "suspect", "down", "halfopen", "draining")


class Metrics:
    """The declarations. Times in seconds, sizes in bytes."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        name = "comfygw_{}".format
        self.accepted = Counter(name("prompts_accepted_total"), "Prompts answered with a 200", registry=r)
        self.refused = Counter(name("prompts_refused_total"), "Prompts not taken", ["reason"], registry=r)
        self.jobs = Counter(name("jobs_total"), "Prompts that ended", ["outcome"], registry=r)
        self.queue_time = Histogram(name("job_queue_seconds"), "From accepted to claimed", buckets=_JOB, registry=r)
        self.run_time = Histogram(name("job_run_seconds"), "From started to ended", buckets=_JOB, registry=r)
        self.attempts = Histogram(name("job_attempts"), "Attempts per prompt", buckets=(1, 2, 3, 5, 10), registry=r)
        self.requeued = Counter(name("jobs_requeued_total"), "Attempts given up", ["reason"], registry=r)
        self.stale = Counter(name("fence_rejected_total"), "News of attempts that were not current", registry=r)
        self.decision = Histogram(name("dispatch_decision_seconds"), "One decision", buckets=_FAST, registry=r)
        self.reason = Counter(name("dispatch_reason_total"), "Prompts placed, by way", ["reason"], registry=r)
        self.idle_gap = Histogram(
            name("worker_idle_gap_seconds"), "A worker free while a prompt waited", buckets=(*_FAST, 5), registry=r
        )
        self.redis = Histogram(name("redis_seconds"), "One operation on the state", ["op"], buckets=_FAST, registry=r)
        self.requests = RequestTimes(name("overhead_seconds"), "One request, by route", _REQUEST)
        r.register(self.requests)
        self.lag = Histogram(name("event_loop_lag_seconds"), "The event loop's delay", buckets=_FAST, registry=r)
        self.queue = Gauge(name("queue_jobs"), "Prompts, by state", ["state"], registry=r)
        self.queue_bytes = Gauge(name("queue_bytes"), "Bytes of waiting prompts", registry=r)
        self.oldest = Gauge(name("queue_oldest_seconds"), "Age of the oldest waiting prompt", registry=r)
        self.history = Gauge(name("history_records"), "Ended prompts that are kept", registry=r)
        self._declare_estimates(r)
        self._declare_files(r)

    def _declare_estimates(self, r: CollectorRegistry) -> None:
        name = "comfygw_{}".format
        self.gpu_seconds = Gauge(name("queue_gpu_seconds"), "Predicted running of what waits", registry=r)
        self.error = Histogram(name("predict_error_ratio"), "|expected - ran| / ran", buckets=_RATIO, registry=r)
        self.switches = Counter(
            name("model_switches_total"), "Prompts that models were loaded for", ["reason"], registry=r
        )
        self.switch_time = Histogram(
            name("job_switch_seconds"), "Loading models for a prompt", buckets=_JOB, registry=r
        )

    def _declare_files(self, r: CollectorRegistry) -> None:
        name = "comfygw_{}".format
        self.staged = Counter(name("staged_bytes_total"), "Bytes of input files sent to workers", registry=r)
        self.staging = Histogram(name("staging_seconds"), "One input file to a worker", buckets=_REQUEST, registry=r)
        self.not_staged = Counter(
            name("staging_failures_total"), "Input files that a worker did not get", ["reason"], registry=r
        )
        self.not_kept = Counter(name("outputs_not_kept_total"), "Outputs that could not be copied", registry=r)

    def request(self, route: str, seconds: float) -> None:
        """One request was answered."""
        self.requests.observe(route, seconds)

    async def measure_lag(self) -> None:
        """How much later than asked for a sleeper wakes up."""
        began = time.perf_counter()
        await asyncio.sleep(_LAG_EVERY)
        self.lag.observe(max(0.0, time.perf_counter() - began - _LAG_EVERY))

    def exposition(self, mirror: Mirror, waiting: float = 0.0) -> tuple[bytes, str]:
        """The body of GET /metrics, with the gauges as of now, and its Content-Type; `waiting` in GPU-seconds."""
        self.gpu_seconds.set(waiting)
        self._count(mirror)
        workers = "".join(_of_workers(mirror))
        return generate_latest(self.registry) + workers.encode(), CONTENT_TYPE_LATEST

    def _count(self, mirror: Mirror) -> None:
        census = mirror.census
        self.queue.labels("queued").set(census.waiting)
        self.queue.labels("assigned").set(census.assigned)
        self.queue.labels("running").set(census.running)
        self.queue_bytes.set(census.bytes)
        waiting = (job.created_at for job in mirror.live.values() if isinstance(job.state, Queued))
        now = time.time()
        self.oldest.set(max(0.0, now - min(waiting, default=now)))
        self.history.set(mirror.ended)


def _of_workers(mirror: Mirror) -> Iterator[str]:
    """The gauges of each worker, as lines of text: the library takes a fifth of a second for those of a thousand."""
    of = {f'worker="{name}"': worker for name, worker in mirror.workers.items()}  # a name has nothing to escape
    now = {label: _state(worker) for label, worker in of.items()}
    yield _gauge("worker_state", "1 for the state it is in")
    for state in _STATES:
        yield from (_sample("worker_state", f'state="{state}",{label}', now[label] == state) for label in of)
    gauges: tuple[tuple[str, str, Callable[[Worker], float]], ...] = (
        ("worker_busy_ratio", "1 while it holds a prompt", lambda worker: mirror.is_busy(worker.name)),
        ("worker_foreign_jobs", "Prompts that others put there", lambda worker: worker.foreign),
        ("worker_vram_free_bytes", "Free VRAM", lambda worker: worker.vram_free),
    )
    for name, says, value in gauges:
        yield _gauge(name, says)
        yield from (_sample(name, label, value(worker)) for label, worker in of.items())


def _gauge(name: str, says: str) -> str:
    return f"# HELP comfygw_{name} {says}\n# TYPE comfygw_{name} gauge\n"


def _sample(name: str, labels: str, value: float) -> str:
    return f"comfygw_{name}{{{labels}}} {float(value)}\n"


def _state(worker: Worker) -> str:
    return "draining" if worker.draining else type(worker.liveness).__name__.lower()


class RequestTimes(Collector):
    """A histogram by route. The library's own takes two locks for each value, which every small answer would pay."""

    def __init__(self, name: str, says: str, bounds: tuple[float, ...]) -> None:
        self._name = name
        self._says = says
        self._bounds = bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, route: str, seconds: float) -> None:
        """From the event loop's thread only; there are as many routes as patterns."""
        if (counts := self._counts.get(route)) is None:
            counts = self._counts[route] = [0] * (len(self._bounds) + 1)
            self._sums[route] = 0.0
        counts[bisect_left(self._bounds, seconds)] += 1
        self._sums[route] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._says, labels=["route"])
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for route, counts in self._counts.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([route], buckets, self._sums[route])
        yield family


class PrometheusRecorder:
    """ports.Recorder over Metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def accepted(self) -> None:
        self._metrics.accepted.inc()

    def refused(self, reason: str) -> None:
        self._metrics.refused.labels(reason).inc()

    def dispatched(self, reason: str, waited: float, decided: float | None) -> None:
        self._metrics.reason.labels(reason).inc()
        self._metrics.queue_time.observe(max(0.0, waited))
        if decided is not None:
            self._metrics.decision.observe(decided)

    def ended(self, outcome: str, ran: float, attempts: int) -> None:
        self._metrics.jobs.labels(outcome).inc()
        self._metrics.run_time.observe(max(0.0, ran))
        self._metrics.attempts.observe(attempts)

    def requeued(self, reason: str) -> None:
        self._metrics.requeued.labels(reason).inc()

    def stale(self) -> None:
        self._metrics.stale.inc()

    def predicted(self, expected: float, ran: float) -> None:
        self._metrics.error.observe(abs(expected - ran) / ran)

    def switched(self, reason: str, seconds: float) -> None:
        self._metrics.switches.labels(reason).inc()
        self._metrics.switch_time.observe(seconds)

    def not_kept(self) -> None:
        self._metrics.not_kept.inc()

    def idle_gap(self, seconds: float) -> None:
        self._metrics.idle_gap.observe(max(0.0, seconds))

    def staged(self, size: int, seconds: float) -> None:
        self._metrics.staged.inc(size)
        self._metrics.staging.observe(seconds)

    def not_staged(self, reason: str) -> None:
        self._metrics.not_staged.labels(reason).inc()
