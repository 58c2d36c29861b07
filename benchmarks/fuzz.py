"""Requests that no client means: `python -m benchmarks.fuzz --seconds 600 URL` sends them to a running SeedCore.

Every operation of every application, from its own OpenAPI document: requests that fit it, requests that do not (both
made by schemathesis), and requests with one value replaced by something that has broken services before. It prints
every answer of 500 and every refusal that is no problem document, and ends with 1 when there was one. It changes the
data of the SeedCore that it is sent to: use one of your own for that.
"""

import argparse
import contextlib
import copy
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import httpx
import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

APPLICATIONS = ("", "/pipeline", "/ml", "/cognitive", "/state", "/energy", "/organism")
PROBLEM = "application/problem+json"
SHOWN = 1000
"""Characters of a request that are printed."""

RAW = {"@raw:exponent@": "1e4300", "@raw:digits@": "9" * 5000, "@raw:nan@": "NaN", "@raw:zero@": "-0.0"}
TEXTS = [
    "",
    "\0",
    "a\0b",
    "x" * 256,
    "x" * 5000,
    "\u0663",
    "%00",
    "../../etc",
    "'\"\\",
    "\u202e",
    "2026-13-45",
    "1_000",
]
VALUES: list[Any] = [
    *TEXTS, "\ud800", "\udfff\ud800", *RAW, None, True, [], {}, [[]], {"": None}, {"\0": 1}, {"\ud800": 1}, 0, -1,
    2**31, 2**63, -(2**63) - 1, 2**70, 1e308, 5e-324, 0.5,
]  # fmt: skip
BODIES = [
    b"", b"null", b"[]", b'"', b'{"a": 1', b"\xff\xfe", b'{"\xff": 1}', b"[" * 5000, b'{"a":' * 900 + b"1" + b"}" * 900,
    b"9" * 5000,
]  # fmt: skip
HEADERS = [b"\xff", b"\xc3\xa9", b"", b"x" * 5000, b"9" * 30, b"-1", b"3:3:~9:9:~0", b"\xed\xa0\x80", b'W/"\xff"']
ESCAPED = ["%00", "%ff", "%ed%a0%80", "x" * 300, "9" * 30, "..%2f..", "%f0%9f%98%80", "%7f", "\u0663"]


# Requests that are carried out: what is broken in them comes further than what fits a schema by chance.
_ECHO = {"type": "echo", "params": {"value": [1, {"a": "b"}]}, "queue": "fuzz"}
_TABLE = [[1, 2, 0], [2, 1, 1], [1, 3, 0], [3, 1, 1], [1, 4, 0], [4, 1, 1]]
WORKING: dict[str, Any] = {
    "POST /api/v1/tasks": {**_ECHO, "idempotency_key": "k", "domain": "d", "run_after": "2030-01-01T00:00:00Z"},
    "POST /api/v1/tasks/batch": {"tasks": [_ECHO]},
    "POST /api/v1/schedules": {"id": "fuzz", "cron": "0 0 1 1 *", "timezone": "UTC", "task": _ECHO},
    "POST /decide": {"tasks": [{"type": "echo", "priority": 1, "domain": "d"}]},
    "POST /anomaly-triage": {"stream": "fuzz", "data": [1.0, 2.0] * 15, "dry_run": True, "context": {"a": "b"}},
    "POST /detect/anomaly": {"data": [1.0, 2.0, 1.5] * 9},
    "POST /drift/score": {"reference": [[1.0, 2.0], [2.0, 1.0]] * 50, "observations": [[1.0, 2.0]], "arl0": 100},
    "POST /xgboost/train": {"name": "fuzz", "columns": ["a", "b", "y"], "label_column": "y", "rows": _TABLE},
    "POST /xgboost/predict": {"name": "fuzz", "features": {"a": 1, "b": 2}},
    "POST /unified-state": {"agent_ids": ["a"], "organ_ids": ["utility"], "max_age_s": 5},
    "POST /flywheel/result": {"outcomes": 10, "failures": 1},
    "POST /resolve-route": {"type": "echo", "domain": "d"},
    "POST /execute-on-organ": {"organ_id": "utility", "task": {"type": "echo", "params": {"value": 1}}},
    "POST /plan-task": {"goal": "summary", "inputs": {"text": "a"}},
    "POST /reason-about-failure": {"stream": "echo", "window_s": 60},
    "POST /make-decision": {"options": [{"name": "a", "cost": 1}, {"name": "b", "cost": 2}], "beliefs": {"agent": 1}},
}


