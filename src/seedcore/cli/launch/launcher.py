"""Runs SeedCore on this machine: starts every part, watches them, and stops them again."""

import errno
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from seedcore.cli.launch import environment, preflight, readiness
from seedcore.cli.launch.child_processes import ChildProcess, adopt_orphans, reap_orphans
from seedcore.cli.launch.parent_watch import ParentMake
from seedcore.cli.launch.ray_processes import RayProcesses, fatal_error, ray_of
from seedcore.cli.launch.serve_config import Application, write_config
from seedcore.cli.launch.shutdown import stop_children, stop_everything
from seedcore.cli.launch.terminal import Progress, announce, print_error, say
from seedcore.cli.skill_imports import check_skills
from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.stores.data_dir_lock import DataDirLock
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.embedded.lock_files import ServerFiles, keep_bounded
from seedcore.telemetry.logs import mask
from seedcore.utils.exposure import check_exposure
from seedcore.utils.ray_record import forget_ray_address, record_ray_address
from seedcore.utils.tls.contexts import check_certificate, trusting

TICK_S = 0.1
STEADY_TICK_S = 0.5
"""Once everything runs: a signal ends the pause at once, and each look at the processes takes processor time."""
HOUSEKEEPING_S = 2.0
REPORT_S = 3.0
LOG_CHECK_S = 3.0
PORT_WAIT_S = 15.0
MAX_ATTEMPTS = 3
"""Attempts to start Ray: not all of its time limits can be set, and a later attempt finds its files cached."""

Found = TypeVar("Found")
_ERROR = re.compile(r"[\w.]*(Error|Exception|Timeout)\b.*")


class StopRequested(Exception):  # noqa: N818 - not an error
    """Ctrl-C, SIGTERM, or the end of the `make` that started this process."""


class StartFailedError(SeedCoreError, code="start_failed", title="Start failed"):
    """A part did not start, or has ended."""


class RayFailedError(StartFailedError):
    """Ray or Serve ended before SeedCore was ready: worth another attempt."""


