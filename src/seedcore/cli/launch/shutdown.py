"""Stops a SeedCore: gracefully, then by force, and the embedded servers last."""

import signal
import threading
import time
from collections.abc import Callable, Sequence

import psutil

from seedcore.cli.launch.child_processes import ChildProcess, descendants, kill_all, reap_orphans
from seedcore.settings import Settings
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.embedded.lock_files import ServerFiles

# Together below 15 s, the embedded servers' own shutdown included.
GRACE_S = 8.0
LAST_GRACE_S = 1.5
SERVERS_S = 4.0
POLL_S = 0.05


def stop_everything(settings: Settings, children: Sequence[ChildProcess], force: threading.Event) -> list[str]:
    """End every process that was started; returns those that could not be ended.

    An embedded server that other processes hold a lease of stays; its supervisor ends it after the last lease.
    """
    known = {child.pid for child in children}
    for child in children:
        # `serve run` drains its replicas on SIGINT; a bootstrap just ends.
        child.send(signal.SIGINT if child.name == "serve" else signal.SIGTERM)
    _wait(lambda: all(child.poll() is not None for child in children), GRACE_S, force)
    for child in children:
        child.send(signal.SIGTERM)
    _wait(lambda: not own_processes(settings), LAST_GRACE_S, force, known)
    kill_all(own_processes(settings))
    for child in children:
        child.process.wait()
    _wait(lambda: not own_processes(settings), LAST_GRACE_S, None, known)
    embedded_postgres(settings).release()
    _wait(lambda: not descendants(), SERVERS_S, None, known)
    reap_orphans(known)
    return [f"{process.pid} {process.name()}" for process in own_processes(settings)]


def stop_children(settings: Settings, children: Sequence[ChildProcess]) -> None:
    """Kill the processes of a failed start, which hold no work yet. The embedded servers stay."""
    known = {child.pid for child in children}
    kill_all(own_processes(settings))
    for child in children:
        child.process.wait()
    _wait(lambda: not own_processes(settings), LAST_GRACE_S, None, known)


def own_processes(settings: Settings) -> list[psutil.Process]:
    """Every descendant except the embedded servers and their supervisors, which end in an order of their own."""
    servers: set[int] = set()
    for kind in ("postgres", "bolt"):
        state = ServerFiles(settings.data_dir, kind).read_state()
        if state is not None:
            servers |= {state["supervisor_pid"], state.get("pid", state["supervisor_pid"])}
    return [process for process in descendants() if not servers & _with_ancestors(process)]


def _with_ancestors(process: psutil.Process) -> set[int]:
    """The process ids of the process and its ancestors."""
    try:
        return {process.pid, *(parent.pid for parent in process.parents())}
    except psutil.NoSuchProcess:
        return {process.pid}


def _wait(
    done: Callable[[], bool], timeout_s: float, force: threading.Event | None, known: set[int] | None = None
) -> None:
    deadline = time.monotonic() + timeout_s
    while not done() and time.monotonic() < deadline and not (force is not None and force.is_set()):
        if known is not None:
            reap_orphans(known)
        time.sleep(POLL_S)
