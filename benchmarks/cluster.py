"""`python -m benchmarks.cluster`: every overlay on a real API server with KubeRay's operator, on this machine.

etcd is Debian's. SEEDCORE_KUBE_BINARIES names a folder with `kube-apiserver`, `kuberay-operator` (`manager` in the
operator's image) and the operator's CRDs `ray.io_*.yaml` (ray-operator/config/crd/bases of its release). There are no
nodes and no other controllers: what is shown is what the API server admits and what the operator makes of it. Each
overlay gets a namespace that enforces PodSecurity `restricted`. Exit status 0: all of it was accepted under strict
validation and without a warning, the operator made every Ray pod, logged no error and reported no warning, and applying
again changed nothing. 77: skipped, with the reason.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/kustomize/overlays").iterdir())
FOLDER = "SEEDCORE_KUBE_BINARIES"
SECURITY = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn", "audit")]
# The operator's own races, which it tries again: another change came between, or the head's pod is a moment old.
RACES = ("the object has been modified", "found 0 head")
# kubectl sends the selector of a disruption budget each time (its patch strategy is "replace"), changed or not.
ALWAYS_SENT = "poddisruptionbudget.policy/"
SKIPPED = 77
DEADLINE_S = 180.0
PODS_S = 45.0


def main() -> int:
    """Run it and print what happened."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__).parse_args()
    if reason := missing():
        print(f"skipped: {reason}")
        return SKIPPED
    with contextlib.ExitStack() as stack:
        return Run(stack, Path(os.environ[FOLDER])).run()


def missing() -> str | None:
    """Why it cannot run here."""
    for program, where in (("etcd", "Debian's etcd-server"), ("kubectl", "kubectl"), ("openssl", "Debian's openssl")):
        if shutil.which(program) is None:
            return f"{program} is missing: install {where}"
    said = os.environ.get(FOLDER)
    if said is None:
        return f"{FOLDER} is not set: a folder with kube-apiserver, kuberay-operator and its CRDs ray.io_*.yaml"
    folder = Path(said)
    for program in ("kube-apiserver", "kuberay-operator"):
        if not os.access(folder / program, os.X_OK):
            return f"{folder / program} is missing or cannot be run ({FOLDER})"
    if not list(folder.glob("ray.io_*.yaml")):
        return f"{folder} has no ray.io_*.yaml, the operator's CRDs ({FOLDER})"
    return None


