"""What a long-running process changes about itself; each in a process of its own, since nothing turns it back."""

import subprocess
import sys


def _run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return ended.stdout.strip()


def test_a_settled_process_collects_nothing_that_was_there_before() -> None:
    code = "import gc; from seedcore.utils import process_tuning as p; p.settle(); print(gc.get_freeze_count() > 1000)"
    assert _run(code) == "True"


def test_stepping_aside_changes_threads_that_run_already_and_those_that_come() -> None:
    code = """
import os, threading
from seedcore.utils import process_tuning
before, after, done = threading.Event(), [], threading.Event()
names = []
def wait():
    names.append(threading.get_native_id()); before.set(); done.wait(20)
running = threading.Thread(target=wait); running.start(); before.wait(20)
process_tuning.step_aside()
late = threading.Thread(target=lambda: after.append(os.getpriority(os.PRIO_PROCESS, 0))); late.start(); late.join(20)
print(os.getpriority(os.PRIO_PROCESS, names[0]), os.getpriority(os.PRIO_PROCESS, 0), after[0])
done.set()
"""
    base = int(_run("import os; print(os.getpriority(os.PRIO_PROCESS, 0))"))
    expected = [min(19, max(base, 5))] * 3
    assert [int(number) for number in _run(code).split()] == expected