class Launcher:
    """One run of SeedCore, from the checks to the shutdown."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = environment.local_url(settings)
        self._lock = DataDirLock(settings.data_dir)
        self._stop = threading.Event()
        self._force = threading.Event()
        self._children: list[ChildProcess] = []
        self._make = ParentMake.find()
        self._cleaned_at = 0.0
        self._port: socket.socket | None = None
        self._deadline = 0.0

    def run(self) -> int:
        """Run until told to stop; the exit status of the process.

        Raises:
            SettingsError: a check failed; nothing was started.
        """
        self._check()
        adopt_orphans()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        status = 0
        try:
            self._start_and_stay()
        except StopRequested:
            say("Stopping SeedCore ...")
        except SeedCoreError as error:
            print_error(mask(error.detail))
            status = 1
        finally:
            left = stop_everything(self._settings, self._children, self._force)
            forget_ray_address(self._settings)
            self._lock.release()
        if left:
            print_error(f"these processes could not be ended: {', '.join(left)}")
            return 1
        if status == 0:
            environment.remove_session_root(self._settings)
        say("SeedCore has stopped.")
        return status

    def _check(self) -> None:
        """Check everything that can be checked before anything is started."""
        check_exposure(self._settings)
        check_certificate(self._settings)
        self._lock.check_free()
        ServerFiles(self._settings.data_dir, "postgres").make()
        self._port = self._claim_port(PORT_WAIT_S if self._lock.take() else 0)
        if self._settings.http_mode == "haproxy":
            # Unlike Serve's own proxy, HAProxy takes the port for itself alone, or fails.
            self._port.close()
        preflight.check_database(self._settings)
        preflight.check_llm(self._settings)
        check_skills(self._settings, os.environ | environment.import_path(os.environ), say)

    def _claim_port(self, patience_s: float) -> socket.socket:
        """Claim the port; the processes of a killed launcher may take a while to end and free it."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return preflight.claim_port(self._settings.http_host, self._settings.http_port)
            except OSError as error:
                if time.monotonic() >= deadline or error.errno != errno.EADDRINUSE:
                    raise preflight.explain_port(self._settings, error) from None
            time.sleep(TICK_S)

    def _start_and_stay(self) -> None:
        began = time.monotonic()
        self._deadline = began + self._settings.bootstrap_timeout_s
        config, applications = write_config(self._settings)
        environment.ensure_ray_token(os.environ)
        say(f"Starting SeedCore in {self._settings.data_dir} (logs in {self._settings.data_dir / 'logs'}) ...")
        serve, watch = self._bring_up(config, applications)
        announce(self._settings, self._url, applications, time.monotonic() - began)
        while True:
            self._tick(STEADY_TICK_S)
            self._check_children(serve)
            if lost := watch.lost():
                raise StartFailedError(
                    f"{lost} of the local Ray has ended; start again, no task is lost.\n{_end_of(serve)}"
                )

    def _bring_up(self, config: Path, applications: list[Application]) -> tuple[ChildProcess, RayProcesses]:
        """Start every part and wait until SeedCore is ready; when Ray does not start, start every part again.

        Raises:
            StartFailedError: the reason, and what to do.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return self._attempt(config, applications)
            except RayFailedError as failure:
                reason = failure.detail.rstrip(".")
                if attempt == MAX_ATTEMPTS:
                    raise StartFailedError(
                        f"Ray did not start in {MAX_ATTEMPTS} attempts: {reason}. If the machine is just slow, "
                        f"set SEEDCORE_BOOTSTRAP_TIMEOUT_S higher ({self._settings.bootstrap_timeout_s:g} now; each "
                        f"part of Ray has a fifth of it); logs are in {self._settings.data_dir / 'logs'}."
                    ) from failure
                say(f"Ray did not start: {mask(reason)}. Starting it again ({attempt + 1} of {MAX_ATTEMPTS}) ...")
                stop_children(self._settings, self._children)
                self._children.clear()
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, config: Path, applications: list[Application]) -> tuple[ChildProcess, RayProcesses]:
        root = environment.session_root(self._settings)
        environment.remove_old_sessions(root)
        env = environment.serve_environment(self._settings, os.environ, root)
        # When this process is killed, the kernel sends a SIGINT, and `serve run` stops its Ray in order.
        serve = self._spawn("serve", ["-m", "seedcore.cli.launch.serve_child", "run", str(config)], env, signal.SIGINT)
        if self._settings.pg_dsn is None:
            # Its first start takes seconds, and Ray's takes as long in parallel.
            embedded_postgres(self._settings).acquire()
        ray = self._wait_for(lambda: "Ray", lambda: ray_of(serve.pid), serve)
        watch = RayProcesses(serve.pid)
        record_ray_address(self._settings, ray.address)
        # It migrates the database at once, and waits for the applications itself.
        bootstrap = self._spawn("bootstrap", ["-m", "bootstraps.bootstrap_entry"], env | {"RAY_ADDRESS": ray.address})
        self._wait_until_ready(applications, serve, bootstrap, watch)
        return serve, watch

    def _spawn(
        self, name: str, arguments: list[str], env: dict[str, str], at_end: signal.Signals = signal.SIGKILL
    ) -> ChildProcess:
        log = self._settings.data_dir / "logs" / f"{name}.log"
        child = ChildProcess(name, [sys.executable, *arguments], env, log, at_parents_end=at_end)
        self._children.append(child)
        return child

    def _wait_until_ready(
        self, applications: list[Application], serve: ChildProcess, bootstrap: ChildProcess, watch: RayProcesses
    ) -> None:
        """Wait until the bootstrap's canary has completed and every application is healthy."""
        missing = {application.name: "not checked yet" for application in applications}
        due = 0.0

        def ready() -> bool | None:
            nonlocal missing, due
            if bootstrap.poll() is None and time.monotonic() < due:
                return None
            # Made for each look: the certificate may have been replaced since the last one.
            context = trusting(self._settings, loopback=True) if self._settings.tls_cert else None
            missing = readiness.waiting_for(self._url, applications, context)
            if not missing and bootstrap.poll() == 0:
                return True
            if time.monotonic() >= due:
                due = time.monotonic() + LOG_CHECK_S
                if failure := readiness.deployment_failure(serve.log):
                    raise StartFailedError(failure)
            return None

        def what() -> str:
            return ", ".join(missing) or "the bootstrap"

        def why() -> str:
            return "; ".join(f"{name}: {reason}" for name, reason in missing.items()) or _last_line(bootstrap)

        self._wait_for(what, ready, serve, watch, why)

    def _wait_for(
        self,
        what: Callable[[], str],
        found: Callable[[], Found | None],
        serve: ChildProcess,
        watch: RayProcesses | None = None,
        why: Callable[[], str] | None = None,
    ) -> Found:
        """Wait until `found` returns something, and show `what` is waited for; `why` gives the details.

        Raises:
            RayFailedError: a part of Ray has ended.
            StartFailedError: another part has ended, or the time is over.
        """
        began = time.monotonic()
        with Progress() as progress:
            while (answer := found()) is None:
                self._tick()
                if serve.poll() is not None:
                    raise RayFailedError(f"`serve run` ended with exit status {serve.poll()}: {_last_line(serve)}")
                if watch is not None and (lost := watch.lost()):
                    # Without an error of its own, a failed `serve run` ended it.
                    said = fatal_error(environment.session_root(self._settings), lost) or _last_line(serve)
                    raise RayFailedError(f"{lost} has ended: {said}.")
                self._check_children(serve)
                seconds = self._settings.bootstrap_timeout_s - (self._deadline - time.monotonic())
                if time.monotonic() > self._deadline:
                    reason = why() if why else _last_line(serve)
                    raise StartFailedError(
                        f"SeedCore was not ready within {self._settings.bootstrap_timeout_s:g} s, still waiting for "
                        f"{what()} ({reason}): if the machine is just slow, set SEEDCORE_BOOTSTRAP_TIMEOUT_S "
                        f"higher; logs are in {self._settings.data_dir / 'logs'}."
                    )
                if time.monotonic() - began > REPORT_S:
                    progress.show(f"  {seconds:3.0f} s  waiting for {what()}")
        return answer

    def _check_children(self, serve: ChildProcess) -> None:
        """Check that `serve run` has not ended, and that the bootstrap has not failed."""
        for child in self._children:
            status = child.poll()
            if status is not None and (status != 0 or child is serve):
                raise StartFailedError(f"{child.name} has ended with exit status {status}.\n{_end_of(child)}")

    def _tick(self, pause_s: float = TICK_S) -> None:
        """Pause; from time to time, collect ended processes and trim logs."""
        if self._stop.wait(pause_s) or (self._make is not None and self._make.wants_to_stop()):
            raise StopRequested
        if time.monotonic() - self._cleaned_at > HOUSEKEEPING_S:
            self._cleaned_at = time.monotonic()
            reap_orphans({child.pid for child in self._children})
            for child in self._children:
                keep_bounded(child.log)

    def _on_signal(self, *_: object) -> None:
        if self._stop.is_set():
            self._force.set()
        self._stop.set()


def _end_of(child: ChildProcess) -> str:
    return f"The end of {child.log}:\n{child.log_tail()}"


def _last_line(child: ChildProcess) -> str:
    """The last line of its log, which names the error when there was one."""
    lines = [line.strip() for line in child.log_tail().splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or ["no output"])[-1][:300]
