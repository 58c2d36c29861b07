"""Tunes a long-running process: its garbage collector and its place in the processors' queue."""

import gc
import os
from pathlib import Path

YOUNG = 20_000
"""A turn of a worker makes tens of thousands of short-lived objects; the default of 700 collects far too often."""

BESIDE_NICE = 5
"""The niceness of processes that no task waits for."""


def settle() -> None:
    """Call once when a process has started: its full collections leave alone what was loaded so far.

    Without this each of them walks over every module, and everything else in the process waits 30 to 70 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


def step_aside() -> None:
    """Let the processes that a task goes through come first, when processors are scarce.

    For services beside a task's way: on two full cores their periodic work would hold up tasks for tens of
    milliseconds. Linux keeps niceness by thread: those that run now are changed, later ones inherit it.
    """
    for thread in Path("/proc/self/task").iterdir():
        try:
            tid = int(thread.name)
            os.setpriority(os.PRIO_PROCESS, tid, max(BESIDE_NICE, os.getpriority(os.PRIO_PROCESS, tid)))
        except ProcessLookupError:
            continue  # it has ended meanwhile
