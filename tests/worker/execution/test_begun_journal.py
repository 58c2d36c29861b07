"""The journal of begun calls: what outlives a killed process, and what is not believed."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call
from seedcore.worker.execution import begun_journal, last_life
from seedcore.worker.execution.begun_journal import BegunJournal, journal_path, open_journal
from seedcore.worker.execution.last_life import BegunCall, LastLife, read


def a_call(token: int = 1, skill: str = "echo", task_id: UUID | str | None = None) -> Call:
    return Call(str(task_id or uuid4()), token, 1, skill, "{}", "a-1", None, "k")


def leave(journal: BegunJournal) -> None:
    """The process is gone: the kernel takes its lock back."""
    fcntl.flock(journal._file, fcntl.LOCK_UN)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h-0.begun"


@pytest.fixture
def journal(path: Path) -> Iterator[BegunJournal]:
    journal = BegunJournal(path, 8)
    yield journal
    journal.close()


def tokens(path: Path) -> dict[int, bool]:
    return {call.token: call.running for call in read(path)}


def test_what_has_begun_and_not_ended_is_read_by_the_next_process(path: Path, journal: BegunJournal):
    calls = [a_call(n, f"skill.{n}") for n in range(1, 6)]
    slots = [journal.begin(call) for call in calls]
    journal.end(slots[1])
    journal.end(slots[3])
    leave(journal)
    left = sorted(read(path), key=lambda call: call.token)
    assert left == [BegunCall(UUID(c.task_id), c.token, c.skill) for c in (calls[0], calls[2], calls[4])]


@pytest.mark.parametrize("skill", ["é" * 200, "𝄞" * 200, "x"])
def test_the_longest_name_of_a_skill_fits(path: Path, journal: BegunJournal, skill: str):
    journal.begin(a_call(skill=skill))
    leave(journal)
    assert [call.skill for call in read(path)] == [skill]


def test_it_grows_and_its_places_are_used_again(path: Path, journal: BegunJournal):
    for _ in range(3):
        slots = [journal.begin(a_call(n)) for n in range(1000)]
        assert None not in slots
        assert journal.noted == 1000
        for slot in slots[1:]:
            journal.end(slot)
        assert journal.noted == 1
        journal.end(slots[0])
    assert path.stat().st_size < 2000 * begun_journal.RECORD_BYTES
    assert journal.unnoted == 0


def test_a_lease_of_its_own_has_begun_until_its_end_is_written(path: Path, journal: BegunJournal):
    journal.hold([1, 2])
    for n in (1, 2, 3):
        journal.end(journal.begin(a_call(n)))
    leave(journal)
    assert tokens(path) == {1: False, 2: False}
    journal.settle({1})
    assert tokens(path) == {2: False}
    slot = journal.begin(a_call(4))
    journal.hold([4])
    journal.settle({2, 4, 5})
    assert tokens(path) == {4: True}
    journal.end(slot)
    assert (tokens(path), journal.noted) == ({}, 0)


def test_what_was_sent_elsewhere_has_begun_but_runs_not_here(path: Path, journal: BegunJournal):
    journal.hold([1, 2, 3])
    calls = [a_call(n) for n in (1, 2, 3)]
    journal.send(calls)
    journal.send(calls)
    leave(journal)
    assert tokens(path) == {1: False, 2: False, 3: False}
    journal.unsend([2])
    journal.settle({3})
    slot = journal.begin(calls[0])
    assert sorted(call.running for call in read(path)) == [False, True], "it was returned, and runs here now"
    journal.end(slot)
    assert tokens(path) == {1: False}
    journal.settle({1})
    assert (tokens(path), journal.noted) == ({}, 0)


def test_ends_and_settlements_of_two_threads_lose_no_place(journal: BegunJournal):
    journal.hold(range(20_000))
    slots = [journal.begin(a_call(n, task_id="t")) for n in range(20_000)]
    settling = threading.Thread(target=lambda: [journal.settle({n}) for n in range(20_000)])
    settling.start()
    for slot in slots:
        journal.end(slot)
    settling.join()
    assert journal.noted == 0


def test_it_is_private_and_empty_after_a_graceful_end(path: Path, journal: BegunJournal):
    session = uuid4()
    journal.note_session(session)
    journal.hold([1, 2])
    journal.end(journal.begin(a_call(1)))
    journal.begin(a_call(2))
    assert path.stat().st_mode & 0o777 == 0o600
    other = BegunJournal(path.with_name("other"))
    other.close()
    journal.clear()
    assert journal.begin(a_call(3)) is None
    leave(journal)
    assert last_life.last_life(path) == LastLife(session, [])


def test_who_ends_for_a_known_reason_leaves_the_culprits_alone(path: Path, journal: BegunJournal):
    for n in range(5):
        journal.begin(a_call(n))
    journal.clear(keep=[3])
    leave(journal)
    assert tokens(path) == {3: True}


def test_a_new_process_begins_with_an_empty_journal(path: Path, journal: BegunJournal):
    journal.begin(a_call())
    again = BegunJournal(path)
    leave(again)
    assert last_life.last_life(path) == LastLife(None, [])
    again.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_journal_whose_process_still_lives_is_not_believed(path: Path, journal: BegunJournal):
    journal.begin(a_call())
    assert last_life.last_life(path) is None
    assert read(path) == []


def test_a_journal_of_another_boot_is_not_believed(path: Path, journal: BegunJournal, monkeypatch: pytest.MonkeyPatch):
    journal.begin(a_call())
    leave(journal)
    assert last_life.last_life(path) is not None
    monkeypatch.setattr(last_life, "boot_id", uuid4)
    assert last_life.last_life(path) is None


def test_a_journal_that_could_not_note_everything_is_not_believed(
    path: Path, journal: BegunJournal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(begun_journal, "MAX_RECORDS", 16)
    slots = [journal.begin(a_call(n)) for n in range(20)]
    assert slots.count(None) == journal.unnoted == 4
    for slot in slots:
        journal.end(slot)
    leave(journal)
    assert last_life.last_life(path) is None


def test_a_full_disk_is_an_error_at_the_start_and_not_a_signal_later(path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = BegunJournal(path, 4)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert [journal.begin(a_call(n)) for n in range(5)].count(None) == 1
    journal.close()
    assert open_journal(path.with_name("other"), load_settings()) is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_nothing_is_read_where_there_is_no_journal_or_a_link(path: Path, tmp_path: Path, journal: BegunJournal):
    leave(journal)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert last_life.last_life(link) is None
    assert last_life.last_life(tmp_path / "none") is None
    assert last_life.last_life(tmp_path) is None


DYING = """
import json, os, signal, sys
from pathlib import Path
from uuid import UUID
from seedcore.skills.host_protocol import Call
from seedcore.worker.execution.begun_journal import BegunJournal
journal = BegunJournal(Path(sys.argv[1]), 8)
journal.note_session(UUID(int=7))
task = str(UUID(int=1))
print("ready", flush=True)
n = 0
while True:
    n += 1
    journal.end(journal.begin(Call(task, n, 1, "quick", "{}", "a", None, "k")))
    if n == 5000:
        journal.begin(Call(task, n, 1, "slow", "{}", "a", None, "k"))
        print("slow", flush=True)
