"""`python -m benchmarks.containers`: docker/ in containers, with an engine of its own, on this machine, as root.

It starts Debian's `dockerd` in a folder of its own, makes the base images with debootstrap, builds SeedCore's image as
docker/Dockerfile says, and does what setup.md says: `sc-cmd.sh up 1`, tasks, more tasks while a worker, PostgreSQL and
the head are killed, `scale`, `restart`, `down`. Exit status 0: every task of every round ended once, completed; `up`
said what is up; nothing is left behind but the volumes with names. 77: skipped, with the reason.
"""

import argparse
import contextlib
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

import seedcore
from benchmarks import base_images

ROOT = Path(__file__).parents[1]
# Debian's programs first: another client may be too new for Debian's engine.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", "")
BIND = "127.0.0.77"
PORTS = (6380, 8000, 8002, 8080, 8265, 9090, 3000, 10001)
IMAGE = f"seedcore:{seedcore.__version__}"
CONTEXT = ("docker", "src", "entrypoints", "bootstraps", "serve_config")
FILES = ("pyproject.toml", "constraints.txt", "README.md", ".dockerignore")
ENDED = ("completed", "failed", "cancelled")
ENDED_TWICE = f"""
select count(*) from (
  select unnest(coalesce(task_ids, array[task_id])) from seedcore.events
  where event in {ENDED} group by 1 having count(*) > 1
) as twice"""
PROGRAMS = (
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("debootstrap", "debootstrap"),
    ("iptables-restore", "iptables"),
)
SKIPPED = 77
DEADLINE_S = 900.0
ROOM = 12 << 30


