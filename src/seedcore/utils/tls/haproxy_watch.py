"""Hands new certificates to a running HAProxy: `haproxy_watch.py PID SOCKET NAME CERT KEY`.

It runs beside each HAProxy and ends with it. Only the standard library: every import is memory for as long as HTTP is
served. HAProxy takes a certificate over its administration socket between two handshakes: connections that are open
go on.
"""

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path

EVERY_S = 2.0
TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1
Stamp = tuple[tuple[int, int, int], ...]


def main(arguments: list[str]) -> None:
    """Watch until HAProxy, the process that started this one, has gone."""
    haproxy, admin, name, *paths = arguments
    parent = int(haproxy)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    files = [Path(path) for path in paths]
    # HAProxy may have read others than this would see now: the first look hands over what is there.
    taken: Stamp = ()
    said = ""
    while os.getppid() == parent:
        time.sleep(EVERY_S)
        now = stamp(files)
        if now in (taken, ()):
            continue
        refusal = replace(admin, name, files)
        if not refusal:
            taken, said = now, ""
            _say(f"certificate {files[0]} replaced")
        elif refusal != said:
            # One of the two files may be written before the other: the next look finds both.
            said = refusal
            _say(f"the new certificate {files[0]} cannot be used yet, the old one stays: {refusal}")


def stamp(files: list[Path]) -> Stamp:
    """What changes when a file does; empty while one is missing. Kubernetes replaces files by turning a link."""
    try:
        found = [path.stat() for path in files]
    except OSError:
        return ()
    return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in found)


def replace(admin: str, name: str, files: list[Path]) -> str:
    """Let HAProxy use what the files hold now under the name that its configuration has; why it refused, or nothing."""
    try:
        text = "\n".join(path.read_text() for path in files)
        # An empty line ends what is handed over.
        pem = "\n".join(line for line in text.splitlines() if line.strip())
        answer = _ask(admin, f"set ssl cert {name} <<\n{pem}\n\n")
        if "Transaction created" not in answer and "Transaction updated" not in answer:
            return " ".join(answer.split()) or "no answer"
        answer = _ask(admin, f"commit ssl cert {name}\n")
        if "Success" in answer:
            return ""
        _ask(admin, f"abort ssl cert {name}\n")
    except (OSError, ValueError) as error:
        return str(error)
    return " ".join(answer.split()) or "no answer"


def _ask(admin: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(admin)
        connection.sendall(command.encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode(errors="replace")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
