"""`seedcore run`: bring a whole SeedCore up on this machine, stay with it, and take it down again."""

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
from seedcore.cli.launch.child_processes import Child, adopt_orphans, reap_orphans
from seedcore.cli.launch.make_parent import ParentMake
from seedcore.cli.launch.ray_processes import RayWatch, last_words, ray_of
from seedcore.cli.launch.serve_config import Application, write_config
from seedcore.cli.launch.shutdown import stop_children, stop_everything
from seedcore.cli.launch.terminal import Progress, announce, complain, say
from seedcore.cli.skill_imports import check_skills
from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.stores.data_dir_lock import DataDirLock
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.embedded.lock_files import ServerFiles, keep_bounded
from seedcore.telemetry.logs import mask
from seedcore.utils.exposure import check_exposure
from seedcore.utils.ray_record import forget_ray_address, record_ray_address

TICK_S = 0.1
HOUSEKEEPING_S = 2.0
REPORT_S = 3.0
LOOK_S = 3.0
LEFTOVERS_S = 15.0
ATTEMPTS = 3
"""So often a Ray that does not come up is started: not all its bounds can be set, and its files are cached by then."""

Found = TypeVar("Found")
_ERROR = re.compile(r"[\w.]*(Error|Exception|Timeout)\b.*")


class StopRequested(Exception):  # noqa: N818 - not an error
    """Ctrl-C, SIGTERM, or the end of the `make` that started this process."""


class StartFailed(SeedCoreError):  # noqa: N818 - reads as what happened
    """A part did not come up, or has ended."""

    code, title = "start_failed", "Start failed"


class RayFailed(StartFailed):
    """Ray or Serve has ended before SeedCore was ready: worth another try."""


