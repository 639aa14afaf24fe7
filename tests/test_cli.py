from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.cli import main
from gateway.cli.banner import PROMPT, lines_to_try, reachable
from tests.servers import serve, until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("", "the following arguments are required: COMMAND (try gateway --help)"),
        ("sreve", "argument COMMAND: invalid choice: 'sreve'"),
        ("serve --prot 1", "--prot: no such flag (did you mean --port?)"),
        ("serve --por 1", "--por: no such flag (did you mean --port?)"),
        ("serve --workers=http://a", "--workers=http://a: no such flag (did you mean --worker?)"),
        ("serve --port", "argument --port: expected one argument (try gateway serve --help)"),
        ("serve --port x", "--port: 'x' is refused: "),
        ("serve http://a:8188", "http://a:8188: not expected here"),
        ("demo --config /nowhere.toml", "/nowhere.toml: no such file"),
        ("check-config --worker a=b", "--worker: 'b' must begin with http:// or https://"),
        ("emulate --speed 0", "speed must be above 0"),
        ("emulate --comfyui 1", "argument --comfyui: invalid choice: '1'"),
        ("workers", "the following arguments are required: ACTION (try gateway workers --help)"),
        ("workers add a:8188", "'a:8188' must begin with http:// or https://"),
        ("workers drain", "the following arguments are required: NAME"),
        ("workers list --gatway x", "--gatway: no such flag (did you mean --gateway?)"),
    ],
)
def test_what_is_not_understood_is_one_line_and_exit_code_2(
    arguments: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, *arguments.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"gateway: {line}")
    assert err.count("\n") == 1


