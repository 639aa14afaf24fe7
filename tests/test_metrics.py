from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.emulator.settings import EmulatorSettings
from gateway.metrics import Metrics, PrometheusRecorder
from tests.farm import Client, emulated, failing, farm, invalid, picture, sleeping
from tests.scripted import scripted
from tests.servers import until

pytestmark = pytest.mark.anyio


async def read(client: Client) -> dict[str, float]:
    """Every sample of GET /metrics by its name and labels."""
    answer = await client.ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_what_happens_is_counted(state: str) -> None:
    async with emulated(EmulatorSettings()) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        for graph in (picture(), picture(), failing()):
            await client.ended(await client.submit(graph))
        await client.post(invalid())
        told = await read(client)
        assert told["comfygw_prompts_accepted_total"] == 3
        assert told['comfygw_prompts_refused_total{reason="worker"}'] == 1
        assert told['comfygw_jobs_total{outcome="succeeded"}'] == 2
        assert told['comfygw_jobs_total{outcome="failed"}'] == 1
        assert told["comfygw_job_attempts_sum"] == told["comfygw_job_attempts_count"] == 3
        assert told["comfygw_job_run_seconds_count"] == 3
        assert told["comfygw_history_records"] == 3
        assert told['comfygw_overhead_seconds_count{route="/prompt"}'] >= 4
        assert told['comfygw_redis_seconds_count{op="finish"}'] == 3


async def test_gauges_are_as_of_now(state: str) -> None:
    async with scripted() as worker, farm(state, worker) as gateway:
        client = gateway.client()
        running, _ = [await client.submit(sleeping()) for _ in range(2)]
        await client.runs(running)
        told = await read(client)
        assert told['comfygw_queue_jobs{state="queued"}'] == 1
        assert told['comfygw_queue_jobs{state="running"}'] == 1
        assert told["comfygw_queue_bytes"] > 100
        assert 0 <= told["comfygw_queue_oldest_seconds"] < 60
        assert told['comfygw_worker_busy_ratio{worker="w0"}'] == 1
        assert told['comfygw_worker_vram_free_bytes{worker="w0"}'] == worker.vram
        states = {name: value for name, value in told.items() if name.startswith("comfygw_worker_state")}
        assert [name for name, value in states.items() if value] == ['comfygw_worker_state{state="up",worker="w0"}']
        await client.send("/queue", {"clear": True})
        await client.send("/gateway/workers/w0/drain")
        worker.finish()
        await client.ended(running)
        told = await read(client)
        assert told['comfygw_queue_jobs{state="queued"}'] == 0
        assert told["comfygw_queue_oldest_seconds"] == 0
        assert told['comfygw_worker_state{state="draining",worker="w0"}'] == 1
        assert told['comfygw_worker_busy_ratio{worker="w0"}'] == 0
        await client.ask("DELETE", "/gateway/workers/w0")
        await until(lambda: _unnamed(client, "w0"), "the worker is not told of any more")


async def test_what_is_written_is_read_by_the_library_too(state: str) -> None:
    async with scripted() as worker, farm(state, worker) as gateway:
        body = (await gateway.client().ask("GET", "/metrics")).body.decode()
        families = {family.name: family for family in text_string_to_metric_families(body)}
        states = families["comfygw_worker_state"]
        assert (states.type, states.documentation) == ("gauge", "1 for the state it is in")
        assert {sample.labels["state"]: sample.value for sample in states.samples}["up"] == 1
        assert len(families["comfygw_worker_vram_free_bytes"].samples) == 1


async def _unnamed(client: Client, worker: str) -> bool:
    return not any(f'worker="{worker}"' in name for name in await read(client))


async def test_no_label_names_a_prompt_or_a_caller(state: str) -> None:
    async with scripted() as worker, farm(state, worker) as gateway:
        client = gateway.client("somebody")
        id = await client.submit(picture(), prompt_id="the-prompt")
        for path in (f"/history/{id}", f"/api/jobs/{id}", f"/gateway/jobs/{id}", "/nobody/knows"):
            await client.ask("GET", path)
        told = (await client.ask("GET", "/metrics")).body
        assert b"the-prompt" not in told
        assert b"somebody" not in told
        assert b"nobody" not in told


def test_facts_go_where_they_are_declared() -> None:
    metrics = Metrics()
    recorder = PrometheusRecorder(metrics)
    recorder.dispatched("queue", waited=2.0, decided=0.001)
    recorder.dispatched("queue", waited=-1.0, decided=0.001)  # clocks may differ
    recorder.requeued("crash")
    recorder.stale()
    recorder.idle_gap(0.5)
    recorder.staged(1000, 0.5)
    recorder.not_staged("refused")
    value = metrics.registry.get_sample_value
    assert value("comfygw_staged_bytes_total") == 1000
    assert value("comfygw_staging_seconds_sum") == 0.5
    assert value("comfygw_staging_failures_total", {"reason": "refused"}) == 1
    assert value("comfygw_dispatch_reason_total", {"reason": "queue"}) == 2
    assert value("comfygw_job_queue_seconds_sum") == 2
    assert value("comfygw_jobs_requeued_total", {"reason": "crash"}) == 1
    assert value("comfygw_fence_rejected_total") == 1
    assert value("comfygw_worker_idle_gap_seconds_sum") == 0.5


async def test_the_lag_of_the_loop_is_measured() -> None:
    metrics = Metrics()
    await metrics.measure_lag()
    assert metrics.registry.get_sample_value("comfygw_event_loop_lag_seconds_count") == 1


def test_every_metric_has_our_prefix_and_a_help_text() -> None:
    for family in Metrics().registry.collect():
        assert re.fullmatch(r"comfygw_[a-z_]+", family.name)
        assert family.documentation
