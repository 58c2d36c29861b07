"""The commands of the README's "By hand", as they stand there, each in a terminal of its own at the same moment."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
import yaml

from benchmarks.system import free_port
from seedcore.settings import load_settings
from seedcore.stores.data_dir_lock import DataDirLock
from seedcore.stores.embedded import embedded_postgres

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
START_S = 400
STOP_S = 60
RAY_GAVE_UP = "The current node timed out during startup"


def blocks() -> list[str]:
    """The command blocks of the README's section: install, the first terminal, the second."""
    section = re.search(r"^## By hand.*?^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    return re.findall(r"^```\n(.*?)^```", section[0], re.MULTILINE | re.DOTALL)


class Desk:
    """A checkout's folder, as far as the commands need it, on a port of its own, with a home of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sch"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = self.folder / "data"
        self.token = self.folder / "home" / ".ray" / "auth_token"
        (self.folder / ".venv").symlink_to(sys.prefix)
        for name in ("home", "r", "serve_config"):
            (self.folder / name).mkdir()
        self.configure(port=self.port)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDCORE_", "RAY_"))}
        self.environment = inherited | {
            "HOME": str(self.folder / "home"),
            "RAY_TMPDIR": str(self.folder / "r"),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's workers run at nice 15: beside another test they would hardly run at all.
            "RAY_worker_niceness": "0",
            "PYTHONPATH": str(ROOT),
            "SEEDCORE_DATA_DIR": str(self.data_dir),
            "SEEDCORE_HTTP_PORT": str(self.port),
            "SEEDCORE_BOOTSTRAP_TIMEOUT_S": str(START_S),
            "SEEDCORE_SKILLS": "tests.e2e.skills_that_last",
        }
        self._terminals: list[subprocess.Popen[bytes]] = []

    def configure(self, applications: int | None = None, **http: object) -> None:
        """serve_config/dev.yaml with other HTTP options, and only so many of its applications."""
        config = yaml.safe_load((ROOT / "serve_config" / "dev.yaml").read_text())
        config["http_options"] |= http
        config["applications"] = config["applications"][:applications]
        (self.folder / "serve_config" / "dev.yaml").write_text(yaml.safe_dump(config))

    def terminal(self, name: str, commands: str, **environment: str) -> subprocess.Popen[bytes]:
        """Type the commands into a shell of their own, which logs to NAME.log."""
        (self.folder / f"{name}.log").unlink(missing_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            shell = subprocess.Popen(
                ["bash", "-e", "-c", commands],
                cwd=self.folder,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._terminals.append(shell)
        return shell

    def serve(self, name: str, until: Callable[[], bool], **environment: str) -> subprocess.Popen[bytes]:
        """Type the first terminal's commands, until something is so, or they end.

        On a busy machine Ray gives up after 30 s, whatever it is set to; a person would type it again.
        """
        deadline = time.monotonic() + START_S
        shell = self.terminal(name, blocks()[1], **environment)
        while not until():
            assert time.monotonic() < deadline, self.output(name)[-4000:]
            if shell.poll() is not None:
                if RAY_GAVE_UP not in self.output(name):
                    break
                shell = self.terminal(name, blocks()[1], **environment)
            time.sleep(0.1)
        return shell

    def output(self, name: str) -> str:
        """What a terminal shows."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """All that runs from here: below the terminals, or with this folder in its command line."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self.folder) in " ".join(process.cmdline()) or process.environ().get("HOME") == str(
                    self.folder / "home"
                ):
                    found |= {p.pid: p for p in [process, *process.children(recursive=True)]}
        keepers = [p for p in psutil.process_iter() if _keeps(p, self.data_dir)]
        return [*found.values(), *keepers]

    def close(self) -> None:
        """End whatever is left."""
        for shell in self._terminals:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGINT)
        left = self.processes()
        for process in psutil.wait_procs(left, timeout=STOP_S)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for shell in self._terminals:
            shell.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def _keeps(process: psutil.Process, data_dir: Path) -> bool:
    """Whether it is the process that keeps this data directory's lock; only its open file says which."""
    try:
        if "seedcore.stores.lock_keeper" not in process.cmdline():
            return False
        return any(Path(os.readlink(fd)).parent.parent == data_dir for fd in Path(f"/proc/{process.pid}/fd").iterdir())
    except (psutil.Error, OSError):
        return False


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    desk = Desk()
    try:
        yield desk
    finally:
        desk.close()


@pytest.fixture(scope="module")
def serving(desk: Desk) -> subprocess.Popen[bytes]:
    """The first terminal, once the second one's commands have ended."""
    bootstrap = desk.terminal("bootstrap", blocks()[2])
    serve = desk.serve("serve", lambda: bootstrap.poll() is not None)
    assert bootstrap.poll() == 0, desk.output("bootstrap") + desk.output("serve")[-4000:]
    return serve