def test_check_config_prints_each_value_and_its_source(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('history_ttl = "90m"\n')
    monkeypatch.setenv("GATEWAY_MAX_UPLOAD", "5 MiB")
    worker = "a=http://me:hush@h:1"
    code, out, err = ran(capsys, "check-config", "--config", str(file), "--worker", worker, "--worker", "http://b:2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "workers = a=http://***@h:1 b-2=http://b:2  # --worker" in lines
    assert f"history_ttl = 90m  # {file}: history_ttl" in lines
    assert "max_upload = 5MiB  # GATEWAY_MAX_UPLOAD" in lines
    assert "port = 8188  # default" in lines


class Farm:
    """What `/gateway/workers` of a running gateway answers."""

    def __init__(self) -> None:
        self.workers: dict[str, dict[str, Any]] = {}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/gateway/workers", self.many, methods=["GET", "POST"]),
                Route("/gateway/workers/{name}", self.one, methods=["DELETE"]),
                Route("/gateway/workers/{name}/{action}", self.one, methods=["POST"]),
                Route("/other/gateway/workers", lambda _: Response("<html>")),
            ]
        )

    async def many(self, request: Request) -> Response:
        if request.method == "POST":
            given = await request.json()
            self.workers[given["name"]] = given | {"state": "up"}
        return JSONResponse({"workers": list(self.workers.values())})

    async def one(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.workers:
            return JSONResponse({"error": {"message": f"there is no worker {name!r}"}}, 404)
        if request.method == "DELETE":
            del self.workers[name]
            return Response(status_code=204)
        self.workers[name]["draining"] = request.path_params["action"] == "drain"
        return JSONResponse(self.workers[name])


async def test_workers_are_listed_added_drained_resumed_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    async with serve(Farm().app()) as url:

        async def workers(*arguments: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(ran, capsys, "workers", *arguments, "--gateway", url + "/")

        assert (await workers("list"))[1].startswith("no workers; add one with: gateway workers add")
        assert await workers("add", "gpu-1=http://u:hush@a:1") == (0, "gpu-1=http://***@a:1 added\n", "")
        assert (await workers("add", "http://long.example:8188"))[0] == 0
        assert await workers("drain", "gpu-1") == (0, "gpu-1: drain done\n", "")
        assert (await workers("list"))[1] == (
            "gpu-1              http://***@a:1            up, draining\n"
            "long.example-8188  http://long.example:8188  up\n"
        )
        assert await workers("resume", "gpu-1") == (0, "gpu-1: resume done\n", "")
        assert await workers("remove", "gpu-1") == (0, "gpu-1: remove done\n", "")
        assert await workers("remove", "gpu-1") == (1, "", f"gateway: {url}: there is no worker 'gpu-1'\n")


async def test_the_list_shows_what_runs_and_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    farm = Farm()
    idle = {"state": "up", "draining": False, "labels": [], "running": [], "error": ""}
    farm.workers = {
        "a": {"name": "a", "url": "http://a:1", **idle, "labels": ["big", "fast"], "running": ["p-1"]},
        "b": {"name": "b", "url": "http://b:1", **idle, "state": "down", "error": "http://b:1/queue: refused"},
    }
    async with serve(farm.app()) as url:
        _, out, _ = await asyncio.to_thread(ran, capsys, "workers", "list", "--gateway", url)
    assert out == (
        "a  http://a:1  up    big,fast  p-1\nb  http://b:1  down                 http://b:1/queue: refused\n"
    )


async def test_what_is_no_gateway_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    async with serve(Farm().app()) as url:
        for base, reason in ((url + "/other", "is no gateway: its answer is not JSON"), (url + "/no", "404 Not Found")):
            code, out, err = await asyncio.to_thread(ran, capsys, "workers", "list", "--gateway", base)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert reason in err
    for base in (url, "not a url", "ftp://x"):
        code, out, err = ran(capsys, "workers", "list", "--gateway", base)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"gateway: no gateway at {base}: ")


def test_an_address_that_means_all_is_shown_as_one_to_call() -> None:
    assert reachable("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert reachable("::", 1) == "http://[::1]:1"
    assert reachable("gpu.example", 1) == "http://gpu.example:1"


async def test_the_printed_lines_post_a_prompt_and_fetch_its_picture(tmp_path: Path) -> None:
    posted: list[dict[str, Any]] = []
    asked = 0

    async def prompt(request: Request) -> Response:
        posted.append(json.loads(await request.body()))
        return JSONResponse({"prompt_id": posted[0]["prompt_id"], "number": 0, "node_errors": {}})

    async def history(request: Request) -> Response:
        nonlocal asked
        asked += 1
        prompt_id = posted[0]["prompt_id"]
        assert request.path_params["id"] == prompt_id
        record = {"outputs": {"3": {"images": [{"filename": "hello_00001_~gpu-0.png", "type": "output"}]}}}
        return JSONResponse({prompt_id: record} if asked > 1 else {})

    async def view(request: Request) -> Response:
        assert dict(request.query_params) == {"filename": "hello_00001_~gpu-0.png"}
        return Response(b"a picture")

    routes = [
        Route("/prompt", prompt, methods=["POST"]),
        Route("/history/{id}", history),
        Route("/view", view),
    ]
    async with serve(Starlette(routes=routes)) as url:
        shell = await asyncio.create_subprocess_exec("bash", "-ec", "\n".join(lines_to_try(url)), cwd=tmp_path)
        assert await shell.wait() == 0
    assert posted[0]["prompt"] == PROMPT
    assert (tmp_path / "hello.png").read_bytes() == b"a picture"


STUB = """
import sys, types, asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from contextlib import asynccontextmanager

def build(settings, state_url, draining):
    going = asyncio.Event()
    @asynccontextmanager
    async def lifespan(app):
        print("lifespan begins", flush=True)
        if settings.prefix == "hangs":
            await asyncio.Event().wait()
        if settings.prefix == "fails":
            raise RuntimeError("no such state")
        yield
        print("lifespan ends", flush=True)
    async def workers(request):
        return JSONResponse({"workers": [{"name": w.name, "url": w.url, "state": "up"} for w in settings.workers]})
    async def slow(request):
        print("request begins", flush=True)
        while not draining():
            await asyncio.sleep(0.01)
        print("draining", flush=True)
        if settings.prefix == "stuck":
            await asyncio.Event().wait()
        return PlainTextResponse(state_url)
    return Starlette(routes=[Route("/gateway/workers", workers), Route("/slow", slow)], lifespan=lifespan)

app = types.ModuleType("gateway.app")
app.build = build
sys.modules["gateway.app"] = app
from gateway.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Running:
    """A `gateway` process and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = ""
        self.err = ""

    async def read(self) -> None:
        async def follow(stream: asyncio.StreamReader | None, name: str) -> None:
            while stream is not None and (line := await stream.readline()):
                setattr(self, name, getattr(self, name) + line.decode())

        await asyncio.gather(follow(self.process.stdout, "out"), follow(self.process.stderr, "err"))

    async def said(self, pattern: str) -> str:
        """The first group of the pattern as soon as standard output has it."""
        found = await until(
            lambda: re.search(pattern, self.out) or self.process.returncode is not None,
            f"it says {pattern!r}",
            timeout=30,
        )
        assert isinstance(found, re.Match), f"ended with {self.process.returncode}: {self.out}{self.err}"
        return str(found[1] if found.re.groups else found[0])


@asynccontextmanager
async def gateway(*arguments: str, stub: bool = True) -> AsyncIterator[Running]:
    command = ("-c", STUB) if stub else ("-m", "gateway")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup themselves
        start_new_session=True,  # so that a Ctrl-C for the whole group is one for it and its children alone
    )
    running = Running(process)
    reading = asyncio.create_task(running.read())
    try:
        yield running
    finally:
        if process.returncode is None:  # asked nicely, for a killed one leaves its server to the next
            process.terminate()
        await asyncio.wait_for(process.wait(), 20)
        await reading


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_serve_tells_where_it_is_and_leaves_in_order(sig: signal.Signals, short_path: Path) -> None:
    async with gateway(
        "serve", "--port", "0", "--data-dir", str(short_path), "--worker", "g=http://u:hush@a:1"
    ) as running:
        base = await running.said(r"gateway at (http://127\.0\.0\.1:\d+)\n")
        assert await running.said(r"workers:\n  (.*)\n") == "g  http://***@a:1  up"
        assert f"state: a private server in {short_path}" in running.out
        await running.said(r"Try a prompt:\ncurl .*\n\nand get its picture:\n.*hello\.png\n")
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            slow = asyncio.create_task(client.get("/slow"))
            await running.said("request begins")
            os.killpg(running.process.pid, sig)  # as a terminal does
            reply = await slow
        assert reply.text == f"unix://{short_path}/state.sock"
        assert "server" not in reply.headers
        assert await running.process.wait() == 0
    assert running.out.index("draining") < running.out.index("lifespan ends")
    assert running.err == ""
    assert not (short_path / "state.sock").exists()


async def test_a_request_that_does_not_end_is_cut_off_after_the_grace(short_path: Path) -> None:
    flags = ("--port", "0", "--data-dir", str(short_path), "--shutdown-grace", "0.1", "--prefix", "stuck")
    async with gateway("serve", *flags) as running:
        base = await running.said(r"gateway at (\S+)")
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            slow = asyncio.create_task(client.get("/slow"))
            await running.said("request begins")
            running.process.send_signal(signal.SIGTERM)
            await asyncio.wait([slow])
            slow.exception()
        assert await asyncio.wait_for(running.process.wait(), 10) == 0
    assert "lifespan ends" in running.out


async def test_a_second_signal_ends_an_app_that_does_not_start(short_path: Path) -> None:
    flags = ("--port", "0", "--data-dir", str(short_path), "--prefix", "hangs")
    async with gateway("serve", *flags) as running:
        await running.said("lifespan begins")
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 10) == 0
    assert not (short_path / "state.sock").exists()


