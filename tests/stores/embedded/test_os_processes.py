import subprocess
import sys

from seedcore.stores.embedded.os_processes import alive
from tests.stores.embedded.embedded_support import wait_for

# The first thread of the process ends alone (the system call `exit`, not `exit_group`); the other one reads on.
FIRST_THREAD_ENDS = """
import ctypes, platform, sys, threading
reader = threading.Thread(target=sys.stdin.read)
reader.start()
print("ready", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def test_a_process_lives_while_any_of_its_threads_does() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_THREAD_ENDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_for(lambda: state_of(process.pid) == "Z", "the first thread to end")
        assert alive(process.pid)
        process.kill()
        wait_for(lambda: not alive(process.pid), "the process to end")


def test_a_zombie_does_not_live() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        wait_for(lambda: state_of(process.pid) == "Z", "it to end")
        assert not alive(process.pid)


def test_a_process_that_was_reaped_does_not_live() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not alive(process.pid)
