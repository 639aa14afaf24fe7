"""What is shipped beside the code still fits the code: image, compose file, Prometheus and Grafana."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from gateway.cli import main
from gateway.domain.ids import WorkerName
from gateway.domain.jobs import Outcome
from gateway.domain.workers import Liveness, Worker
from gateway.metrics import Metrics, RequestTimes, _of_workers
from gateway.settings import Settings, env_name

if TYPE_CHECKING:
    from gateway.flows.mirror import Mirror

ROOT = Path(__file__).parents[1]
DASHBOARDS = sorted((ROOT / "grafana/dashboards").glob("*.json"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def declared() -> dict[str, set[str]]:
    """Every series that /metrics can show → its labels."""
    found = {}
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            for suffix in SUFFIXES[str(metric._type)]:
                labels = set(metric._labelnames) | ({"le"} if suffix == "_bucket" else set())
                found[metric._name + suffix] = labels
        elif isinstance(metric, RequestTimes):
            metric.observe("/a/route", 0.1)
            found |= {sample.name: set(sample.labels) for one in metric.collect() for sample in one.samples}
    one = Worker(WorkerName("w"), "http://w")
    mirror = cast("Mirror", SimpleNamespace(workers={one.name: one}, is_busy=lambda _: False))
    for line in "".join(_of_workers(mirror)).splitlines():
        if not line.startswith("#"):
            name, _, shown = line.rpartition(" ")[0].partition("{")
            found[name] = set(re.findall(r"(\w+)=", shown))
    return found


def expressions(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_the_metrics_are_found_at_all() -> None:
    assert declared()["comfygw_jobs_total"] == {"outcome"}
    assert declared()["comfygw_redis_seconds_bucket"] == {"op", "le"}
    assert declared()["comfygw_worker_state"] == {"worker", "state"}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_shows_only_what_is_measured(dashboard: Path) -> None:
    series = declared()
    assert len(expressions(dashboard)) > 10
    for expression in expressions(dashboard):
        names = re.findall(r"comfygw_\w+", expression)
        assert names, expression
        assert expression.count("(") == expression.count(")"), expression
        for name in names:
            assert name in series, f"{name} is not in gateway/metrics.py"
        labels = [part.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for part in group.split(",")]
        labels += re.findall(r"[{,]\s*(\w+)\s*=", expression)
        assert set(labels) <= set().union(*(series[name] for name in names)), expression


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_asks_for_states_and_outcomes_that_there_are(dashboard: Path) -> None:
    known: dict[str, set[str]] = {
        "outcome": set(Outcome),
        "state": {"queued", "assigned", "running"} | {state.__name__.lower() for state in get_args(Liveness)},
    }
    asked = re.findall(r'(\w+)="(\w+)"', " ".join(expressions(dashboard)))
    assert asked
    for label, value in asked:
        assert value in known[label], f"{label}={value}"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_laid_out_without_overlaps_and_uses_the_provisioned_source(dashboard: Path) -> None:
    board = json.loads(dashboard.read_text())
    provisioned = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())
    uids = {source["uid"] for source in provisioned["datasources"]}
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["type"] == "row" or panel["datasource"]["uid"] in uids
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_metric_that_the_first_dashboard_is_about_is_on_it() -> None:
    shown = " ".join(expressions(ROOT / "grafana/dashboards/gateway.json"))
    for name in (
        *("jobs_total", "job_queue_seconds", "job_run_seconds", "queue_jobs", "queue_oldest_seconds"),
        *("worker_state", "worker_busy_ratio", "worker_idle_gap_seconds", "dispatch_decision_seconds"),
        *("dispatch_reason_total", "redis_seconds", "event_loop_lag_seconds", "overhead_seconds"),
        *("queue_gpu_seconds", "predict_error_ratio", "model_switches_total", "job_switch_seconds"),
    ):
        assert f"comfygw_{name}" in shown


def test_compose_is_whole() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= SERVICES.keys(), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).exists()
    assert {name for name, service in SERVICES.items() if "demo" not in service.get("profiles", [])} == {
        *("gateway", "redis", "prometheus", "grafana")
    }


def test_the_state_of_the_compose_file_is_durable() -> None:
    command = SERVICES["redis"]["command"]
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in command
    assert SERVICES["gateway"]["depends_on"]["redis"]["condition"] == "service_healthy"


def test_the_settings_that_are_shipped_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {env_name(name) for name in Settings.model_fields}
    image = (ROOT / "deploy/Containerfile").read_text()
    assert set(re.findall(r"\bGATEWAY_[A-Z_]+", image)) <= known
    environment = SERVICES["gateway"]["environment"]
    assert environment.keys() <= known
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("${WORKERS:-}", "http://a:8188 big=http://b:8188"))
    assert main(["check-config"]) == 0


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "demo" in service.get("profiles", [])])
def test_the_commands_of_the_demo_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []

    def run(work: Coroutine[Any, Any, None]) -> None:
        ran.append(work)
        work.close()

    def ask(given: argparse.Namespace, method: str, path: str, body: dict[str, str]) -> dict[str, Any]:
        assert (given.gateway, method) == ("http://gateway:8188", "POST")
        ran.append(body)
        return {}

    monkeypatch.setattr("gateway.cli.emulate.asyncio.run", run)
    monkeypatch.setattr("gateway.cli.workers._ask", ask)
    command = SERVICES[name]["command"]
    if name == "enrol":
        (line,) = command
        words = re.search(r"do gateway (.*); done", line.replace("$$n", "0"))
        assert words
        command = shlex.split(words[1])
    assert main(command) == 0
    assert len(ran) == 1


def test_the_image_copies_only_what_is_let_into_its_build() -> None:
    image = (ROOT / "deploy/Containerfile").read_text()
    allowed = (ROOT / "deploy/Containerfile.dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.MULTILINE):
        for source in line.split():
            assert f"!{source}" in allowed
            assert (ROOT / source).exists()
    assert re.search(r"^USER 10001$", image, re.MULTILINE)


def test_the_health_check_of_the_image_is_python(monkeypatch: pytest.MonkeyPatch) -> None:
    image = (ROOT / "deploy/Containerfile").read_text()
    found = re.search(r"HEALTHCHECK .* CMD (\[.*\])$", image, re.MULTILINE)
    assert found
    program, flag, code = json.loads(found[1])
    assert (program, flag) == ("python", "-c")
    monkeypatch.setenv("GATEWAY_PORT", "1")
    with pytest.raises(ConnectionRefusedError):
        exec(compile(code, "healthcheck", "exec"), {})


def test_prometheus_asks_the_gateway() -> None:
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    (place,) = job["dns_sd_configs"]
    assert place["names"] == ["gateway"]
    assert str(place["port"]) == SERVICES["gateway"]["ports"][0].rpartition(":")[2]