class Launcher:
    """One start of SeedCore, from its checks to its end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = environment.local_url(settings)
        self._lock = DataDirLock(settings.data_dir)
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._children: list[Child] = []
        self._make = ParentMake.find()
        self._tidied = 0.0
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
            complain(mask(error.detail))
            status = 1
        finally:
            left = stop_everything(self._settings, self._children, self._hurry)
            forget_ray_address(self._settings)
            self._lock.release()
        if left:
            complain(f"these processes do not end: {', '.join(left)}")
            return 1
        if status == 0:
            environment.remove_session_root(self._settings)
        say("SeedCore has stopped.")
        return status

    def _check(self) -> None:
        """Everything that can be known to be wrong, before anything is started."""
        check_exposure(self._settings)
        self._lock.check_free()
        ServerFiles(self._settings.data_dir, "postgres").make()
        self._port = self._claim_port(LEFTOVERS_S if self._lock.take() else 0)
        if self._settings.http_mode == "haproxy":
            # Unlike Serve's own proxy, HAProxy takes the port for itself alone, or fails.
            self._port.close()
        preflight.check_database(self._settings)
        check_skills(self._settings, os.environ | environment.import_path(os.environ), say)

    def _claim_port(self, patience_s: float) -> socket.socket:
        """After a killed launcher, its processes may take a while to end by themselves and free the port."""
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
            self._tick()
            self._check_on(serve)
            if lost := watch.lost():
                raise StartFailed(f"{lost} of the local Ray has ended; start again, no task is lost.\n{_end_of(serve)}")

    def _bring_up(self, config: Path, applications: list[Application]) -> tuple[Child, RayWatch]:
        """Start all and wait until it is ready; a Ray that did not come up is started again, all of it.

        Raises:
            StartFailed: the reason, and what to do.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(config, applications)
            except RayFailed as failure:
                reason = failure.detail.rstrip(".")
                if attempt == ATTEMPTS:
                    raise StartFailed(
                        f"Ray did not start in {ATTEMPTS} attempts: {reason}. Where the machine is just slow, "
                        f"set SEEDCORE_BOOTSTRAP_TIMEOUT_S higher ({self._settings.bootstrap_timeout_s:g} now; each "
                        f"part of Ray has a fifth of it); logs are in {self._settings.data_dir / 'logs'}."
                    ) from failure
                say(f"Ray did not start: {mask(reason)}. Starting it again ({attempt + 1} of {ATTEMPTS}) ...")
                stop_children(self._settings, self._children)
                self._children.clear()
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, config: Path, applications: list[Application]) -> tuple[Child, RayWatch]:
        root = environment.session_root(self._settings)
        environment.remove_old_sessions(root)
        env = environment.serve_environment(self._settings, os.environ, root)
        # Told by a SIGINT that this process was killed, it still takes its Ray down in good order.
        serve = self._spawn("serve", ["-m", "seedcore.cli.launch.serve_child", "run", str(config)], env, signal.SIGINT)
        if self._settings.pg_dsn is None:
            # Its first start takes seconds; so does Ray's, beside it.
            embedded_postgres(self._settings).acquire()
        ray = self._wait_for(lambda: "Ray", lambda: ray_of(serve.pid), serve)
        watch = RayWatch(serve.pid)
        record_ray_address(self._settings, ray.address)
        # It migrates the database at once, and waits for the applications by itself.
        bootstrap = self._spawn("bootstrap", ["-m", "bootstraps.bootstrap_entry"], env | {"RAY_ADDRESS": ray.address})
        self._wait_until_ready(applications, serve, bootstrap, watch)
        return serve, watch

    def _spawn(
        self, name: str, arguments: list[str], env: dict[str, str], at_end: signal.Signals = signal.SIGKILL
    ) -> Child:
        log = self._settings.data_dir / "logs" / f"{name}.log"
        child = Child(name, [sys.executable, *arguments], env, log, at_parents_end=at_end)
        self._children.append(child)
        return child

    def _wait_until_ready(
        self, applications: list[Application], serve: Child, bootstrap: Child, watch: RayWatch
    ) -> None:
        """Until the bootstrap's canary came through and every application says that it is healthy."""
        missing = {application.name: "not asked yet" for application in applications}
        due = 0.0

        def ready() -> bool | None:
            nonlocal missing, due
            if bootstrap.poll() is None and time.monotonic() < due:
                return None
            missing = readiness.waiting_for(self._url, applications)
            if not missing and bootstrap.poll() == 0:
                return True
            if time.monotonic() >= due:
                due = time.monotonic() + LOOK_S
                if failure := readiness.deployment_failure(serve.log):
                    raise StartFailed(failure)
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
        serve: Child,
        watch: RayWatch | None = None,
        why: Callable[[], str] | None = None,
    ) -> Found:
        """Wait for what `found` returns, and say now and then what is waited for; `why` says it in full.

        Raises:
            RayFailed: Ray's part in it has ended.
            StartFailed: another part has, or the time is over.
        """
        began = time.monotonic()
        with Progress() as progress:
            while (answer := found()) is None:
                self._tick()
                if serve.poll() is not None:
                    raise RayFailed(f"`serve run` ended with exit status {serve.poll()}: {_last_line(serve)}")
                if watch is not None and (lost := watch.lost()):
                    # Without an error of its own it was ended, by a `serve run` that failed.
                    said = last_words(environment.session_root(self._settings), lost) or _last_line(serve)
                    raise RayFailed(f"{lost} has ended: {said}.")
                self._check_on(serve)
                seconds = self._settings.bootstrap_timeout_s - (self._deadline - time.monotonic())
                if time.monotonic() > self._deadline:
                    reason = why() if why else _last_line(serve)
                    raise StartFailed(
                        f"SeedCore was not ready within {self._settings.bootstrap_timeout_s:g} s, it still waits for "
                        f"{what()} ({reason}): where the machine is just slow, set SEEDCORE_BOOTSTRAP_TIMEOUT_S "
                        f"higher; logs are in {self._settings.data_dir / 'logs'}."
                    )
                if time.monotonic() - began > REPORT_S:
                    progress.show(f"  {seconds:3.0f} s  waiting for {what()}")
        return answer

    def _check_on(self, serve: Child) -> None:
        """`serve run` must not end; the bootstrap may, when all went well."""
        for child in self._children:
            status = child.poll()
            if status is not None and (status != 0 or child is serve):
                raise StartFailed(f"{child.name} has ended with exit status {status}.\n{_end_of(child)}")

    def _tick(self) -> None:
        """Let a moment pass; tidy up now and then."""
        if self._stop.wait(TICK_S) or (self._make is not None and self._make.wants_to_stop()):
            raise StopRequested
        if time.monotonic() - self._tidied > HOUSEKEEPING_S:
            self._tidied = time.monotonic()
            reap_orphans({child.pid for child in self._children})
            for child in self._children:
                keep_bounded(child.log)

    def _on_signal(self, *_: object) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()


def _end_of(child: Child) -> str:
    return f"The end of {child.log}:\n{child.log_tail()}"


def _last_line(child: Child) -> str:
    """The last line of its log, which names the error when there was one."""
    lines = [line.strip() for line in child.log_tail().splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or ["it said nothing."])[-1][:300]
