"""`python -m benchmarks.packaging`: the compose set-up without containers, on this machine, as root.

`docker/start-ray-with-serve.sh` is the head, on the ports of the documents. Two workers join it at 6380 with the very
command of `ray-worker-remote` in docker/ray-workers.yml, each from a network namespace of its own; bootstrap and API
run in a third one, as clients at `ray://…:10001`. Tasks flow, a worker's network is cut, tasks flow on, the network
comes back. Workers that end are started again, as Compose's restart policy would. Exit status 0: every task of every
round completed, and every node has a host in the end.
"""

import argparse
import contextlib
import json
import os
import re
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
import psutil
import psycopg
import yaml

from seedcore.stores.embedded import postgres_programs

ROOT = Path(__file__).parents[1]
NET = "10.77.0"
HEAD_IP = f"{NET}.1"
CLIENT, WORKERS = "scclient", ["scworker1", "scworker2"]
ADDRESSES = {CLIENT: f"{NET}.20", WORKERS[0]: f"{NET}.11", WORKERS[1]: f"{NET}.12"}
PORTS = (6380, 10001, 8265, 8000, 8080, 8404, 9101)
ORGANS = "organs:\n  utility: {agents: 12, hosts: 3, num_cpus: 0.01}\n  ml: {agents: 2}\n"
APPLICATIONS = ("", "/ml", "/cognitive", "/pipeline", "/state", "/energy", "/organism")
DEADLINE_S = 300.0
OBJECT_STORE = "200000000"


def main() -> int:
    """Run it and print what happened."""
    # Started in the background, a shell has this ignored, and then nothing would be taken down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packaging", description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000, help="tasks of each of the three rounds")
    count = parser.parse_args().tasks
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    if taken := [port for port in PORTS if _listens("127.0.0.1", port)]:
        parser.error(f"somebody listens on {taken}")
    with contextlib.ExitStack() as stack:
        return Run(stack, count).run()


