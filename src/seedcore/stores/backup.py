"""Back up the database and the models, and restore them: `seedcore backup`, `seedcore restore`.

A file is pg_dump's custom format beside a manifest (`FILE.json`) with the number of rows of every table, counted in the
very snapshot that was dumped. A restore counts again, so that a restore that ends well is complete. Since the dump
is logical, it is also the way from one PostgreSQL major to the next. The models are in an archive beside it
(`FILE.models.tar`).
"""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from seedcore.errors import ConflictError, InvalidInputError, UnavailableError
from seedcore.settings import Settings
from seedcore.stores.backups import model_archive
from seedcore.stores.backups.pg_programs import environment_of, program_for
from seedcore.stores.migrate import newest
from seedcore.stores.postgres import resolve_dsn
from seedcore.telemetry.logs import mask

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMA = "seedcore"
_ASIDE = "seedcore_before_restore"
_VECTORS = frozenset({"memory_vectors", "graph_vectors"})
_SHARED = ("--no-owner", "--no-privileges")


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What a backup holds.

    Attributes:
        schema_version: revision of the migrations.
        server: version of the PostgreSQL that it came from.
        sha256: of the dump.
        rows: of every table, by its name; partitions count by themselves.
        models: SHA-256 of the manifest of each version in the archive of models, see `model_archive.pack`.
        models_sha256: of that archive; None: there is none (a backup of an earlier release).
    """

    schema_version: str
    server: str
    sha256: str
    rows: dict[str, int]
    models: dict[str, str] = field(default_factory=dict)
    models_sha256: str | None = None

    @property
    def total(self) -> int:
        """Rows in all."""
        return sum(self.rows.values())


def backup(settings: Settings, target: Path) -> BackupManifest:
    """Write `target` (.json, .models.tar) while everything runs; what is there is replaced only when all is done.

    Raises:
        UnavailableError: the database refuses, pg_dump fails, or the models cannot be read.
        ConflictError: there is no schema to back up.
    """
    draft, models = target.with_name(f"{target.name}.new"), target.with_name(f"{target.name}.models.new")
    with _connected(settings) as connection:
        connection.execute("begin transaction isolation level repeatable read read only")
        snapshot = str(_one(connection, "select pg_export_snapshot()"))
        version = _version(connection)
        if version is None:
            raise ConflictError("This database holds no SeedCore: there is nothing to back up.")
        rows = _rows(connection)
        server = str(_one(connection, "show server_version"))
        try:
            # No other user may read what tasks hold.
            draft.touch(mode=0o600)
            _run("pg_dump", connection, "--format=custom", f"--snapshot={snapshot}", f"--schema={SCHEMA}",
                 f"--file={draft}", *_SHARED)  # fmt: skip
            versions = model_archive.pack(settings.models_dir, models)
            manifest = BackupManifest(version, server, _digest(draft), rows, versions, _digest(models))
            draft.replace(target)
            models.replace(_models_of(target))
        finally:
            draft.unlink(missing_ok=True)
            models.unlink(missing_ok=True)
    _manifest_of(target).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    return manifest


def restore(settings: Settings, source: Path, *, replace: bool = False) -> BackupManifest:
    """Restore what `source` holds, all or nothing, and count it; versions of models that are missing are unpacked.

    Args:
        settings: the database that gets it; with `replace`, what SeedCore has there now goes once all is back.
        source: a file that `backup` wrote.
        replace: false refuses a database that has a SeedCore schema.

    Raises:
        InvalidInputError: the file is missing, damaged, or newer than this release.
        ConflictError: the database is in use, or has a schema already; or the model folder has other models.
        UnavailableError: the database refuses, the restore fails, or what came back is not what was dumped.
    """
    manifest = _checked(source)
    with _connected(settings) as connection:
        _refuse_used(connection, replace)
        if _VECTORS & manifest.rows.keys():
            _ensure_pgvector(connection)
        with _models_beside(settings, source, manifest), _present_schema_aside(connection):
            _run_restore(connection, source)
            found = _rows(connection)
            if found != manifest.rows:
                wrong = sorted(n for n in {*found, *manifest.rows} if found.get(n) != manifest.rows.get(n))
                raise UnavailableError(f"What came back differs from the backup in {', '.join(wrong[:5])}.")
        # Statistics are not part of a dump; without them the first claims would scan.
        connection.execute("analyze")
    return manifest


@contextmanager
def _models_beside(settings: Settings, source: Path, manifest: BackupManifest) -> Iterator[None]:
    """Unpack the models first, and put them in their places when the database is restored."""
    if manifest.models_sha256 is None:
        yield
        return
    models = model_archive.Unpacking(_models_of(source), settings.models_dir, manifest.models)
    try:
        yield
        models.finish()
    finally:
        models.discard()


def _checked(source: Path) -> BackupManifest:
    path = _manifest_of(source)
    if not source.is_file() or not path.is_file():
        raise InvalidInputError(f"{source} and {path.name} beside it must be there: `seedcore backup` writes both.")
    try:
        manifest = BackupManifest(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise InvalidInputError(f"{path} is no manifest of a backup.") from None
    if _digest(source) != manifest.sha256:
        raise InvalidInputError(f"{source} is damaged: its checksum is not the manifest's.")
    models = _models_of(source)
    if manifest.models_sha256 is not None and (not models.is_file() or _digest(models) != manifest.models_sha256):
        raise InvalidInputError(f"{models} is missing or damaged: its checksum is not the manifest's.")
    if manifest.schema_version > newest():
        raise InvalidInputError(
            f"{source} has schema {manifest.schema_version}, this release knows {newest()}: restore with a newer one."
        )
    return manifest


def _manifest_of(dump: Path) -> Path:
    return dump.with_name(f"{dump.name}.json")


def _models_of(dump: Path) -> Path:
    return dump.with_name(f"{dump.name}.models.tar")


def _refuse_used(connection: "Connection[tuple[object, ...]]", replace: bool) -> None:
    version = _version(connection)
    if version is None:
        return
    if not replace:
        raise ConflictError(f"This database has a SeedCore (schema {version}): name another one, or add --replace.")
    alive = _one(connection, "select count(*) from seedcore.sessions where expires_at > now()")
    if alive:
        raise ConflictError(f"{alive} dispatchers work on this database: stop SeedCore first.")


def _ensure_pgvector(connection: "Connection[tuple[object, ...]]") -> None:
    """A dump of one schema has no extensions: what its vectors need must be there before them."""
    import psycopg

    try:
        connection.execute("create extension if not exists vector with schema public")
    except psycopg.Error as error:
        raise UnavailableError(
            "The backup holds vectors, and this database has no pgvector: install pgvector 0.8 or newer, and let a "
            f"superuser run `create extension vector`. {mask(str(error)).splitlines()[0]}"
        ) from None


@contextmanager
def _present_schema_aside(connection: "Connection[tuple[object, ...]]") -> Iterator[None]:
    """Rename the present schema; it comes back if anything fails, and goes at the end otherwise."""
    connection.execute(f"drop schema if exists {_ASIDE} cascade")
    there = _version(connection) is not None
    if there:
        connection.execute(f"alter schema {SCHEMA} rename to {_ASIDE}")
    try:
        yield
    except BaseException:
        connection.execute(f"drop schema if exists {SCHEMA} cascade")
        if there:
            connection.execute(f"alter schema {_ASIDE} rename to {SCHEMA}")
        raise
    connection.execute(f"drop schema if exists {_ASIDE} cascade")


@contextmanager
def _connected(settings: Settings) -> Iterator["Connection[tuple[object, ...]]"]:
    import psycopg

    try:
        with psycopg.connect(resolve_dsn(settings), autocommit=True, connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise UnavailableError(f"The database refuses: {mask(str(error))} (SEEDCORE_PG_DSN).") from None


def _one(connection: "Connection[tuple[object, ...]]", statement: str) -> object:
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def _version(connection: "Connection[tuple[object, ...]]") -> str | None:
    if _one(connection, "select to_regclass('seedcore.schema_version')") is None:
        return None
    return str(_one(connection, "select version_num from seedcore.schema_version"))


def _rows(connection: "Connection[tuple[object, ...]]") -> dict[str, int]:
    """Rows of every table that has some of its own, in one statement."""
    tables = connection.execute(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relkind = 'r' order by 1",
        (SCHEMA,),
    ).fetchall()
    if not tables:
        return {}
    from psycopg import sql

    counts = [
        sql.SQL("select {}, count(*) from {}").format(sql.Literal(name), sql.Identifier(SCHEMA, str(name)))
        for (name,) in tables
    ]
    found = connection.execute(sql.SQL(" union all ").join(counts)).fetchall()
    return {str(name): int(str(count)) for name, count in found}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run_restore(connection: "Connection[tuple[object, ...]]", source: Path) -> None:
    whole = (*_SHARED, "--file=-", str(source))
    psql = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    environment = environment_of(connection)
    major = connection.info.server_version // 10000
    with (
        subprocess.Popen(
            [program_for("pg_restore", connection), *whole], env=environment, stdout=subprocess.PIPE
        ) as script,
        # Of the settings at the script's head, servers before 17 do not know this one.
        subprocess.Popen(
            ["sed", "1,60{/^SET transaction_timeout = 0;$/d}" if major < 17 else ""],  # noqa: S607
            stdin=script.stdout,
            stdout=subprocess.PIPE,
        ) as fit,
    ):
        command = [program_for("psql", connection), *psql]
        done = subprocess.run(
            command, env=environment, stdin=fit.stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode or script.returncode or fit.returncode:
        raise UnavailableError(f"The restore failed: {mask(' '.join(done.stderr.split()))[:400]}")


def _run(tool: str, connection: "Connection[tuple[object, ...]]", *arguments: str) -> None:
    """Run it against the server of `connection`."""
    environment = environment_of(connection)
    program = program_for(tool, connection)
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"{tool} failed: {mask(' '.join(done.stderr.split()))[:400]}")
