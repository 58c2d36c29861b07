"""Keeps a unit test from opening sockets."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
import urllib3.util.connection  # noqa: F401 - asks once, when imported, whether it can bind to ::1


@contextlib.contextmanager
def no_sockets(test: str) -> Iterator[None]:
    """Refuse every connection and every listener in this process; a pair of connected sockets needs neither.

    Raises:
        RuntimeError: in whatever connects or binds.
        AssertionError: at the end, when something did, so that catching that error does not hide it.
    """
    attempts: list[object] = []

    def refuse(_: socket.socket, address: object) -> None:
        attempts.append(address)
        raise RuntimeError(f"{test} opens a socket ({address}): mark it `integration`")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "bind"):
            patch.setattr(socket.socket, name, refuse)
        yield
    assert not attempts, f"{test} opens sockets ({attempts}): mark it `integration`"