class Run:
    """One run; everything that it starts ends with `stack`."""

    def __init__(self, stack: contextlib.ExitStack, count: int) -> None:
        self._stack, self._count = stack, count
        # Short: Ray's sockets are below it.
        self._folder = Path(tempfile.mkdtemp(prefix="scp", dir="/tmp"))
        self._folder.chmod(0o755)
        stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        stack.callback(_end_all_of, str(self._folder))
        self._key, self._token = secrets.token_hex(16), secrets.token_hex(16)
        self._began = time.monotonic()
        self._procs: dict[str, subprocess.Popen[bytes]] = {}
        self._environment: dict[str, str] = {}
        self._api = httpx.Client(
            base_url=f"http://{ADDRESSES[CLIENT]}:8002", headers={"Authorization": f"Bearer {self._key}"}, timeout=60
        )

    def run(self) -> int:
        """The whole story."""
        self._stack.enter_context(_network())
        dsn = self._stack.enter_context(_postgres(self._folder / "pg"))
        (self._folder / "organs.yaml").write_text(ORGANS)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SEEDCORE_"))}
        # What docker/.env and docker-compose.yml give every container.
        self._environment = kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "RAY_HOST": HEAD_IP,
            "RAY_PORT": "10001",
            "RAY_SERVE_URL": f"http://{HEAD_IP}:8000",
            "RAY_DASHBOARD_URL": f"http://{HEAD_IP}:8265",
            "RAY_NAMESPACE": "seedcore-dev",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "SEEDCORE_API_KEYS": self._key,
            "SEEDCORE_PG_DSN": dsn,
            "SEEDCORE_DATA_DIR": str(self._folder / "data"),
            "SEEDCORE_ORGANS_PATH": str(self._folder / "organs.yaml"),
            "SEEDCORE_LEASE_S": "5",
        }
        head = {"RAY_NODE_IP": HEAD_IP, "RAY_HEAD_CPUS": "2", "RAY_TMPDIR": str(self._folder / "r")}
        # Its Unix sockets and files: defaults that another Serve on this machine may have.
        place = {
            "CONFIG_FILE_LOC": "haproxy.cfg",
            "SOCKET_PATH": "a",
            "SERVER_STATE_BASE": "",
            "SERVER_STATE_FILE": "s",
        }
        head |= {f"RAY_SERVE_HAPROXY_{name}": str(self._folder / "h" / file) for name, file in place.items()}
        head["RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"] = str(self._folder / "h" / "m")
        (self._folder / "h").mkdir()
        self._start(
            "head",
            None,
            [str(ROOT / "docker/start-ray-with-serve.sh")],
            head | {"RAY_OBJECT_STORE_MEMORY": OBJECT_STORE},
        )
        self._until(
            "the head listens on 6380 and 10001", lambda: all(_listens(HEAD_IP, port) for port in (6380, 10001))
        )
        for name in WORKERS:
            self._start_worker(name)
        self._until("three nodes", lambda: self._nodes() == 3)
        client = {
            "SEEDCORE_ROLE": "client",
            "RAY_ADDRESS": f"ray://{HEAD_IP}:10001",
            "SEEDCORE_BOOTSTRAP_TIMEOUT_S": "240",
        }
        client |= {"SEEDCORE_RAY_CONNECT_TIMEOUT_S": "60"}
        bootstrap = self._start(
            "bootstrap", CLIENT, [str(ROOT / "docker/bootstrap.sh")], client | {"EXIT_AFTER_BOOTSTRAP": "true"}
        )
        self._start("api", CLIENT, [sys.executable, "-m", "seedcore.api"], client | {"SEEDCORE_HTTP_HOST": "0.0.0.0"})
        self._until("the bootstrap's canary came through", lambda: self._ended(bootstrap), 300)
        self._until("all seven applications are healthy behind HAProxy", self._healthy)
        self._until("the API, a client, is ready", lambda: self._answers(f"http://{ADDRESSES[CLIENT]}:8002/readyz"))
        self._connect_by_client(client)

        size = self._size(dsn)
        before = self._round("before the cut")
        self._cut(WORKERS[0], "down")
        cut = self._round("one worker cut off")
        self._until("Ray knows that the node is lost", lambda: self._nodes() == 2)
        self._cut(WORKERS[0], "up")
        self._until("three nodes again", lambda: self._nodes() == 3)
        self._until("a host on every node again", lambda: len(self._host_nodes()) == 3)
        after = self._round("after it came back")
        self._say(f"{(self._size(dsn) - size) / 3 / self._count:,.0f} bytes of tables and indexes a finished task")
        wrong = [
            name
            for name, told in (("before", before), ("cut", cut), ("after", after))
            if told != {"completed": self._count}
        ]
        self._say(f"hosts on {len(self._host_nodes())} nodes; rounds that were not whole: {wrong or 'none'}")
        return 1 if wrong else 0

    def _round(self, name: str) -> dict[str, int]:
        """Submit tasks, wait for all, count how they ended."""
        began = time.monotonic()
        tasks = [{"type": "text.keywords", "params": {"text": f"packaging {name} {n}"}} for n in range(self._count)]
        answer = self._api.post("/api/v1/tasks/batch", json={"tasks": tasks})
        answer.raise_for_status()
        ids = set(answer.json()["ids"])
        ends: Counter[str] = Counter()
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            ends = Counter(task["status"] for task in self._tasks(ids))
            if sum(ends[status] for status in ("completed", "failed", "cancelled")) == len(ids):
                break
            self._keep_workers()
            time.sleep(0.5)
        seconds = time.monotonic() - began
        self._say(f"{name}: {dict(ends)} of {len(ids)} in {seconds:.1f} s")
        return dict(ends)

    def _size(self, dsn: str) -> int:
        with psycopg.connect(dsn) as connection:
            row = connection.execute(
                "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c "
                "where c.relnamespace = 'seedcore'::regnamespace and c.relkind = 'r'"
            ).fetchone()
        return int(row[0]) if row else 0

    def _tasks(self, ids: set[str]) -> Iterator[dict[str, Any]]:
        cursor, left = None, set(ids)
        while left:
            page = self._api.get("/api/v1/tasks", params={"limit": 500} | ({"cursor": cursor} if cursor else {})).json()
            for task in page["items"]:
                if task["id"] in left:
                    left.discard(task["id"])
                    yield task
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _connect_by_client(self, client: dict[str, str]) -> None:
        """The documents' own check, from where a client pod would be."""
        code = "import ray; from seedcore.utils.ray_config import init_ray_with_smart_defaults as go; assert go(); "
        code += "print('Connected!', len(ray.nodes()))"
        command = ["ip", "netns", "exec", CLIENT, sys.executable, "-c", code]
        done = subprocess.run(
            command, env=self._environment | client, capture_output=True, text=True, timeout=120, check=False
        )
        self._say(f"a client at ray://{HEAD_IP}:10001: {done.stdout.strip().splitlines()[-1:] or done.stderr[-300:]}")
        if done.returncode:
            raise SystemExit(1)

    def _start_worker(self, name: str) -> None:
        """The command of `ray-worker-remote`, with the variables that sc-cmd.sh sets."""
        service = yaml.safe_load((ROOT / "docker/ray-workers.yml").read_text())["services"]["ray-worker-remote"]
        given = {"HEAD_IP": HEAD_IP, "WORKER_IP": ADDRESSES[name], "RAY_OBJECT_STORE_MEMORY": OBJECT_STORE}
        text = [
            re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda m: given.get(m[1], m[2] or ""), part)
            for part in service["command"]
        ]
        said = {k: re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", v) for k, v in service["environment"].items()}
        own = {k: v for k, v in said.items() if not k.startswith("RAY_AUTH")}
        self._start(name, name, text, own)

    def _keep_workers(self) -> None:
        """What `restart: unless-stopped` does."""
        for name in WORKERS:
            if name in self._procs and self._procs[name].poll() is not None:
                self._say(f"{name} has ended with {self._procs[name].returncode}, and is started again")
                self._start_worker(name)

    def _start(
        self, name: str, namespace: str | None, command: list[str], more: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        environment = self._environment | more
        if namespace != CLIENT:
            # Head and workers have no address of a client.
            environment.pop("RAY_ADDRESS", None)
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*inside, *command],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._procs[name] = process
        self._stack.callback(_end, process)
        return process

    def _nodes(self) -> int:
        headers = {"Authorization": f"Bearer {self._token}"}
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            answer = httpx.get(f"http://{HEAD_IP}:8265/nodes?view=summary", headers=headers, timeout=5).json()
            return sum(node["raylet"]["state"] == "ALIVE" for node in answer["data"]["summary"])
        return 0

    def _host_nodes(self) -> set[str]:
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            status = httpx.get(f"http://{HEAD_IP}:8000/organism/status", headers=self._api.headers, timeout=10).json()
            hosts = [host for organ in status["organs"].values() for host in organ["hosts"]]
            return {str(host["node"]) for host in hosts if host.get("alive", True) and host.get("node")}
        return set()

    def _healthy(self) -> bool:
        return all(self._answers(f"http://{HEAD_IP}:8000{prefix}/health") for prefix in APPLICATIONS)

    def _answers(self, url: str) -> bool:
        try:
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _ended(self, process: "subprocess.Popen[bytes]") -> bool:
        status = process.poll()
        if status:
            raise SystemExit(
                f"the bootstrap ended with {status}:\n{(self._folder / 'bootstrap.log').read_text()[-2000:]}"
            )
        return status == 0

    def _cut(self, name: str, state: str) -> None:
        _ip("link", "set", f"{name[-8:]}h", state)
        self._say(f"the network of {name} is {state}")

    def _until(self, what: str, holds: Callable[[], bool], seconds: float = DEADLINE_S) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            self._keep_workers()
            head = self._procs.get("head")
            if time.monotonic() > deadline or (head is not None and head.poll() is not None):
                logs = {name: (self._folder / f"{name}.log").read_text()[-1500:] for name in self._procs}
                raise SystemExit(f"not in time: {what}\n{json.dumps(logs, indent=1)}")
            time.sleep(0.5)
        self._say(what)

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """A bridge that is the head's network, and a namespace on it for every other host."""
    try:
        _ip("link", "add", "scbr", "type", "bridge")
        _ip("addr", "add", f"{HEAD_IP}/24", "dev", "scbr")
        _ip("link", "set", "scbr", "up")
        for name, address in ADDRESSES.items():
            outside, inside = f"{name[-8:]}h", f"{name[-8:]}n"
            _ip("netns", "add", name)
            _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            _ip("link", "set", inside, "netns", name)
            _ip("link", "set", outside, "master", "scbr")
            _ip("link", "set", outside, "up")
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", inside)
            _ip("-n", name, "link", "set", inside, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in ADDRESSES:
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
            for pid in found.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", "scbr"], capture_output=True, check=False)


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL that every host reaches, as the container of docker-compose.yml is; its DSN."""
    folder.mkdir(mode=0o755)
    shutil.chown(folder, "nobody")
    password = secrets.token_hex(8)
    (folder / "password").write_text(password)
    programs = postgres_programs()
    run: dict[str, Any] = {"user": "nobody", "cwd": folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}}
    initdb = [programs / "initdb", "-D", folder / "data", "-U", "postgres", "--pwfile", folder / "password"]
    subprocess.run([*initdb, "-A", "scram-sha-256", "--no-sync"], check=True, capture_output=True, **run)
    with (folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NET}.0/24 scram-sha-256\n")
    options = [
        f"-clisten_addresses={HEAD_IP}",
        "-cport=15432",
        f"-cunix_socket_directories={folder}",
        "-cmax_connections=200",
    ]
    server = subprocess.Popen(
        [programs / "postgres", "-D", folder / "data", *options], stderr=subprocess.DEVNULL, **run
    )
    try:
        deadline = time.monotonic() + 60
        while not _listens(HEAD_IP, 15432):
            if time.monotonic() > deadline:
                raise SystemExit("PostgreSQL did not start")
            time.sleep(0.1)
        yield f"postgresql://postgres:{password}@{HEAD_IP}:15432/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to stop, then end what is left of it and its children."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = [*psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        for left in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
    process.kill()
    process.wait(10)


def _end_all_of(folder: str) -> None:
    """What somebody who was killed left behind, such as HAProxy by its manager; a container would end with all."""
    for process in psutil.process_iter(["cmdline"]):
        if any(folder in part for part in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


if __name__ == "__main__":
    sys.exit(main())