@dataclass
class Sent:
    """One request, as bytes go out."""

    operation: str
    method: str
    url: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def __str__(self) -> str:
        shown = self.body if len(self.body) < 400 else self.body[:400] + b"..."
        return f"{self.method} {self.url} {self.headers} {shown!r}"


@dataclass
class Answer:
    """What came back."""

    status: int
    content_type: str
    body: str


def fault(answer: Answer) -> str | None:
    """What is wrong with an answer, whatever was asked."""
    if answer.status == 500:
        return f"500: {answer.body[:500]}"
    if answer.status >= 400 and answer.content_type != PROBLEM and '"service"' not in answer.body:
        return f"{answer.status} is no problem document but {answer.content_type or 'nothing'}: {answer.body[:300]}"
    return None


@dataclass(frozen=True)
class Plan:
    """How much is sent to each operation: `examples` requests in each of the modes, and each with one thing in it
    replaced in `broken` ways; no operation is begun after `until` (of `time.monotonic`)."""

    examples: int
    broken: int
    modes: tuple[GenerationMode, ...] = (GenerationMode.POSITIVE,)
    seed: int = 0
    until: float = math.inf

    @property
    def over(self) -> bool:
        return time.monotonic() > self.until


def fuzz(
    document: dict[str, Any], ask: Callable[[Sent], Answer], plan: Plan, prefix: str = ""
) -> Iterator[tuple[Sent, str]]:
    """Ask everything that a document describes; yields the requests that went wrong, each with the reason."""
    for position, made in enumerate(schemathesis.openapi.from_dict(document).get_all_operations()):
        if position and plan.over:
            return
        operation = made.ok()
        for mode in plan.modes:
            yield from _try(operation.as_strategy(generation_mode=mode), ask, plan, prefix)


def _try(
    cases: st.SearchStrategy[schemathesis.Case], ask: Callable[[Sent], Answer], plan: Plan, prefix: str
) -> list[tuple[Sent, str]]:
    found: list[tuple[Sent, str]] = []

    @hypothesis.seed(plan.seed)
    @hypothesis.settings(
        max_examples=plan.examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases, st.integers(0, 2**32))
    def one(case: schemathesis.Case, number: int) -> None:
        whole, rng = _sent(case, prefix), random.Random(number)
        bases, working = [whole], WORKING.get(case.operation.label)
        if working is not None:
            bases.append(replace(whole, body=json.dumps(working).encode(), headers=_as_json(whole.headers)))
        broken = (_broken(rng.choice(bases), bases[-1], rng) for _ in range(plan.broken))
        for sent in (*bases, *_each_parameter(case, whole, prefix), *broken):
            reason = fault(ask(sent))
            found.extend([] if reason is None else [(sent, reason)])

    # Unsatisfiable: nothing that does not fit can be made, such as for a request without parameters.
    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
        one()
    return found


def _sent(case: schemathesis.Case, prefix: str) -> Sent:
    prepared = requests.Request(**case.as_transport_kwargs(base_url=f"http://localhost{prefix}")).prepare()
    assert prepared.method is not None
    assert prepared.url is not None
    body = prepared.body or b""
    return Sent(
        case.operation.label,
        prepared.method,
        prepared.url.removeprefix("http://localhost"),
        [(_latin(name), _latin(value)) for name, value in prepared.headers.items()],
        body if isinstance(body, bytes) else body.encode(errors="surrogatepass"),
    )