class Run:
    """One run; everything that it starts ends with `stack`."""

    def __init__(self, stack: contextlib.ExitStack, binaries: Path) -> None:
        self._stack, self._binaries = stack, binaries
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sccluster")))
        self._began = time.monotonic()
        self._wrong: list[str] = []
        self._url = ""

    def run(self) -> int:
        """The whole story."""
        self._api_server()
        for crd in sorted(self._binaries.glob("ray.io_*.yaml")):
            # Too large for the annotation that a plain apply makes.
            self._kubectl("apply", "--server-side", "-f", str(crd))
        self._kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
        self._operator()
        for overlay in OVERLAYS:
            self._apply(overlay)
        for overlay in OVERLAYS:
            made = _in_time(lambda name=overlay: self._pods(name), PODS_S)
            # Why not is among the operator's errors and the events.
            self._check(f"{overlay}: the operator makes every Ray pod", [] if made else [f"not within {PODS_S:.0f} s"])
        self._say("the operator has made the Ray pods")
        for overlay in OVERLAYS:
            again = self._kubectl("apply", "--validate=strict", "-k", _path(overlay), namespace=overlay)
            lines = [line for line in again.stdout.splitlines() if not line.startswith(ALWAYS_SENT)]
            changed = [line for line in lines if not line.endswith(" unchanged")]
            self._check(f"{overlay}: applying again changes nothing", changed)
        errors = [line for line in self._log("operator") if line.get("level") in ("error", "fatal", "panic", "dpanic")]
        lasting = [error for error in errors if not any(race in error.get("error", "") for race in RACES)]
        self._say(f"errors in the operator's log: {len(lasting)}, and {len(errors) - len(lasting)} races of its own")
        self._check("the operator logs no error", [json.dumps(error)[:600] for error in lasting])
        events = json.loads(self._kubectl("get", "events", "-A", "-o", "json").stdout)["items"]
        warnings = [f"{event['involvedObject']}: {event['message']}" for event in events if event["type"] == "Warning"]
        self._check("there is no warning event", warnings)
        self._say(f"not as it should be: {self._wrong or 'nothing'}")
        return 1 if self._wrong else 0

    def _api_server(self) -> None:
        client, peer, port = (_free_port() for _ in range(3))
        etcd, peers, token = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}", secrets.token_hex(16)
        where = ["--data-dir", str(self._folder / "etcd"), "--listen-client-urls", etcd, "--listen-peer-urls", peers]
        where += ["--advertise-client-urls", etcd, "--initial-advertise-peer-urls", peers]
        self._start("etcd", ["etcd", *where, "--initial-cluster", f"default={peers}"])
        key = self._folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        (self._folder / "tokens").write_text(f'{token},admin,admin,"system:masters"\n')
        options = {
            "etcd-servers": etcd,
            "secure-port": port,
            "bind-address": "127.0.0.1",
            "cert-dir": self._folder / "certificates",
            "token-auth-file": self._folder / "tokens",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.96.0.0/16",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            # On loopback there is no address that pods could reach it at, and no pod runs.
            "endpoint-reconciler-type": "none",
        }
        command = [str(self._binaries / "kube-apiserver"), *(f"--{name}={value}" for name, value in options.items())]
        self._start("api", command)
        self._url = f"https://127.0.0.1:{port}"
        user = {"name": "admin", "user": {"token": token}}
        cluster = {"name": "own", "cluster": {"server": self._url, "insecure-skip-tls-verify": True}}
        context = {"name": "own", "context": {"cluster": "own", "user": "admin"}}
        config = {"apiVersion": "v1", "kind": "Config", "users": [user], "clusters": [cluster], "contexts": [context]}
        (self._folder / "config").write_text(json.dumps(config | {"current-context": "own"}))
        self._until("the API server is ready", lambda: _answers(f"{self._url}/readyz"))

    def _operator(self) -> None:
        health, metrics = _free_port(), _free_port()
        addresses = [f"--health-probe-bind-address=127.0.0.1:{health}", f"--metrics-addr=127.0.0.1:{metrics}"]
        program = str(self._binaries / "kuberay-operator")
        self._start("operator", [program, *addresses, "--enable-leader-election=false", "--log-stdout-encoder=json"])
        self._until("the operator is ready", lambda: _answers(f"http://127.0.0.1:{health}/readyz"))

    def _apply(self, overlay: str) -> None:
        self._kubectl("create", "namespace", overlay)
        self._kubectl("label", "namespace", overlay, *SECURITY)
        # A controller that does not run here makes it for every namespace.
        self._kubectl("create", "serviceaccount", "default", namespace=overlay)
        if overlay == "prod":
            self._command([str(ROOT / "deploy/make-secrets.sh"), overlay])
        done = self._kubectl("apply", "--validate=strict", "-k", _path(overlay), namespace=overlay)
        self._check(f"{overlay}: accepted without a warning", [line for line in done.stderr.splitlines() if line])
        self._say(f"{overlay}: {len(done.stdout.splitlines())} documents accepted")

    def _pods(self, overlay: str) -> bool:
        """Each Ray cluster has its head and as many workers as it asks for."""
        clusters, pods = (self._items(kind, overlay) for kind in ("rayclusters.ray.io", "pods"))
        services = self._items("rayservices.ray.io", overlay)
        alone = [c for c in clusters if not c["metadata"].get("ownerReferences")]
        if not clusters or len(clusters) < len(services) + len(alone):
            return False
        for cluster in clusters:
            name = cluster["metadata"]["name"]
            kinds = [
                pod["metadata"]["labels"]["ray.io/node-type"]
                for pod in pods
                if pod["metadata"]["labels"].get("ray.io/cluster") == name
            ]
            workers = sum(group["replicas"] for group in cluster["spec"]["workerGroupSpecs"])
            if kinds.count("head") != 1 or kinds.count("worker") != workers:
                return False
        return True

    def _items(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self._kubectl("get", kind, "-o", "json", namespace=namespace).stdout)[
            "items"
        ]
        return items

    def _kubectl(self, *arguments: str, namespace: str | None = None) -> "subprocess.CompletedProcess[str]":
        return self._command(["kubectl", *(["-n", namespace] if namespace else []), *arguments])

    def _command(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False, timeout=DEADLINE_S
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def _environment(self) -> dict[str, str]:
        # Where kubectl keeps what it has asked the server: not in the caller's home.
        return {**os.environ, "KUBECONFIG": str(self._folder / "config"), "KUBECACHEDIR": str(self._folder / "cache")}

    def _start(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=self._environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder
            )
        self._stack.callback(_end, process)

    def _log(self, name: str) -> list[dict[str, Any]]:
        """The lines of a log in JSON."""
        lines = (self._folder / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        if not _in_time(holds, DEADLINE_S):
            logs = {path.stem: path.read_text()[-2000:] for path in self._folder.glob("*.log")}
            raise SystemExit(f"not in time: {what}\n{json.dumps(logs, indent=1)}")
        self._say(what)

    def _check(self, what: str, problems: list[str]) -> None:
        if problems:
            self._wrong.append(what)
            print(f"NOT: {what}:", *problems, sep="\n  ")

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)


def _path(overlay: str) -> str:
    return str(ROOT / "deploy/kustomize/overlays" / overlay)


def _in_time(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _answers(url: str) -> bool:
    # A certificate that the server made for itself a moment ago.
    trusting = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(url, timeout=2, context=trusting if url.startswith("https") else None) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(15)


if __name__ == "__main__":
    sys.exit(main())
