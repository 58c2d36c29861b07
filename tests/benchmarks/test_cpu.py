"""Processor time is told by kind of process, of this release's processes and of the last one's."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.cpu import OTHERS, Reading, Used, between, group_of, read
from benchmarks.system import matches


@pytest.mark.parametrize(
    ("line", "group"),
    [
        ("ray::WorkerActor.run", "workers"),
        ("ray::DispatcherActor", "workers"),
        ("ray::AgentHost.execute", "agent hosts"),
        ("ray::ServeReplica:gateway:Gateway", "gateway"),
        ("ray::ServeReplica:state:StateService", "other services"),
        ("ray::ServeController.listen_for_change", "Ray and Serve"),
        ("/venv/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "Ray and Serve"),
        ("postgres: seedcore seedcore [local] idle", "PostgreSQL"),
        ("python -m seedcore.cli.main run", OTHERS),
    ],
)
def test_a_process_is_grouped_by_its_command_line(line: str, group: str):
    assert group_of(line) == group


def test_a_part_of_a_pattern_may_give_alternatives_and_all_parts_must_fit():
    assert matches("postgres: x [local]", ["postgres: |mysqld", "[local]"])
    assert not matches("postgres: x 10.0.0.1", ["postgres: |mysqld", "[local]"])


def test_what_ended_meanwhile_is_in_its_parents_time_and_counts_once():
    before = Reading({1: Used("PostgreSQL", 0, 1.0), 2: Used("PostgreSQL", 1, 5.0)}, 0.0)
    after = Reading({1: Used("PostgreSQL", 0, 1.5 + 5.25)}, 0.0)
    assert between(before, after) == {"PostgreSQL": pytest.approx(0.75)}


def test_a_process_counts_in_the_group_that_it_had_last():
    before, after = Reading({7: Used("Ray and Serve", 1, 2.0)}, 0.0), Reading({7: Used("workers", 1, 3.0)}, 0.0)
    assert between(before, after) == {"workers": 1.0}


def test_work_of_a_process_and_of_its_ended_child_is_read():
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while (found := read([psutil.Process(process.pid), psutil.Process(os.getpid())])).processes[
            process.pid
        ].seconds < 0.3:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        assert process.stdin is not None
        process.stdin.close()
    assert found.seconds >= found.processes[process.pid].seconds
    assert found.machine_s > 0
