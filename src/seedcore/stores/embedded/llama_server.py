"""The embedded language model: prepares, starts and stops llama.cpp's server of `xllamacpp` in a process of its own.

It listens on a free port of loopback, keeps that over restarts while it can, and answers only those who have its key.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from seedcore.errors import SettingsError, UnavailableError
from seedcore.stores.embedded.llama_files import api_key, key_file, make_key
from seedcore.stores.embedded.lock_files import ServerAddress, ServerFiles, ServerOptions
from seedcore.stores.embedded.os_processes import (
    Account,
    alive,
    command_line,
    find_all,
    free_port,
    kill_all,
    send,
    wait_until,
)

HOST = "127.0.0.1"
PROGRAM = Path(__file__).with_name("llama_program.py")


class LlamaServer:
    """llama.cpp's server, as the supervisor handles it."""

    # A large model is read from disk first.
    start_timeout_s = 600.0

    def __init__(self, files: ServerFiles, options: ServerOptions) -> None:
        self._data_dir = files.data_dir.resolve()
        self._model = Path(options["model"])
        self._name = options["model_name"]
        self._numbers = [str(options["context_tokens"]), str(options["threads"])]
        self._site = Path(options["package_dir"]).parent
        self._account = Account(os.geteuid(), os.getegid())
        self._port = 0

    def prepare(self) -> None:
        """Make the key; the model must be there."""
        if not self._model.is_file():
            raise SettingsError(f"LLM_MODEL_PATH={str(self._model)!r} is not a file.")
        with self._model.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise SettingsError(f"LLM_MODEL_PATH={str(self._model)!r} is not a GGUF file.")
        make_key(self._data_dir)

    def find(self) -> int | None:
        """The pid of the server of this data directory, if it was started with the same options."""
        wanted = self._arguments(0)[:-1]
        for pid in find_all(os.geteuid(), self._is_ours):
            *given, port, _ = command_line(pid)
            if given[-len(wanted) :] == wanted:
                self._port = int(port)
                return pid
        return None

    def clear(self) -> None:
        """End one that hangs, or has another model."""
        if not kill_all(os.geteuid(), self._is_ours):
            raise UnavailableError(f"An earlier language model's server of {self._data_dir} does not end when killed.")

    def start(self, lock_fd: int, log_fd: int) -> "subprocess.Popen[bytes]":
        """Start it."""
        self._port = free_port(HOST, self._port)
        return self._account.popen(
            [sys.executable, "-S", "-P", PROGRAM, *self._arguments(self._port)],
            env={"PYTHONPATH": str(self._site)},
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=[lock_fd],
            start_new_session=True,
        )

    def ready(self, pid: int) -> ServerAddress | None:
        """Where to connect, once the model is loaded."""
        if not self._answers():
            return None
        return {
            "uri": f"http://{HOST}:{self._port}",
            "socket": [HOST, self._port],
            "version": f"llama.cpp ({self._name})",
            "major": 0,
        }

    def intact(self) -> bool:
        """True: no other process can take its port."""
        return True

    def stop(self, pid: int) -> None:
        """End it; it has nothing to write."""
        send(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), timeout_s=5)
        self.clear()

    def _answers(self) -> bool:
        """Whether `/health` says 200; 503 means that it still loads."""
        request = f"GET /health HTTP/1.0\r\nAuthorization: Bearer {api_key(self._data_dir)}\r\n\r\n"
        try:
            with socket.create_connection((HOST, self._port), timeout=2) as connection:
                connection.sendall(request.encode())
                return b" 200 " in connection.recv(64)
        except OSError:
            return False

    def _arguments(self, port: int) -> list[str]:
        """Of the program; the key is not among them, as every user sees a command line."""
        return [str(key_file(self._data_dir)), str(self._model), self._name, *self._numbers, str(port)]

    def _is_ours(self, argv: list[str]) -> bool:
        return str(PROGRAM) in argv and str(key_file(self._data_dir)) in argv