async def test_an_app_that_fails_to_start_is_exit_code_1_and_leaves_nothing(short_path: Path) -> None:
    async with gateway("serve", "--port", "0", "--data-dir", str(short_path), "--prefix", "fails") as running:
        assert await running.process.wait() == 1
    assert "no such state" in running.err
    assert not (short_path / "state.sock").exists()


async def test_a_port_that_is_taken_and_a_folder_in_use_are_one_line(short_path: Path) -> None:
    async with gateway("serve", "--port", "0", "--data-dir", str(short_path)) as first:
        port = await first.said(r"gateway at http://127\.0\.0\.1:(\d+)")
        async with gateway("serve", "--port", port, "--data-dir", str(short_path / "other")) as second:
            assert await second.process.wait() == 1
        assert second.err == f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        async with gateway("serve", "--port", "0", "--host", "nowhere.invalid") as unknown:
            assert await unknown.process.wait() == 1
        assert re.fullmatch(r"gateway: cannot listen on nowhere\.invalid:0: .*\n", unknown.err)
        async with gateway("serve", "--port", "0", "--data-dir", str(short_path)) as third:
            assert await third.process.wait() == 1
        assert third.err.startswith(f"gateway: {short_path} is in use by another gateway (pid {first.process.pid})")
        assert third.err.count("\n") == 1


