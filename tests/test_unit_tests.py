"""Unit tests open no socket, and what uses a server is no unit test."""

import asyncio
import contextlib
import socket

import pytest

from tests.support.no_sockets import no_sockets


@pytest.mark.parametrize("method", ["connect", "connect_ex", "bind"])
def test_whoever_opens_a_socket_is_told_the_marker_even_where_the_error_is_caught(method: str) -> None:
    with (
        pytest.raises(AssertionError, match="mark it `integration`"),
        no_sockets("test_it"),
        socket.socket() as some,
        pytest.raises(RuntimeError, match="test_it opens a socket"),
    ):
        getattr(some, method)(("127.0.0.1", 1))


async def test_an_event_loop_and_a_pair_of_sockets_need_no_marker() -> None:
    one, other = socket.socketpair()
    with contextlib.closing(one), contextlib.closing(other):
        one.sendall(b"x")
        assert await asyncio.to_thread(other.recv, 1) == b"x"


def test_what_asks_for_a_database_is_an_integration_test(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("integration") is None
    marked = {
        item.name
        for item in request.session.items
        if "postgres_server" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("integration")
    }
    assert not marked
