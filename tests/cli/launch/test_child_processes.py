"""Children end with the launcher, however it ends, and orphans are seen."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

DEADLINE_S = 15.0
SLEEPER = "import time; time.sleep(600)"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def start(script: str, tmp_path: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    """Run a launcher's script that prints the pids of what it started, then waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    return process, [int(pid) for pid in process.stdout.readline().split()]


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_child_dies_with_a_killed_launcher(tmp_path: Path) -> None:
    script = f"""
import os, sys, time
from pathlib import Path
from seedcore.cli.launch.child_processes import ChildProcess
child = ChildProcess("sleeper", [sys.executable, "-c", {SLEEPER!r}], os.environ, Path("sleeper.log"))
print(child.pid, flush=True)
time.sleep(600)
"""
    launcher, (child,) = start(script, tmp_path)
    assert runs(child)
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not runs(child))


def test_ctrl_c_reaches_the_launcher_alone(tmp_path: Path) -> None:
    script = f"""
import os, sys, time
from pathlib import Path
from seedcore.cli.launch.child_processes import ChildProcess
child = ChildProcess("sleeper", [sys.executable, "-c", {SLEEPER!r}], os.environ, Path("sleeper.log"))
print(child.pid, flush=True)
time.sleep(600)
"""
    launcher, (child,) = start(script, tmp_path)
    assert os.getpgid(child) != os.getpgid(launcher.pid)
    launcher.kill()
    launcher.wait()


def test_a_grandchild_whose_parent_died_is_still_found_and_reaped(tmp_path: Path) -> None:
    daemon = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
"""
    script = f"""
import os, subprocess, sys, time
from seedcore.cli.launch.child_processes import adopt_orphans, descendants, kill_all, reap_orphans
adopt_orphans()
pid = int(subprocess.run([sys.executable, "-c", {daemon!r}], capture_output=True, text=True).stdout)
assert [p.pid for p in descendants()] == [pid], descendants()
kill_all(descendants())
deadline = time.monotonic() + 10
while os.path.exists(f"/proc/{{pid}}") and time.monotonic() < deadline:
    reap_orphans(set())
    time.sleep(0.05)
print(pid, flush=True)
"""
    launcher, (orphan,) = start(script, tmp_path)
    assert launcher.wait(DEADLINE_S) == 0
    assert not psutil.pid_exists(orphan)


def test_the_log_of_the_start_before_is_kept_once_and_secrets_are_masked(tmp_path: Path) -> None:
    from seedcore.cli.launch.child_processes import ChildProcess

    log = tmp_path / "talker.log"
    for word in ("one", "two", "three"):
        text = f"print('{word} postgresql://me:hunter2@host/db')"
        child = ChildProcess("talker", [sys.executable, "-c", text], os.environ, log)
        child.process.wait(DEADLINE_S)
    assert child.log_tail() == "three postgresql://me:***@host/db"
    assert log.with_suffix(".log.1").read_text().startswith("two")


def test_make_that_was_interrupted_alone_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(
        f"run:\n\t@exec {sys.executable} -c 'import sys, time; "
        "from seedcore.cli.launch.parent_watch import ParentMake; "
        'make = ParentMake.find(); print("found" if make else "lost", flush=True); '
        'exec("while not make.wants_to_stop(): time.sleep(0.05)"); '
        'print("stopped", flush=True)\'\n'
    )
    # Run by `make test`, it would take this make for its parent's sub-make.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    make = subprocess.Popen(
        ["make", "run"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert make.stdout is not None
    assert make.stdout.readline() == "found\n"
    make.send_signal(signal.SIGINT)
    assert make.stdout.readline() == "stopped\n"
    make.wait(DEADLINE_S)