async def test_the_log_is_json_lines_when_nobody_looks(short_path: Path) -> None:
    async with gateway("serve", "--port", "0", "--data-dir", str(short_path), "--prefix", "fails") as running:
        await running.process.wait()
    lines = [json.loads(line) for line in running.err.splitlines()]
    assert {"event", "level", "logger", "timestamp"} <= lines[0].keys()
    assert "RuntimeError: no such state" in json.dumps(lines)


async def test_an_emulated_worker_tells_its_address_and_ends_with_its_parent() -> None:
    async with gateway("emulate", "--port", "0", "--name", "e", stub=False) as running:
        url = await running.said(r"^e at (\S+)\n")
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{url}/system_stats")).status_code == 200
        async with gateway("emulate", "--port", url.rpartition(":")[2], stub=False) as second:
            assert await second.process.wait() == 1
        assert re.fullmatch(r"gateway: cannot listen on 127\.0\.0\.1:\d+: Address already in use\n", second.err)
        running.process.send_signal(signal.SIGINT)
        assert await running.process.wait() == 0
    assert running.err == ""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "emulate", "--port", "0", "--with-parent"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    await child.stdout.readline()
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 10) == 0


async def test_the_demo_makes_the_picture_and_its_workers_come_back_and_end_with_it(
    short_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(short_path))
    async with gateway("demo", "--port", "0", "--worker", "mine=http://127.0.0.1:1", stub=False) as running:
        text = await running.said(r"workers:\n((?:  .*\n)+)")
        await running.said(r"hello\.png\n")
        shell = await asyncio.create_subprocess_exec("bash", "-ec", lines_in(running.out), cwd=tmp_path)
        assert await shell.wait() == 0
        with Image.open(tmp_path / "hello.png") as picture:
            assert picture.size == (512, 512)
        assert [line.split()[0] for line in text.splitlines()] == ["gpu-0", "gpu-1", "gpu-2", "mine"]
        urls = [line.split()[1] for line in text.splitlines()[:3]]
        async with httpx.AsyncClient(trust_env=False) as client:

            async def answers(url: str) -> bool:
                try:
                    return (await client.get(f"{url}/system_stats")).is_success
                except httpx.TransportError:
                    return False

            assert [await answers(url) for url in urls] == [True] * 3
            pid = children(running.process.pid)["gpu-1"]
            os.kill(pid, signal.SIGKILL)
            await until(lambda: children(running.process.pid).get("gpu-1", pid) != pid, "gpu-1 is started again")
            await until(lambda: answers(urls[1]), "gpu-1 answers on its port")
            os.killpg(running.process.pid, signal.SIGINT)
            assert await running.process.wait() == 0
            assert [await answers(url) for url in urls] == [False] * 3
    assert (short_path / "comfy-gateway/demo/gpu-0").is_dir()
    assert "Traceback" not in running.err


async def test_the_workers_of_a_demo_that_is_killed_end_too(short_path: Path) -> None:
    async with gateway("demo", "--port", "0", "--data-dir", str(short_path)) as running:
        await running.said("gateway at")
        pids = children(running.process.pid).values()
        assert len(pids) == 3
        running.process.kill()
        await running.process.wait()
        await until(lambda: not any(map(alive, pids)), "the workers end")
    async with gateway("serve", "--port", "0", "--data-dir", str(short_path)) as again:  # and its state is taken over
        await again.said("gateway at")
        again.process.send_signal(signal.SIGTERM)
        assert await again.process.wait() == 0


def lines_in(banner: str) -> str:
    """The shell lines of the banner, as they would be pasted."""
    return "\n".join(line for line in banner.splitlines() if line.startswith(("curl ", "for ")))


def children(parent: int) -> dict[str, int]:
    """name → pid of the emulated workers of that process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, words = (folder / "status").read_text(), (folder / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if f"\nPPid:\t{parent}\n" in status and "--name" in words:
            found[words[words.index("--name") + 1]] = int(folder.name)
    return found


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
