import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from neo4j import GraphDatabase
from neo4j.exceptions import AuthError

from seedcore.stores.embedded import embedded_bolt
from seedcore.stores.embedded.bolt_server import DATABASE, USER, password_file
from seedcore.stores.embedded.embedded_server import EmbeddedServer
from tests.stores.embedded.embedded_support import holders, kill, processes_of, settings_for, stop_all, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    embedded = embedded_bolt(settings_for(data_dir))
    yield embedded
    embedded.release()
    stop_all(data_dir)


def ask(uri: str, data_dir: Path, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    auth = (USER, password_file(data_dir).read_text())
    with GraphDatabase.driver(uri, auth=auth) as driver, driver.session(database=DATABASE) as session:
        return session.run(statement, parameters).data()


def test_three_processes_at_once_make_one_server_and_leave_none(data_dir: Path) -> None:
    with holders("bolt", data_dir, 3) as three:
        told = [holder.told() for holder in three]
        assert len({(t["uri"], t["pid"], t["supervisor_pid"]) for t in told}) == 1
        assert sorted(processes_of(data_dir)) == sorted([told[0]["pid"], told[0]["supervisor_pid"]])
        for holder in three:
            holder.signal(signal.SIGKILL)
        wait_for(lambda: not processes_of(data_dir), "everything to stop", timeout_s=30)


def test_it_listens_on_loopback_only_and_keeps_its_password_to_itself(server: EmbeddedServer, data_dir: Path) -> None:
    uri = server.acquire()
    assert ask(uri, data_dir, "RETURN 1 AS one") == [{"one": 1}]
    process = psutil.Process(server.status()["pid"])
    listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    secret = password_file(data_dir)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() not in " ".join(process.cmdline())
    with GraphDatabase.driver(uri, auth=(USER, "not-the-password")) as driver, pytest.raises(AuthError):
        driver.verify_connectivity()


def test_a_killed_server_comes_back_on_its_port_with_its_data(server: EmbeddedServer, data_dir: Path) -> None:
    uri = server.acquire()
    ask(uri, data_dir, "CREATE (:Kept {id: $id})", id="a")
    kill(server.status()["pid"])
    assert server.acquire() == uri
    assert ask(uri, data_dir, "MATCH (n:Kept) RETURN n.id AS id") == [{"id": "a"}]


def test_the_next_supervisor_adopts_it(server: EmbeddedServer, data_dir: Path) -> None:
    uri = server.acquire()
    before = server.status()
    kill(before["supervisor_pid"])
    assert server.acquire() == uri
    # It has the lock before it has written that it is the one; a moment before, nobody has written anything.
    known = (None, before["supervisor_pid"])
    wait_for(lambda: server.status().get("supervisor_pid") not in known, "the next supervisor")
    after = server.status()
    assert (after["running"], after["pid"]) == (True, before["pid"])


def test_a_lost_password_is_replaced(server: EmbeddedServer, data_dir: Path) -> None:
    ask(server.acquire(), data_dir, "CREATE (:Kept {id: 'a'})")
    server.release()
    stop_all(data_dir)
    password_file(data_dir).unlink()
    assert ask(server.acquire(), data_dir, "MATCH (n:Kept) RETURN n.id AS id") == [{"id": "a"}]


def test_the_heap_setting_caps_the_heap(server: EmbeddedServer) -> None:
    server.acquire()
    heap = f"-Xmx{server._settings.bolt_heap_mb}m"
    assert heap in psutil.Process(server.status()["pid"]).cmdline()
