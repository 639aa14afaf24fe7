"""`scripts/run` as a user runs it: the address, the lines to try, and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.servers import until
from tests.system.processes import PATIENCE, ROOT, SLOW, Farm, descendants, lives, of_session

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SLOW)]

ORANGE_INVERTED = (0, 102, 255)
LAUNCHER = "#!{python}\nimport sys\nfrom gateway.__main__ import main\nsys.exit(main())\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """This checkout with its `.venv` made, so that `scripts/setup` has nothing to do (and nothing to download)."""
    root = tmp_path / "checkout"
    root.mkdir()
    for name in ("gateway", "scripts", "pyproject.toml", "requirements.lock"):
        (root / name).symlink_to(ROOT / name)
    launcher = root / ".venv/bin/gateway"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    done = (root / "pyproject.toml").read_bytes() + (root / "requirements.lock").read_bytes()
    (root / ".venv/requirements.lock").write_bytes(done)
    return root


class Run:
    """`scripts/run` in a terminal session of its own."""

    def __init__(self, popen: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.popen = popen
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    async def serves(self) -> str:
        """Its address, once all of the banner is there."""

        def banner() -> bool:
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}: {self.out}{self.err}"
            return "hello.png" in self.out

        await until(banner, "scripts/run says what to try", timeout=PATIENCE)
        found = re.search(r"gateway at (http://\S+)", self.out)
        assert found, self.out
        return found[1]

    async def ended(self) -> int:
        await until(lambda: self.popen.poll() is not None, "scripts/run ends", timeout=PATIENCE)
        return int(self.popen.returncode)


@asynccontextmanager
async def scripts_run(checkout: Path, folder: Path, *flags: str, **env: str) -> AsyncIterator[Run]:
    more = {"XDG_STATE_HOME": str(folder), "PYTHONPATH": str(ROOT)} | env
    files = checkout / "out", checkout / "err"
    with files[0].open("wb") as out, files[1].open("wb") as err:
        command = [str(checkout / "scripts/run"), *flags]
        popen = subprocess.Popen(command, stdout=out, stderr=err, env=os.environ | more, start_new_session=True)
    run = Run(popen, *files)
    try:
        yield run
    finally:
        started = descendants(popen.pid)
        if popen.poll() is None:
            popen.kill()
            popen.wait()
        for pid in filter(lives, started):
            os.kill(pid, signal.SIGKILL)


async def try_it(run: Run, folder: Path) -> None:
    """What the banner tells to paste, pasted."""
    lines = [line for line in run.out.splitlines() if line.startswith(("curl ", "for "))]
    assert len(lines) == 2, run.out
    shell = await asyncio.create_subprocess_exec("bash", "-ec", "\n".join(lines), cwd=folder)
    assert await asyncio.wait_for(shell.wait(), PATIENCE) == 0
    with Image.open(folder / "hello.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (512, 512)
        assert picture.getpixel((1, 1)) in (ORANGE_INVERTED, (0, 0x7F, 0xFF))


async def ctrl_c(run: Run) -> None:
    """As a terminal sends it: to the whole foreground group; then nothing is left."""
    started = descendants(run.popen.pid)
    assert started, "it has started no process at all"
    os.killpg(run.popen.pid, signal.SIGINT)
    assert await run.ended() == 0, run.err
    await until(lambda: not any(map(lives, started)), "all that it started is gone")
    assert of_session(run.popen.pid) == set()
    assert "Traceback" not in run.err


async def test_it_serves_the_workers_given_makes_the_picture_and_ends_without_a_trace(
    checkout: Path, farm: Farm, tmp_path: Path
) -> None:
    workers = await farm.workers(w0="", w1="")
    given = f"gpu-0={workers[0].url} gpu-1={workers[1].url}"
    async with scripts_run(checkout, farm.folder, "--port", "0", WORKERS=given) as run:
        base = await run.serves()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base)
        assert re.findall(r"^  (gpu-\d)  (\S+)  up$", run.out, re.MULTILINE) == [
            ("gpu-0", workers[0].url),
            ("gpu-1", workers[1].url),
        ]
        await try_it(run, tmp_path)
        await ctrl_c(run)
    assert all(worker.alive for worker in workers)


async def test_with_no_workers_it_is_a_demo_that_makes_the_picture_and_ends_without_a_trace(
    checkout: Path, farm: Farm, tmp_path: Path
) -> None:
    async with scripts_run(checkout, farm.folder, GATEWAY_PORT="0") as run:
        await run.serves()
        assert re.findall(r"^  (gpu-\d)  \S+  up$", run.out, re.MULTILINE) == ["gpu-0", "gpu-1", "gpu-2"]
        await try_it(run, tmp_path)
        assert len(descendants(run.popen.pid)) >= 4  # its workers and its private server
        await ctrl_c(run)