"""


def test_it_outlives_a_process_that_is_killed(path: Path):
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", DYING, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "slow\n"]
        assert last_life.last_life(path) is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        life = last_life.last_life(path)
        assert life is not None
        assert life.session == UUID(int=7)
        assert (UUID(int=1), 5000, "slow") in {call[:3] for call in life.begun}
        # It was killed somewhere in the middle of a note: at most that one more.
        assert {call.skill for call in life.begun} <= {"slow", "quick"}
        assert len(life.begun) <= 2


FILES = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FILES
@given(content=st.binary(max_size=20_000))
def test_garbage_says_nothing(path: Path, content: bytes):
    path.write_bytes(content)
    assert last_life.last_life(path) is None


@FILES
@given(data=st.data())
def test_a_damaged_journal_says_nothing_that_was_not_noted(path: Path, data: st.DataObject):
    journal = BegunJournal(path, 8)
    calls = [a_call(n, f"skill.{n}") for n in range(6)]
    for call in calls:
        journal.begin(call)
    leave(journal)
    os.close(journal._file)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=64))
        content[at : at + len(piece)] = piece
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    path.write_bytes(bytes(content))
    known = {(UUID(call.task_id), call.token, call.skill) for call in calls}
    assert {call[:3] for call in read(path)} <= known


def test_a_note_costs_two_microseconds(journal: BegunJournal):
    """Of processor time, the best of ten, with room for other processes that make this one slower."""
    call = a_call()

    def once(count: int = 5000) -> float:
        began = time.process_time()
        for _ in range(count):
            journal.end(journal.begin(call))
        return (time.process_time() - began) / count

    assert min(once() for _ in range(10)) < 5e-6


def test_its_place_is_under_the_data_directory_or_else_the_temporary_folder(tmp_path: Path, path: Path):
    made = load_settings(data_dir=tmp_path / "data")
    assert journal_path(made, "seedcore-host-a-0") == tmp_path / "data/begun/seedcore-host-a-0.begun"
    assert (tmp_path / "data/begun").stat().st_mode & 0o777 == 0o700
    path.write_text("a file, where a folder should be")
    elsewhere = [load_settings(data_dir=path, namespace=name) for name in ("one", "two")]
    found = {journal_path(one, "h-0") for one in elsewhere}
    assert len(found) == 2
    assert all(file.name.endswith("h-0.begun") and file.parent.is_dir() for file in found)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "ü", "\0", "a" * 50])
def test_no_name_leads_out_of_its_folder(tmp_path: Path, name: str):
    made = load_settings(data_dir=tmp_path)
    file = journal_path(made, name)
    assert file.parent == tmp_path / "begun"
    assert journal_path(made, name + "x") != file
    journal = BegunJournal(file, 1)
    journal.close()
