"""Backup and restore: dump, wipe, restore, verify; on the embedded server, on a real one, and from one to the other."""

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from seedcore.cli.main import main
from seedcore.errors import ConflictError, InvalidInputError, UnavailableError
from seedcore.settings import Settings, load_settings
from seedcore.stores import backup as backups
from seedcore.stores.backup import backup, restore
from seedcore.stores.embedded import embedded_postgres, postgres_programs
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import resolve_dsn
from seedcore.web.access.key_repository import NewKey, create_key, find_keys
from seedcore.web.access.key_secret import hash_of

pytestmark = pytest.mark.integration
OLD = postgres_programs().parents[1] / "pginstall" / "bin"


@pytest.fixture(scope="module")
def old_server() -> Iterator[str]:
    """DSN of a real server of an older major: TCP, a user with a password."""
    folder = Path(tempfile.mkdtemp(prefix="scpg"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    password = secrets.token_hex(8)
    (folder / "password").write_text(password)
    if user:
        shutil.chown(folder / "password", user)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run: dict[str, Any] = {"user": user, "cwd": folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}}
    initdb = [
        OLD / "initdb",
        "-D",
        folder / "data",
        "-U",
        "owner",
        "--pwfile",
        folder / "password",
        "-A",
        "scram-sha-256",
    ]
    subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, timeout=60, **run)
    options = [f"-cport={port}", "-clisten_addresses=127.0.0.1", f"-cunix_socket_directories={folder}", "-cfsync=off"]
    server = subprocess.Popen([OLD / "postgres", "-D", folder / "data", *options], stderr=subprocess.DEVNULL, **run)
    dsn = f"postgresql://owner:{password}@127.0.0.1:{port}/postgres"
    try:
        asyncio.run(_until_up(dsn))
        yield dsn
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


async def _until_up(dsn: str) -> None:
    for _ in range(300):
        try:
            await (await asyncpg.connect(dsn)).close()
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
        else:
            return
    raise TimeoutError("the server did not start")


@pytest.fixture
def old(old_server: str, tmp_path: Path) -> Settings:
    settings = load_settings(data_dir=tmp_path / "old", pg_dsn=old_server)
    execute(settings, "drop schema if exists seedcore cascade")
    return settings


