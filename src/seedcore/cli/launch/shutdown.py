"""The end of a SeedCore: gracefully, then by force, and only then the embedded servers."""

import signal
import threading
import time
from collections.abc import Callable, Sequence

import psutil

from seedcore.cli.launch.child_processes import Child, descendants, kill_all, reap_orphans
from seedcore.settings import Settings
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.embedded.lock_files import ServerFiles

# Together below 15 s, the embedded servers' own shutdown included.
GRACE_S = 8.0
LAST_GRACE_S = 1.5
SERVERS_S = 4.0
POLL_S = 0.05


def stop_everything(settings: Settings, children: Sequence[Child], hurry: threading.Event) -> list[str]:
    """End all that was started; what could not be ended, as text.

    An embedded server that other processes hold a lease of goes on; its supervisor ends it after the last.
    """
    known = {child.pid for child in children}
    for child in children:
        # `serve run` takes a SIGINT as the order to drain its replicas; a bootstrap just ends.
        child.send(signal.SIGINT if child.name == "serve" else signal.SIGTERM)
    _wait(lambda: all(child.poll() is not None for child in children), GRACE_S, hurry)
    for child in children:
        child.send(signal.SIGTERM)
    _wait(lambda: not ours(settings), LAST_GRACE_S, hurry, known)
    kill_all(ours(settings))
    for child in children:
        child.process.wait()
    _wait(lambda: not ours(settings), LAST_GRACE_S, None, known)
    embedded_postgres(settings).release()
    _wait(lambda: not descendants(), SERVERS_S, None, known)
    reap_orphans(known)
    return [f"{process.pid} {process.name()}" for process in ours(settings)]


def stop_children(settings: Settings, children: Sequence[Child]) -> None:
    """End a start that failed, at once and by force: there is nothing in it yet. The embedded servers go on."""
    known = {child.pid for child in children}
    kill_all(ours(settings))
    for child in children:
        child.process.wait()
    _wait(lambda: not ours(settings), LAST_GRACE_S, None, known)


def ours(settings: Settings) -> list[psutil.Process]:
    """Every descendant but the embedded servers and their supervisors, who have an order of their own to end."""
    servers: set[int] = set()
    for kind in ("postgres", "bolt"):
        state = ServerFiles(settings.data_dir, kind).read_state()
        if state is not None:
            servers |= {state["supervisor_pid"], state.get("pid", state["supervisor_pid"])}
    return [process for process in descendants() if not servers & _line(process)]


def _line(process: psutil.Process) -> set[int]:
    """The process and those above it."""
    try:
        return {process.pid, *(parent.pid for parent in process.parents())}
    except psutil.NoSuchProcess:
        return {process.pid}


def _wait(
    done: Callable[[], bool], timeout_s: float, hurry: threading.Event | None, known: set[int] | None = None
) -> None:
    deadline = time.monotonic() + timeout_s
    while not done() and time.monotonic() < deadline and not (hurry is not None and hurry.is_set()):
        if known is not None:
            reap_orphans(known)
        time.sleep(POLL_S)
