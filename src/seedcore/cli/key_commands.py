"""`seedcore key`: stored keys are made, listed, rotated and revoked, over HTTP."""

import json
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

import typer

from seedcore.cli.durations import seconds_of
from seedcore.cli.gateway_call import call_gateway
from seedcore.settings import load_settings

KEYS = "/api/v1/keys"

key_app = typer.Typer(help="API keys: make, list, rotate, revoke. Needs a key with the scope `admin`.")

Name = Annotated[str, typer.Argument(help="The key's name.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="Whose key it is.")]
Expiry = Annotated[str | None, typer.Option("--expires-in", help="How long it is valid: 90d, 12h, 30m, or seconds.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value.")]


@key_app.command("create")
def create(
    name: Name,
    scope: Annotated[list[str], typer.Option("--scope", help="read, submit, approve, operate or admin; several.")],
    tenant: OfTenant = None,
    expires_in: Expiry = None,
    no_payloads: Annotated[bool, typer.Option("--no-payloads", help="It may not see params and results.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print its secret: it cannot be read again. Exit status: 0 made, 1 refused, 2 a bad argument."""
    body: dict[str, object] = {"name": name, "scopes": list(scope)}
    if tenant is not None:
        body["tenant"] = tenant
    if expires_in is not None:
        body["expires_in_s"] = seconds_of(expires_in)
    if no_payloads:
        body["payloads"] = False
    _print_secret(call_gateway(load_settings(), "POST", KEYS, body=body), as_json)


@key_app.command("list")
def list_all(tenant: OfTenant = None, as_json: AsJson = False) -> None:
    """Keys without their secrets, the newest first."""
    settings = load_settings()
    items: list[dict[str, object]] = []
    cursor = None
    while True:
        query = {"tenant": tenant, "cursor": cursor, "limit": 500}
        page = call_gateway(settings, "GET", KEYS, query=query)
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    if as_json:
        print(json.dumps(items, indent=2))
        return
    for item in items:
        print("  ".join(str(part) for part in _columns(item)))


@key_app.command("rotate")
def rotate(
    name: Name,
    grace: Annotated[str, typer.Option("--grace", help="How long the old secret goes on: 5m, 1h, or seconds.")] = "5m",
    expires_in: Expiry = None,
    tenant: OfTenant = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, and print it; the old one goes on for the grace."""
    body: dict[str, object] = {"grace_s": seconds_of(grace)}
    if expires_in is not None:
        body["expires_in_s"] = seconds_of(expires_in)
    path = f"{KEYS}/{quote(name, safe='')}/rotate"
    _print_secret(call_gateway(load_settings(), "POST", path, body=body, query={"tenant": tenant}), as_json)


@key_app.command("revoke")
def revoke(name: Name, tenant: OfTenant = None) -> None:
    """Revoke a key: it is refused within a second."""
    call_gateway(load_settings(), "DELETE", f"{KEYS}/{quote(name, safe='')}", query={"tenant": tenant})
    print(f"{name} revoked")


def _print_secret(made: dict[str, object], as_json: bool) -> None:
    if as_json:
        shown = ("name", "key", "scopes", "tenant", "payloads", "expires_at")
        print(json.dumps({name: made[name] for name in shown}))
    else:
        print(made["key"])


def _columns(item: dict[str, object]) -> Sequence[object]:
    scopes = item["scopes"]
    named = ",".join(map(str, scopes)) if isinstance(scopes, list) else scopes
    used = item["last_used_at"] or "never used"
    return item["name"], item["tenant"] or "(platform)", named, item["state"], item["expires_at"] or "no expiry", used
