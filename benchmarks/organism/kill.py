"""`python -m benchmarks.organism.kill`: how long an organ does no work after its host was killed or stopped.

A whole SeedCore of its own. Echo tasks are submitted one by one through HTTP, each waited for. Then the process
of the host that runs them gets SIGKILL (or SIGSTOP); the time counts until the first task that was submitted after it
has completed. With `--hosts 1`, the shipped number, the process itself must come back; with more its agents move.
"""

import argparse
import json
import signal
import statistics
import sys
import time
from dataclasses import asdict, dataclass

import httpx
import psutil

from benchmarks.system import System

GIVE_UP_S = 90.0


@dataclass(slots=True)
class Result:
    """Seconds until work went on, one for each strike."""

    hosts: int
    signal: str
    seconds: list[float]
    whole_s: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.organism.kill", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = run(options.hosts, options.kills, options.stops)
    for result in results:
        if options.json:
            print(json.dumps(asdict(result)))
        else:
            times = ", ".join(f"{s:.2f}" for s in result.seconds)
            print(f"{result.hosts} hosts, {result.signal}: median {result.median:.2f} s ({times})", end="; ")
            print(f"all hosts alive after {max(result.whole_s):.1f} s at most")
    return 0 if all(max(r.seconds) <= 5 for r in results if r.signal == "SIGKILL") else 1


def run(hosts: list[int], kills: int, stops: int) -> list[Result]:
    """Strike the organ `utility` with each number of hosts."""
    results = []
    with System() as system:
        for count in hosts:
            spec = system.get("/organism/organs/utility")["spec"]
            # Only an organ that reserves something has hosts of its own; others' agents may live in workers.
            spec |= {"hosts": {"min": count, "max": count}, "num_cpus": 0.01}
            httpx.put(f"{system.url}/organism/organs/utility", json=spec, timeout=30).raise_for_status()
            for name, times in (("SIGKILL", kills), ("SIGSTOP", stops)):
                struck = [_strike(system, count, signal.Signals[name]) for _ in range(times)]
                if struck:
                    results.append(Result(count, name, [s for s, _ in struck], [w for _, w in struck]))
    return results


def _strike(system: System, hosts: int, how: signal.Signals) -> tuple[float, float]:
    _until_whole(system, hosts)
    for _ in range(10):
        _echo(system)
    victim = _host_of_utility(system)
    began = time.monotonic()
    victim.send_signal(how)
    while not _echo(system):
        if time.monotonic() - began > GIVE_UP_S:
            raise RuntimeError(f"no work within {GIVE_UP_S:g} s")
    seconds = time.monotonic() - began
    while victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() - began > GIVE_UP_S:
            raise RuntimeError(f"the stopped host was not ended within {GIVE_UP_S:g} s")
        time.sleep(0.1)
    _until_whole(system, hosts)
    return round(seconds, 2), round(time.monotonic() - began, 2)


def _echo(system: System) -> bool:
    """Whether a task submitted now completes."""
    try:
        body = {"type": "echo", "params": {"value": 1}, "wait_s": 30}
        answer = httpx.post(f"{system.url}/pipeline/route-and-execute", json=body, timeout=40)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and answer.json()["status"] == "completed"


def _host_of_utility(system: System) -> psutil.Process:
    """The process of a living host of `utility`: hosts of other organs run none of our tasks."""
    before = {p.pid: sum(p.cpu_times()[:2]) for p in system.find("ray::AgentHost")}
    for _ in range(30):
        _echo(system)
    used = {p.pid: sum(p.cpu_times()[:2]) - before.get(p.pid, 0.0) for p in system.find("ray::AgentHost")}
    return psutil.Process(max(used, key=lambda pid: used[pid]))


def _until_whole(system: System, hosts: int) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        own = system.get("/organism/status")["organs"]["utility"]["hosts"]
        if len(own) == hosts and all(host["alive"] and not host["draining"] for host in own):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{hosts} hosts did not come up within {GIVE_UP_S:g} s")


if __name__ == "__main__":
    sys.exit(main())
