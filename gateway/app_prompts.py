"""The part of the composition root that has to do with taking prompts in."""

from __future__ import annotations

from pathlib import Path

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.line_file import RotatingLines
from gateway.adapters.redis_jobs import RedisJobs
from gateway.domain.placement import Placement
from gateway.domain.ports import Limits
from gateway.flows.attempts import Attempts, Tries
from gateway.flows.decisions import Decisions
from gateway.flows.forecast import Forecast
from gateway.flows.inquire import Inquire
from gateway.flows.mirror import Mirror
from gateway.flows.reading import Reading
from gateway.flows.sharing import Tasks
from gateway.flows.submit import Submit
from gateway.metrics import PrometheusRecorder
from gateway.settings import Settings


def tries(settings: Settings) -> Tries:
    return Tries(settings.max_attempts, settings.post_timeout)


def decisions(settings: Settings) -> Decisions:
    log = RotatingLines(Path(settings.decision_log), settings.decision_log_size) if settings.decision_log else None
    return Decisions(log, settings.policy)


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.max_queue, settings.max_queue_bytes, settings.max_queue_per_caller, settings.validation_timeout
    )


def submit(
    settings: Settings,
    jobs: RedisJobs,
    comfy: ComfyApi,
    mirror: Mirror,
    placement: Placement,
    reading: Reading,
    attempts: Attempts,
    forecast: Forecast,
    recorder: PrometheusRecorder,
    tasks: Tasks,
    decisions: Decisions,
) -> Submit:
    inquire = Inquire(jobs, comfy, mirror, reading.catalogues, attempts, grace=settings.worker_grace)
    limits = _limits(settings)
    return Submit(jobs, mirror, placement, reading, attempts, inquire, forecast, recorder, tasks, limits, decisions)