def main() -> int:
    """Run it and print what happened."""
    # Started in the background, a shell has this ignored, and then nothing would be taken down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.containers", description=__doc__)
    parser.add_argument("--tasks", type=int, default=3000, help="tasks of each round")
    parser.add_argument("--folder", type=Path, help="keep the engine's images here for the next run")
    arguments = parser.parse_args()
    folder: Path = (arguments.folder or Path(tempfile.mkdtemp(prefix="sccontainers", dir="/var/tmp"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(folder)
    if reason := missing(folder, environment):
        print(f"skipped: {reason}")
        return SKIPPED
    with contextlib.ExitStack() as stack:
        if arguments.folder is None:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return Run(stack, folder, environment, arguments.tasks).run()


def missing(folder: Path, environment: dict[str, str]) -> str | None:
    """Why it cannot run here."""
    if os.geteuid() != 0:
        return "an engine and debootstrap need root"
    for program, package in PROGRAMS:
        if shutil.which(program, path=environment["PATH"]) is None:
            return f"{program} is missing: install Debian's {package}"
    asked = subprocess.run(["docker", "compose", "version"], env=environment, capture_output=True, check=False)
    if asked.returncode:
        return "`docker compose` is missing: put its plugin into cli-plugins below ~/.docker or DOCKER_CONFIG"
    if taken := [port for port in PORTS if _listens(port)]:
        return f"another program listens on {taken}"
    if shutil.disk_usage(folder).free < ROOM:
        return f"{folder} has no room for images: {ROOM >> 30} GB; name another one with --folder"
    return None


class Run:
    """One run; everything that it starts ends with `stack`."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, environment: dict[str, str], count: int) -> None:
        self._stack, self._folder, self._environment, self._count = stack, folder, environment, count
        self._source = folder / "source"
        # Keys of this run alone: with --folder the database is that of the run before.
        self._run = secrets.token_hex(4)
        self._began = time.monotonic()
        self._wrong: list[str] = []
        self._earlier: set[str] = set()
        self._api = httpx.Client(base_url=f"http://{BIND}:8002", timeout=60)

    def run(self) -> int:
        """The whole story."""
        self._stack.enter_context(_engine(self._folder, self._environment))
        self._say("the engine is up")
        self._earlier = self._unnamed()
        self._images()
        # Whatever happens, no container outlives the run.
        self._stack.callback(self._sc, "down")
        up = self._sc("up", "1")
        self._check("up ends with 0 and says what is up", up.returncode == 0 and "sc-cmd: up: " in _last(up.stdout))
        self._say(_last(up.stdout))
        (key,) = re.findall(r"^SEEDCORE_API_KEYS=(.+)$", self._env(), re.MULTILINE)
        self._api.headers["Authorization"] = f"Bearer {key}"
        self._check("Ray's objects are in shared memory", "instead of /dev/shm" not in self._docker_logs("ray-head"))
        self._check("one volume without a name a container", len(self._unnamed()) == self._expected_unnamed())
        self._round("all well")
        for service in ("ray-worker", "postgresql", "ray-head"):
            self._until(f"{service} is healthy", lambda service=service: self._healthy(service))
            before = self._started(service)
            self._round(f"{service} killed", lambda service=service: self._kill(service))
            self._until(f"{service} was started again", lambda s=service, b=before: self._started(s) != b)
            self._until(f"{service} is healthy again", lambda service=service: self._healthy(service))
        self._scale()
        restarted = self._sc("restart")
        self._check("restart ends with 0", restarted.returncode == 0)
        self._round("after the restart")
        self._check("down ends with 0", self._sc("down").returncode == 0)
        self._check("down leaves no container", not self._docker("ps", "-aq").split())
        self._check("down leaves no volume without a name", not self._unnamed())
        self._say(f"not as it should be: {self._wrong or 'nothing'}")
        return 1 if self._wrong else 0

    def _images(self) -> None:
        if self._source.exists():
            shutil.rmtree(self._source)
        for name in CONTEXT:
            shutil.copytree(ROOT / name, self._source / name, ignore=shutil.ignore_patterns(".env", "__pycache__"))
        for name in FILES:
            shutil.copy(ROOT / name, self._source / name)
        base_images.make(self._folder / "bases", self._environment, self._build)
        self._say("base images are there")
        self._build(IMAGE, self._source, "-f", str(self._source / "docker/Dockerfile"))
        size = int(self._docker("image", "inspect", "-f", "{{.Size}}", IMAGE))
        self._say(f"{IMAGE} is built from docker/Dockerfile: {size / 1e9:.2f} GB")

    def _build(self, image: str, context: Path, *options: str) -> None:
        # The host's network: a build reaches the caller's package index as the caller does.
        command = ["docker", "build", "--network=host", "-t", image, *options, str(context)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{image} was not built:\n{(done.stdout + done.stderr)[-3000:]}")

    def _sc(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """docker/sc-cmd.sh of the copy, so that docker/.env is made there."""
        began = time.monotonic()
        command = [str(self._source / "docker/sc-cmd.sh"), *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        self._say(f"sc-cmd.sh {' '.join(arguments)}: status {done.returncode}, {time.monotonic() - began:.0f} s")
        if done.returncode:
            print(done.stdout[-1500:], done.stderr[-3000:], sep="\n")
        return done

    def _env(self) -> str:
        return (self._source / "docker/.env").read_text()

    def _round(self, name: str, harm: Callable[[], None] | None = None) -> None:
        """Submit half of the tasks, do harm, submit the others, wait for all: each completed, and answered once."""
        tasks = [
            {"type": "text.keywords", "params": {"text": f"{name} {n}"}, "idempotency_key": f"{self._run} {name} {n}"}
            for n in range(self._count)
        ]
        began = time.monotonic()
        ids = self._submit(tasks[: self._count // 2])
        if harm is not None:
            harm()
        ids += self._submit(tasks[self._count // 2 :])
        ends: Counter[str] = Counter()
        while time.monotonic() - began < DEADLINE_S:
            with contextlib.suppress(httpx.HTTPError):
                ends = Counter(task["status"] for task in self._tasks(set(ids)))
            if sum(ends[status] for status in ENDED) == len(ids):
                break
            time.sleep(0.5)
        self._say(f"{name}: {dict(ends)} of {len(ids)} in {time.monotonic() - began:.1f} s")
        self._check(f"{name}: every task completed", ends == {"completed": len(ids)})
        self._check(f"{name}: no task answered twice", self._answered_again() == 0)

    def _submit(self, tasks: list[dict[str, Any]]) -> list[str]:
        """As a client does that keeps its keys: again, until there is an answer."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                answer = self._api.post("/api/v1/tasks/batch", json={"tasks": tasks})
                answer.raise_for_status()
                return list(answer.json()["ids"])
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _tasks(self, ids: set[str]) -> Iterator[dict[str, Any]]:
        cursor = None
        while ids:
            page = self._api.get("/api/v1/tasks", params={"limit": 500} | ({"cursor": cursor} if cursor else {}))
            page.raise_for_status()
            for task in page.json()["items"]:
                if task["id"] in ids:
                    ids.discard(task["id"])
                    yield task
            cursor = page.json()["next_cursor"]
            if cursor is None:
                return

    def _answered_again(self) -> int:
        """Tasks that ended more than once, by the database's own record."""
        (password,) = re.findall(r"^POSTGRES_PASSWORD=(.+)$", self._env(), re.MULTILINE)
        ask = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-d", "seedcore", "-At", "-c", ENDED_TWICE]
        return int(self._docker("exec", "-e", f"PGPASSWORD={password}", self._container("postgresql"), *ask))

    def _kill(self, service: str) -> None:
        """The process itself dies: what the engine's own `kill` ends is not started again."""
        pid = int(self._docker("inspect", "-f", "{{.State.Pid}}", self._container(service)))
        # 0 while it is being started again; a signal to 0 would be for this process and its group.
        if pid > 1:
            os.kill(pid, signal.SIGKILL)
        self._say(f"killed {service}" if pid > 1 else f"{service} has no process")

    def _scale(self) -> None:
        """Two workers and one again: the second takes its volume with it."""
        before = self._unnamed()
        self._check("scale 2 ends with 0", self._sc("scale", "2").returncode == 0)
        self._check("a second worker has a volume of its own", len(self._unnamed()) == len(before) + 1)
        self._check("scale 1 ends with 0", self._sc("scale", "1").returncode == 0)
        self._check("scaling down leaves no volume behind", self._unnamed() == before)

    def _started(self, service: str) -> str:
        return self._docker("inspect", "-f", "{{.State.StartedAt}}", self._container(service))

    def _container(self, service: str) -> str:
        return self._docker("ps", "-aq", "--filter", f"label=com.docker.compose.service={service}").split()[0]

    def _healthy(self, service: str) -> bool:
        wanted = ["ps", "-q", "--filter", f"label=com.docker.compose.service={service}", "--filter", "health=healthy"]
        return bool(self._docker(*wanted).split())

    def _unnamed(self) -> set[str]:
        """Of this run: --folder may hold some of an earlier one."""
        names = self._docker("volume", "ls", "-q").split()
        return {name for name in names if re.fullmatch("[0-9a-f]{64}", name)} - self._earlier

    def _expected_unnamed(self) -> int:
        """One of /tmp for head and worker, that and one of /app/data for API and bootstrap."""
        return 2 + 2 * 2

    def _docker(self, *arguments: str) -> str:
        done = subprocess.run(
            ["docker", *arguments], env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise SystemExit(f"docker {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def _docker_logs(self, service: str) -> str:
        command = ["docker", "logs", self._container(service)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout + done.stderr

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            if time.monotonic() > deadline:
                self._check(what, False)
                return
            time.sleep(0.5)
        self._say(what)

    def _check(self, what: str, holds: bool) -> None:
        if not holds:
            self._wrong.append(what)
            self._say(f"NOT: {what}")

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)


def _environment(folder: Path) -> dict[str, str]:
    """Of every command: this run's engine, and an address that nothing else here uses."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SEEDCORE_", "DOCKER_"))}
    if config := os.environ.get("DOCKER_CONFIG"):
        kept["DOCKER_CONFIG"] = config
    # A process that may not raise its limit cannot give a container more.
    files = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    own = {"DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_BUILDKIT": "1", "PATH": PATH}
    return kept | own | {"SEEDCORE_BIND": BIND, "RAY_NOFILE": str(files)}


@contextlib.contextmanager
def _engine(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Debian's engine with all that it keeps below `folder`; it leaves the machine's network as it found it."""
    for table in ("filter", "nat"):
        # What was never looked at is not saved.
        subprocess.run(["iptables", "-t", table, "-S"], env=environment, capture_output=True, check=True)
    rules = subprocess.run(["iptables-save"], env=environment, capture_output=True, check=True).stdout
    bridge = Path("/sys/class/net/docker0").exists()
    command = ["dockerd", "-H", environment["DOCKER_HOST"], "--pidfile", f"{folder}/pid"]
    command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    with (folder / "dockerd.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while subprocess.run(["docker", "info"], env=environment, capture_output=True, check=False).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the engine did not start:\n{(folder / 'dockerd.log').read_text()[-3000:]}")
            time.sleep(0.5)
        yield
    finally:
        server.terminate()
        server.wait(120)
        # An engine does not take back its rules, which forward nothing but its own packets, and its bridge.
        subprocess.run(["iptables-restore"], env=environment, input=rules, check=True)
        if not bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], env=environment, capture_output=True, check=False)


def _last(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((BIND, port)) == 0


if __name__ == "__main__":
    sys.exit(main())
