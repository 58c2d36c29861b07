"""`seedcore key` and `seedcore audit`, as an operator runs them against a gateway."""

import json
import re

import pytest

from .conftest import Command

pytestmark = pytest.mark.integration


def test_a_key_is_made_used_rotated_and_revoked(command: Command):
    text = command("key", "create", "ci", "--scope", "read", "--scope", "admin", "--expires-in", "90d", "--json")
    made = json.loads(text)
    assert (made["name"], made["scopes"], made["payloads"]) == ("ci", ["read", "admin"], True)
    [listed] = json.loads(command("key", "list", "--json", key=made["key"]))
    assert (listed["name"], listed["state"]) == ("ci", "active")
    assert "key" not in listed
    new = command("key", "rotate", "ci", "--grace", "1h", key=made["key"]).strip()
    assert re.fullmatch(r"sc_[\w-]{43}", new)
    assert len(command("key", "list", key=new).splitlines()) == 2
    assert command("key", "revoke", "ci") == "ci revoked\n"
    assert "revoked" in command("key", "list", key=new, status=1)


def test_a_tenants_key_without_payloads_is_made(command: Command):
    made = json.loads(command("key", "create", "w", "--scope", "submit", "--tenant", "acme", "--no-payloads", "--json"))
    assert (made["tenant"], made["payloads"]) == ("acme", False)
    assert "scope 'admin'" in command("key", "list", key=made["key"], status=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "create", "a", "--scope", "root"),
        ("key", "create", "a"),
        ("key", "create", "a", "--scope", "read", "--expires-in", "soon"),
        ("audit", "--since", "yesterday"),
    ],
)
def test_a_wrong_argument_ends_with_2(command: Command, arguments: tuple[str, ...]):
    command(*arguments, status=2)


def test_the_audit_log_is_shown_and_exported(command: Command):
    command("key", "create", "ci", "--scope", "read")
    command("key", "revoke", "ci")
    rows = json.loads(command("audit", "--since", "1h", "--json"))
    assert [(row["action"], row["target"]) for row in rows] == [
        ("DELETE /api/v1/keys/{name}", "ci"),
        ("POST /api/v1/keys", "ci"),
    ]
    lines = command("audit", "--export", "--action", "POST /api/v1/keys").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [rows[1]["id"]]
    shown = command("audit", "--actor", "setting-1")
    assert "DELETE /api/v1/keys/{name}  ci" in shown.splitlines()[0]
    assert command("audit", "--since", "2000-01-01", "--until", "2000-01-02") == ""