def test_what_is_installed_by_hand_is_what_make_installs() -> None:
    install, *_ = blocks()
    makefile = (ROOT / "Makefile").read_text()
    arguments = re.search(r"pip install (-c constraints\.txt -e '\.\[)([\w,]+)\]'", install)
    assert arguments is not None
    assert arguments[1] in makefile
    extras = arguments[2].replace(",", "$(comma)")
    assert f"$(call install,{extras})\n\t@exec $(VENV)/bin/seedcore run" in makefile


def test_started_at_the_same_moment_the_organism_comes_first_and_a_task_is_run(
    desk: Desk, serving: subprocess.Popen[bytes]
) -> None:
    events = [json.loads(line)["event"] for line in desk.output("bootstrap").splitlines() if line.startswith("{")]
    assert events.index("organism initialized") < events.index("workers work") < events.index("canary completed")
    assert "Traceback" not in desk.output("bootstrap")
    assert ended(desk, submit(desk, "echo", {"value": 7}))["result"] == {"value": 7}


def test_ray_s_token_is_for_this_user_alone(desk: Desk, serving: subprocess.Popen[bytes]) -> None:
    assert stat.S_IMODE(desk.token.stat().st_mode) == 0o600
    raylet = next(p for p in desk.processes() if p.name() == "raylet")
    assert raylet.environ()["RAY_AUTH_MODE"] == "token"


def test_http_listens_on_loopback_alone(desk: Desk, serving: subprocess.Popen[bytes]) -> None:
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {place.ip for place in listening if place.port == desk.port} == {"127.0.0.1"}


def test_the_data_directory_is_closed_to_a_second_seedcore(desk: Desk, serving: subprocess.Popen[bytes]) -> None:
    (raylet,) = [p for p in desk.processes() if p.name() == "raylet"]
    again = desk.terminal("again", ". .venv/bin/activate\nseedcore run", SEEDCORE_HTTP_PORT=str(free_port()))
    assert again.wait(START_S) == 2
    assert f"is in use by another SeedCore (pid {raylet.ppid()})" in desk.output("again")


def test_a_second_serve_run_on_its_port_ends_with_the_reason_and_takes_nothing(
    desk: Desk, serving: subprocess.Popen[bytes]
) -> None:
    desk.configure(applications=1, port=desk.port)
    (desk.folder / "r2").mkdir()
    second = desk.serve("second", lambda: False, RAY_TMPDIR=str(desk.folder / "r2"))
    assert second.poll() not in (0, None)
    assert f"seedcore: SEEDCORE_HTTP_PORT={desk.port} is in use on 127.0.0.1 (pid" in desk.output("second")
    assert ended(desk, submit(desk, "echo", {"value": 8}))["result"] == {"value": 8}


def test_ctrl_c_hands_back_what_runs_and_leaves_nothing_behind(desk: Desk, serving: subprocess.Popen[bytes]) -> None:
    """The last test of this SeedCore."""
    nap = submit(desk, "nap", {"seconds": 300})
    wait_for(lambda: task(desk, nap)["status"] == "running", "the nap has begun")
    started = desk.processes()
    assert any(_keeps(p, desk.data_dir) for p in started)
    os.killpg(serving.pid, signal.SIGINT)
    serving.wait(STOP_S)
    gone, left = psutil.wait_procs(started, timeout=10)
    assert [f"{p.pid} {p.name()}" for p in left] == []
    assert len(gone) > 15
    DataDirLock(desk.data_dir).check_free()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{desk.url}/health", timeout=5)
    assert asyncio.run(leases(desk)) == 0


def submit(desk: Desk, kind: str, params: dict[str, Any]) -> str:
    answer = httpx.post(f"{desk.url}/api/v1/tasks", json={"type": kind, "params": params}, timeout=60)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def task(desk: Desk, task_id: str) -> dict[str, Any]:
    return dict(httpx.get(f"{desk.url}/api/v1/tasks/{task_id}", timeout=60).raise_for_status().json())


def ended(desk: Desk, task_id: str) -> dict[str, Any]:
    wait_for(lambda: task(desk, task_id)["status"] == "completed", task_id)
    return task(desk, task_id)


def wait_for(condition: Any, what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


async def leases(desk: Desk) -> int:
    """How many leases the database of the stopped SeedCore still holds."""
    server = embedded_postgres(load_settings(data_dir=desk.data_dir))
    connection = await asyncpg.connect(await asyncio.to_thread(server.acquire))
    try:
        return int(await connection.fetchval("select count(*) from seedcore.leases"))
    finally:
        await connection.close()
        server.release()
