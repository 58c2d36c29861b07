"""Finds which applications are ready: by their health, and by Serve's log for those that cannot start."""

import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from seedcore.cli.launch.serve_config import Application

PROBE_TIMEOUT_S = 2.0
_FAILURE = re.compile(r"Deploying app '\w+' failed with exception|The deployment failed to start \d+ times in a row")


def waiting_for(url: str, applications: Sequence[Application], context: ssl.SSLContext | None = None) -> dict[str, str]:
    """The applications that are not healthy, and why; `context` is what HTTPS is held against."""
    reasons = {application.name: probe(url + application.health_path, context) for application in applications}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def probe(url: str, context: ssl.SSLContext | None = None) -> str | None:
    """Why the application is not ready; None when it is."""
    # A proxy variable in the environment must not send a call to this machine elsewhere.
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=PROBE_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        return f"{error.code} {_explanation(error)}"
    except OSError as error:
        return f"does not answer yet ({getattr(error, 'reason', error)})"


def deployment_failure(log: Path) -> str | None:
    """What Serve logged about an application that it has given up; without the dashboard, only the log says so."""
    found = _FAILURE.search(text := log.read_text(errors="replace"))
    return "\n".join(text[found.start() :].splitlines()[:30]) if found else None


def _explanation(error: urllib.error.HTTPError) -> str:
    body = error.read(10_000)
    try:
        document = json.loads(body)
    except ValueError:
        return HTTPStatus(error.code).phrase
    return json.dumps(document)[:500]