def execute(settings: Settings, statement: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(resolve_dsn(settings))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def fill(settings: Settings, count: int) -> None:
    migrate(settings)
    statement = f"""select count(seedcore.enqueue('echo', jsonb_build_object('value', n)))
                    from generate_series(1, {count}) n"""
    assert execute(settings, statement) == count


def tasks(settings: Settings) -> int:
    return int(execute(settings, "select count(*) from seedcore.ready"))


def test_dump_wipe_restore_verify_on_the_embedded_server(tmp_path: Path):
    folder = Path(tempfile.mkdtemp(prefix="scbk"))
    folder.chmod(0o755)
    settings = load_settings(data_dir=folder / "data")
    server = embedded_postgres(settings)
    server.acquire()
    try:
        fill(settings, 250)
        made = backup(settings, tmp_path / "b.dump")
        assert made.rows["ready"] == 250
        execute(settings, "drop schema seedcore cascade")
        assert restore(settings, tmp_path / "b.dump").rows == made.rows
        assert tasks(settings) == 250
        # It goes on: the sequences came back, too.
        fill(settings, 1)
        assert tasks(settings) == 251
    finally:
        server.release()
        shutil.rmtree(folder, ignore_errors=True)


def test_dump_wipe_restore_verify_on_a_real_server(old: Settings, tmp_path: Path):
    fill(old, 40)
    made = backup(old, tmp_path / "b.dump")
    assert made.server.startswith("16.")
    fill(old, 7)
    restore(old, tmp_path / "b.dump", replace=True)
    assert tasks(old) == 40
    assert execute(old, "select to_regnamespace('seedcore_before_restore')") is None


def test_a_backup_of_one_major_comes_back_on_the_next(old: Settings, empty_pg_settings: Settings, tmp_path: Path):
    fill(old, 40)
    made = backup(old, tmp_path / "b.dump")
    restore(empty_pg_settings, tmp_path / "b.dump")
    assert execute(empty_pg_settings, "show server_version").startswith("18.")
    assert tasks(empty_pg_settings) == 40
    assert migrate(empty_pg_settings) == made.schema_version


def test_a_backup_is_of_one_moment_and_readable_by_its_owner_alone(old: Settings, tmp_path: Path, monkeypatch: Any):
    fill(old, 5)
    run = backups._run

    def late(*arguments: Any) -> None:
        fill(old, 5)
        run(*arguments)

    monkeypatch.setattr(backups, "_run", late)
    made = backup(old, tmp_path / "b.dump")
    assert made.rows["ready"] == 5
    assert (tmp_path / "b.dump").stat().st_mode & 0o077 == 0
    monkeypatch.undo()
    restore(old, tmp_path / "b.dump", replace=True)
    assert tasks(old) == 5


def test_a_restore_that_fails_leaves_what_was_there(old: Settings, tmp_path: Path):
    fill(old, 3)
    made = backup(old, tmp_path / "b.dump")
    fill(old, 1)
    manifest = json.loads((tmp_path / "b.dump.json").read_text())
    manifest["rows"]["ready"] = made.rows["ready"] + 1
    (tmp_path / "b.dump.json").write_text(json.dumps(manifest))
    with pytest.raises(UnavailableError, match="differs from the backup in ready"):
        restore(old, tmp_path / "b.dump", replace=True)
    assert tasks(old) == 4


def test_what_must_not_be_restored_is_refused(old: Settings, tmp_path: Path):
    with pytest.raises(ConflictError, match="nothing to back up"):
        backup(old, tmp_path / "b.dump")
    with pytest.raises(InvalidInputError, match="must be there"):
        restore(old, tmp_path / "b.dump")
    fill(old, 1)
    backup(old, tmp_path / "b.dump")
    with pytest.raises(ConflictError, match="--replace"):
        restore(old, tmp_path / "b.dump")
    session = "insert into seedcore.sessions (id, actor, name, queue, expires_at, schema_version)"
    execute(old, f"{session} values (gen_random_uuid(), 'a', 'd', 'default', now() + '1 min', '0006')")
    with pytest.raises(ConflictError, match="1 dispatchers work"):
        restore(old, tmp_path / "b.dump", replace=True)
    manifest = json.loads((tmp_path / "b.dump.json").read_text())
    (tmp_path / "b.dump.json").write_text(json.dumps(manifest | {"schema_version": "9999"}))
    with pytest.raises(InvalidInputError, match="newer"):
        restore(old, tmp_path / "b.dump", replace=True)
    (tmp_path / "b.dump").write_bytes(b"damaged")
    with pytest.raises(InvalidInputError, match="checksum"):
        restore(old, tmp_path / "b.dump", replace=True)


def test_the_command_line_does_it_and_shows_no_password(old: Settings, tmp_path: Path, monkeypatch: Any, capfd: Any):
    assert old.pg_dsn is not None
    dsn = old.pg_dsn.get_secret_value()
    fill(old, 2)
    monkeypatch.setenv("SEEDCORE_PG_DSN", dsn)
    monkeypatch.setattr("sys.argv", ["seedcore", "backup", str(tmp_path / "b.dump")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    monkeypatch.setattr("sys.argv", ["seedcore", "restore", str(tmp_path / "b.dump"), "--replace"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    shown = capfd.readouterr()
    assert "rows of" in shown.out
    assert dsn.split(":")[2].split("@")[0] not in shown.out + shown.err


OPERATORS = """
insert into seedcore.tenants (name, weight) values ('acme', 7);
insert into seedcore.sql_roles (role, tenant) values ('acme_app', 'acme');
insert into seedcore.api_keys (name, hash, tenant, scopes, created_by)
  values ('worker', sha256('hunter2'), 'acme', '{read,submit}', 'admin');
insert into seedcore.api_keys (name, hash, scopes, created_by, revoked_at)
  values ('gone', sha256('revoked'), '{admin}', 'admin', now());
insert into seedcore.audit (actor, actor_kind, action, status, at, id)
  select 'admin', 'key', 'task.cancel', 202, moment, seedcore.first_id(moment)
  from generate_series(1, 40) n, lateral (select now() - make_interval(days => n) as moment) m;
"""
PICTURE = """select jsonb_build_array(
  (select jsonb_agg(k order by k.id) from seedcore.api_keys k),
  (select jsonb_agg(a order by a.id) from seedcore.audit a),
  (select jsonb_agg(t) from seedcore.tenants t), (select jsonb_agg(r) from seedcore.sql_roles r))::text"""


@pytest.fixture
def operators(old: Settings) -> Settings:
    migrate(old)
    execute(old, f"do $do$ begin {OPERATORS} end $do$")
    return old


def with_connection(settings: Settings, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(resolve_dsn(settings))
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_a_key_works_after_a_restore_with_all_its_rights(operators: Settings, tmp_path: Path):
    wanted = NewKey("robot", "acme", ("read", "submit"), payloads=False, expires_in_s=3600)
    _, secret = with_connection(operators, lambda connection: create_key(connection, wanted, "admin"))
    backup(operators, tmp_path / "b.dump")
    execute(operators, "drop schema seedcore cascade")
    restore(operators, tmp_path / "b.dump")
    (found,) = with_connection(operators, lambda connection: find_keys(connection, [hash_of(secret.encode())]))
    assert (found.name, found.tenant, set(found.scopes), found.payloads) == ("robot", "acme", {"read", "submit"}, False)
    assert not found.revoked
    assert 0 < found.left_s <= 3600


def test_keys_tenants_roles_and_audit_come_back_as_they_were(operators: Settings, tmp_path: Path):
    before = execute(operators, PICTURE)
    made = backup(operators, tmp_path / "b.dump")
    assert {name: made.rows[name] for name in ("api_keys", "audit", "tenants", "sql_roles")} == {
        "api_keys": 2, "audit": 40, "tenants": 1, "sql_roles": 1
    }  # fmt: skip
    execute(operators, "drop schema seedcore cascade")
    restore(operators, tmp_path / "b.dump")
    assert execute(operators, PICTURE) == before
    # A dump that somebody gets hold of opens nothing: of a key it has the hash alone.
    assert b"hunter2" not in (tmp_path / "b.dump").read_bytes()
    found = "select count(*) from seedcore.api_keys where hash = sha256({}) and revoked_at is null"
    assert execute(operators, found.format("'hunter2'")) == 1
    assert execute(operators, found.format("'revoked'")) == 0


def test_the_audit_log_is_append_only_after_a_restore_too(operators: Settings, tmp_path: Path):
    backup(operators, tmp_path / "b.dump")
    restore(operators, tmp_path / "b.dump", replace=True)
    for change in (
        "update seedcore.audit set actor = 'somebody'",
        "delete from seedcore.audit",
        "truncate seedcore.audit",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            execute(operators, change)
    execute(operators, "insert into seedcore.audit (actor, actor_kind, action, status) values ('a', 'key', 'x', 200)")
    assert execute(operators, "select count(*) from seedcore.audit") == 41
    # Retention goes on: it alone may take the oldest.
    assert execute(operators, f"select seedcore.forget_audit({30.5 * 86400})") == 10


def test_docs_say_truly_that_roles_and_their_rights_are_made_again(operators: Settings, tmp_path: Path):
    """They belong to the server, not to the schema; see docs/operations/backup.md."""
    execute(operators, "drop role if exists acme_app")
    execute(operators, "create role acme_app")
    execute(operators, "grant usage on schema seedcore to acme_app")
    allowed = "select has_schema_privilege('acme_app', 'seedcore', 'usage')"
    assert execute(operators, allowed) is True
    backup(operators, tmp_path / "b.dump")
    restore(operators, tmp_path / "b.dump", replace=True)
    assert execute(operators, allowed) is False
    assert execute(operators, "select tenant from seedcore.sql_roles where role = 'acme_app'") == "acme"
    execute(operators, "drop role acme_app")


def store_model(settings: Settings, name: str, content: bytes = b"{}") -> int:
    """A version as the ML service stores one; its number."""
    home = settings.models_dir / name
    number = 1 + max((int(path.name) for path in home.glob("[0-9]*")), default=0)
    (home / str(number)).mkdir(parents=True)
    (home / str(number) / "model.ubj").write_bytes(content)
    (home / str(number) / "manifest.json").write_text(json.dumps({"name": name, "sha256": content.hex()}))
    return number


def files(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


CHAMPION = "insert into seedcore.model_aliases (name, alias, version) values ('m', 'champion', 2)"


@pytest.fixture
def models(old: Settings) -> Settings:
    """Three versions of `m`, of which the first was deleted and the second is champion, and a trainer's leftovers."""
    migrate(old)
    for content in (b"{one}", b"{two}", b"{three}"):
        store_model(old, "m", content)
    for path in (old.models_dir / "m" / "1").iterdir():
        path.unlink()
    (old.models_dir / "m" / ".new-x").mkdir()
    (old.models_dir / ".jobs" / "y").mkdir(parents=True)
    execute(old, CHAMPION)
    return old


def test_aliases_come_back_with_the_files_that_they_name(models: Settings, tmp_path: Path):
    made = backup(models, tmp_path / "b.dump")
    assert {name: bool(digest) for name, digest in made.models.items()} == {"m/1": False, "m/2": True, "m/3": True}
    whole = {name: content for name, content in files(models.models_dir).items() if "/." not in name and name[0] != "."}
    shutil.rmtree(models.models_dir)
    execute(models, "drop schema seedcore cascade")
    restore(models, tmp_path / "b.dump")
    assert execute(models, "select version from seedcore.model_aliases where name = 'm'") == 2
    assert files(models.models_dir) == whole
    # The number of a deleted version is not used again.
    assert store_model(models, "m") == 4


def test_a_model_that_is_stored_while_the_dump_is_made_does_no_harm(models: Settings, tmp_path: Path, monkeypatch: Any):
    run = backups._run

    def late(*arguments: Any) -> None:
        run(*arguments)
        execute(models, f"update seedcore.model_aliases set version = {store_model(models, 'm', b'{late}')}")

    monkeypatch.setattr(backups, "_run", late)
    made = backup(models, tmp_path / "b.dump")
    assert "m/4" in made.models
    restore(models, tmp_path / "b.dump", replace=True)
    assert execute(models, "select version from seedcore.model_aliases") == 2


def test_what_the_folder_has_besides_stays_and_what_it_lacks_comes_back(models: Settings, tmp_path: Path):
    backup(models, tmp_path / "b.dump")
    shutil.rmtree(models.models_dir / "m" / "2")
    (models.models_dir / "m" / "2").mkdir()
    later, other = store_model(models, "m", b"{later}"), store_model(models, "other")
    restore(models, tmp_path / "b.dump", replace=True)
    found = files(models.models_dir)
    assert found["m/2/model.ubj"] == b"{two}"
    assert found[f"m/{later}/model.ubj"] == b"{later}"
    assert found[f"other/{other}/model.ubj"] == b"{}"
    assert not [name for name in found if name.startswith(".restore-")]


def test_another_model_under_the_same_number_stops_a_restore_before_it_changes_anything(
    models: Settings, tmp_path: Path
):
    backup(models, tmp_path / "b.dump")
    (models.models_dir / "m" / "3" / "manifest.json").write_text("{}")
    before = files(models.models_dir)
    execute(models, "delete from seedcore.model_aliases")
    with pytest.raises(ConflictError, match="another model as m/3"):
        restore(models, tmp_path / "b.dump", replace=True)
    assert execute(models, "select count(*) from seedcore.model_aliases") == 0
    assert files(models.models_dir) == before


def test_a_restore_of_the_database_that_fails_leaves_the_folder_as_it_was(models: Settings, tmp_path: Path):
    backup(models, tmp_path / "b.dump")
    shutil.rmtree(models.models_dir / "m" / "2")
    before = files(models.models_dir)
    manifest = json.loads((tmp_path / "b.dump.json").read_text())
    manifest["rows"]["model_aliases"] = 7
    (tmp_path / "b.dump.json").write_text(json.dumps(manifest))
    with pytest.raises(UnavailableError, match="differs"):
        restore(models, tmp_path / "b.dump", replace=True)
    assert files(models.models_dir) == before


def test_an_archive_that_is_damaged_missing_or_foreign_is_refused(models: Settings, tmp_path: Path):
    backup(models, tmp_path / "b.dump")
    archive = tmp_path / "b.dump.models.tar"
    assert archive.stat().st_mode & 0o077 == 0
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-700])
    with pytest.raises(InvalidInputError, match="missing or damaged"):
        restore(models, tmp_path / "b.dump", replace=True)
    archive.unlink()
    with pytest.raises(InvalidInputError, match="missing or damaged"):
        restore(models, tmp_path / "b.dump", replace=True)
    manifest = json.loads((tmp_path / "b.dump.json").read_text())
    with tarfile.open(archive, "w") as made:
        made.add(tmp_path / "b.dump.json", "../../escaped.json")
    manifest["models_sha256"] = hashlib.sha256(archive.read_bytes()).hexdigest()
    (tmp_path / "b.dump.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidInputError, match="no part of a model"):
        restore(models, tmp_path / "b.dump", replace=True)


def test_a_backup_of_a_release_without_models_is_restored(models: Settings, tmp_path: Path):
    backup(models, tmp_path / "b.dump")
    (tmp_path / "b.dump.models.tar").unlink()
    manifest = json.loads((tmp_path / "b.dump.json").read_text())
    del manifest["models"], manifest["models_sha256"]
    (tmp_path / "b.dump.json").write_text(json.dumps(manifest))
    assert restore(models, tmp_path / "b.dump", replace=True).models == {}


def test_memories_come_back_with_their_vectors(old: Settings, empty_pg_settings: Settings, tmp_path: Path):
    migrate(old)
    has_vectors = execute(old, "select to_regclass('seedcore.memory_vectors') is not null")
    execute(old, "insert into seedcore.memories (source, text, digest) values ('api', 'lamp', 'x')")
    if has_vectors:
        execute(
            old,
            "insert into seedcore.memory_vectors select id, 'm', 3, tenant, scope, tags, '[1,0,0]'"
            " from seedcore.memories",
        )
    backup(old, tmp_path / "b.dump")
    restore(empty_pg_settings, tmp_path / "b.dump")
    assert execute(empty_pg_settings, "select text from seedcore.memories where document @@ 'lamp'") == "lamp"
    if has_vectors:
        found = execute(empty_pg_settings, "select vector <=> '[1,0,0]' from seedcore.memory_vectors")
        assert float(found) == 0
