"""Tokens of an OpenID Connect issuer as keys, against an issuer that answers over HTTP."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from seedcore.errors import SettingsError, UnauthorizedError
from seedcore.settings import Settings, load_settings
from seedcore.web.access.caller import CallerDep
from seedcore.web.access.issuer_keys import AGAIN_S
from seedcore.web.access.oidc import LEEWAY_S, OidcVerifier
from tests.web.application import client_of, make_app, refused

from .issuer import Issuer

pytestmark = pytest.mark.integration


@pytest.fixture
def issuer(starts_server: None) -> Iterator[Issuer]:
    made = Issuer()
    made.add_key("a")
    made.add_key("e", "EC")
    yield made
    made.close()


@pytest.fixture
async def http(issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(oidc_issuer=issuer.url)

    @app.get("/who")
    async def who(caller: CallerDep) -> list[Any]:
        return [caller.name, caller.kind, caller.tenant, caller.payloads, sorted(caller.scopes)]

    async with client_of(app) as client:
        yield client
    await app.state.access.aclose()


async def who(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.get("/who", headers={"Authorization": f"Bearer {token}"})


async def use_until_refused(verifier: OidcVerifier, token: bytes) -> None:
    async with asyncio.timeout(10):
        while True:
            await verifier.caller(token)
            await asyncio.sleep(0.05)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(("kid", "alg"), [("a", "RS256"), ("e", "ES256")])
async def test_a_token_is_a_key_with_the_rights_in_its_claims(
    http: httpx.AsyncClient, issuer: Issuer, kid: str, alg: str
):
    token = issuer.token(kid, alg, seedcore_scopes=["admin", "other"], seedcore_tenant="*", seedcore_payloads=False)
    answer = await who(http, token)
    assert answer.json() == ["ann", "oidc", None, False, ["admin"]]
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    assert (await who(http, token)).status_code == 200
    assert len(issuer.asked) == 2, "keys are cached"


async def test_without_a_tenant_a_token_is_not_the_platforms(http: httpx.AsyncClient, issuer: Issuer):
    refused(await who(http, issuer.token(seedcore_scopes="admin")), 403, "platform_only")
    refused(await who(http, issuer.token(seedcore_tenant="Not Allowed")), 401, "unauthorized")
    refused(await who(http, issuer.token(seedcore_scopes=None, seedcore_tenant="*")), 403, "missing_scope")


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"sub": "a\nb"},
    ],
)
async def test_a_token_for_another_time_or_place_is_401(http: httpx.AsyncClient, issuer: Issuer, changed: Any):
    refused(await who(http, issuer.token(**{"seedcore_tenant": "*", **changed})), 401, "unauthorized")


async def test_a_token_that_the_issuer_did_not_sign_is_401(http: httpx.AsyncClient, issuer: Issuer):
    claims = issuer.claims(seedcore_scopes="admin", seedcore_tenant="*")
    good = issuer.token(seedcore_scopes="admin", seedcore_tenant="*")
    head, _, signature = good.split(".")
    pem = (
        issuer.private["a"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    # The public key as the secret of an HMAC: what a verifier does that believes the token's own `alg`.
    body = f"{part({'alg': 'HS256', 'kid': 'a'})}.{part(claims)}"
    mac = base64.urlsafe_b64encode(hmac.digest(pem, body.encode(), hashlib.sha256)).rstrip(b"=").decode()
    issuer.add_key("mine", publish=False)
    forged = issuer.token("mine", seedcore_scopes="admin", seedcore_tenant="*")
    for token in (
        f"{part({'alg': 'none', 'kid': 'a'})}.{part(claims)}.",
        f"{part({'alg': 'None', 'kid': 'a'})}.{part(claims)}.{signature}",
        f"{body}.{mac}",
        f"{head}.{part(claims | {'sub': 'eve'})}.{signature}",
        f"{part({'alg': 'ES256', 'kid': 'a'})}.{part(claims)}.{signature}",
        f"{part({'alg': 'RS256', 'kid': 'e'})}.{part(claims)}.{signature}",
        f"{part({'alg': 'RS256'})}.{part(claims)}.{signature}",
        f"{part({'alg': 'RS256', 'kid': 'a', 'jwk': issuer.published[0]})}.{part(claims)}.{signature}",
        good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        f"{part('text')}.{part('text')}.x",
        "eyJ.eyJ.",
        forged,
    ):
        refused(await who(http, token), 401, "unauthorized")
    assert (await who(http, good)).status_code == 200


async def test_a_symmetric_key_is_not_used_even_if_the_issuer_publishes_it(issuer: Issuer, settings: Settings):
    issuer.published.append({"kty": "oct", "kid": "s", "k": base64.urlsafe_b64encode(b"secret" * 8).decode()})
    import jwt

    token = jwt.encode(issuer.claims(), "secret" * 8, algorithm="HS256", headers={"kid": "s"})
    verifier = OidcVerifier(load_settings(oidc_issuer=issuer.url))
    with pytest.raises(UnauthorizedError):
        await verifier.caller(token.encode())
    await verifier.aclose()


async def test_a_new_key_of_the_issuer_is_fetched_at_most_once_a_minute(issuer: Issuer):
    now = 1000.0
    verifier = OidcVerifier(load_settings(oidc_issuer=issuer.url), clock=lambda: now)
    await verifier.caller(issuer.token().encode())
    issuer.add_key("b")
    for _ in range(5):
        with pytest.raises(UnauthorizedError, match="does not publish"):
            await verifier.caller(issuer.token("b").encode())
    assert issuer.asked.count("/keys") == 1
    now += AGAIN_S + 1
    assert (await verifier.caller(issuer.token("b").encode())).name == "ann"
    assert issuer.asked.count("/keys") == 2
    await verifier.aclose()


async def test_a_token_is_not_remembered_beyond_its_end(issuer: Issuer):
    verifier = OidcVerifier(load_settings(oidc_issuer=issuer.url))
    token = issuer.token(exp=int(time.time() - LEEWAY_S) + 2).encode()
    await verifier.caller(token)
    with pytest.raises(UnauthorizedError, match="expired"):
        await use_until_refused(verifier, token)
    await verifier.aclose()


async def test_while_the_issuer_is_away_nothing_unknown_is_let_in():
    app = make_app(oidc_issuer="http://127.0.0.1:1")
    async with client_of(app) as client:
        answer = await who(client, "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJ4In0.AAAA")
        refused(answer, 503, "unavailable")
    await app.state.access.aclose()


@pytest.mark.parametrize("issuer_url", ["http://issuer.example", "ftp://x", "issuer.example"])
def test_an_issuer_is_asked_over_https(issuer_url: str):
    with pytest.raises(SettingsError, match="SEEDCORE_OIDC_ISSUER"):
        load_settings(oidc_issuer=issuer_url)