def _latin(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", errors="surrogatepass")


def _each_parameter(case: schemathesis.Case, whole: Sent, prefix: str) -> Iterator[Sent]:
    """The same request with each of its parameters replaced by each of what has broken services."""
    path, _, query = whole.url.partition("?")
    for name in [item.name for item in case.operation.query] or ["x"]:
        rest = "&".join(part for part in query.split("&") if part and not part.startswith(f"{name}="))
        yield from (replace(whole, url=f"{path}?{name}={value}&{rest}".rstrip("&")) for value in ESCAPED)
    values = {name: quote(str(value), safe="") for name, value in (case.path_parameters or {}).items()}
    for name in values:
        yield from (replace(whole, url=prefix + case.path.format(**{**values, name: value})) for value in ESCAPED)
    for name in [item.name for item in case.operation.headers]:
        others = [item for item in whole.headers if item[0].lower() != name.lower().encode()]
        yield from (replace(whole, headers=[*others, (name.encode(), value)]) for value in HEADERS)


def _broken(base: Sent, working: Sent, rng: random.Random) -> Sent:
    """A request with one thing in its body or its description replaced."""
    if base.method not in ("POST", "PUT", "PATCH") or rng.random() < 0.1:
        name = rng.choice([b"content-type", b"content-encoding", b"accept", b"x-api-key", b"if-match"])
        others = [item for item in base.headers if item[0].lower() != name]
        return replace(base, headers=[*others, (name, rng.choice(HEADERS))])
    return _body(base, rng) if rng.random() < 0.2 else _leaf(working, rng)


def _body(whole: Sent, rng: random.Random) -> Sent:
    return replace(whole, body=rng.choice(BODIES), headers=_as_json(whole.headers))


def _leaf(whole: Sent, rng: random.Random) -> Sent:
    try:
        document = json.loads(whole.body)
    except (ValueError, RecursionError):
        return _body(whole, rng)
    text = json.dumps(_replaced(document, rng))
    for name, literal in RAW.items():
        text = text.replace(f'"{name}"', literal)
    return replace(whole, body=text.encode(), headers=_as_json(whole.headers))


def _replaced(document: Any, rng: random.Random) -> Any:
    """The document with a value somewhere in it replaced."""
    document = copy.deepcopy(document)
    parent, key, value = None, None, document
    while isinstance(value, dict | list) and value and (parent is None or rng.random() < 0.7):
        parent = value
        key = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = value[key]
    if parent is None:
        return rng.choice(VALUES)
    parent[key] = copy.deepcopy(rng.choice(VALUES))
    return document


def _as_json(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept = [item for item in headers if item[0].lower() not in (b"content-length", b"content-type")]
    return [*kept, (b"content-type", b"application/json")]


def main() -> int:
    """Send requests to a running SeedCore until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", help="one of SEEDCORE_API_KEYS")
    given = parser.parse_args()
    http = httpx.Client(base_url=given.url, timeout=70, headers={"x-api-key": given.key} if given.key else {})
    end, seed, asked, faults = time.monotonic() + given.seconds, given.seed, 0, set()

    def ask(sent: Sent) -> Answer:
        nonlocal asked
        asked += 1
        headers = [item for item in sent.headers if item[0].lower() not in (b"content-length", b"x-api-key")]
        try:
            with http.stream(sent.method, sent.url, headers=headers, content=sent.body or None) as answer:
                kind = answer.headers.get("content-type", "")
                return Answer(answer.status_code, kind, "" if kind.startswith("text/event") else answer.read().decode())
        except (httpx.LocalProtocolError, httpx.InvalidURL):
            return Answer(0, "", "")  # what this client cannot send

    while time.monotonic() < end:
        for prefix in APPLICATIONS:
            document = http.get(f"{prefix}/openapi.json").raise_for_status().json()
            plan = Plan(5, 5, tuple(GenerationMode), seed, end)
            for sent, reason in fuzz(document, ask, plan, prefix):
                if (sent.operation, reason) not in faults:
                    faults.add((sent.operation, reason))
                    print(f"{str(sent)[:SHOWN]}\n  {reason}", flush=True)
        seed += 1
    print(f"{asked} requests, {len(faults)} faults, seeds {given.seed} to {seed}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
