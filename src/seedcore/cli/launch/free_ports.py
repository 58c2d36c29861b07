"""Finds free ports in a row."""

import socket


def free_block(blocks: range, size: int, seed: int) -> int | None:
    """The first port of a block whose ports are all free, the search of each `seed` starting elsewhere; None: none."""
    for step in range(len(blocks)):
        start = blocks[(seed + step) % len(blocks)]
        if all(is_free(port) for port in range(start, start + size)):
            return start
    return None


def is_free(port: int) -> bool:
    """Whether the port is free on every interface."""
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
