"""An OpenID Connect issuer on this machine: it serves discovery and keys over HTTP, and signs tokens."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class Issuer:
    """Keys by their ids; `asked` counts requests by path."""

    def __init__(self) -> None:
        self.private: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                document = {
                    "/.well-known/openid-configuration": {"issuer": outer.url, "jwks_uri": f"{outer.url}/keys"},
                    "/keys": {"keys": outer.published},
                }[self.path]
                text = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def add_key(self, kid: str, kind: str = "RSA", *, publish: bool = True) -> None:
        """Make a key."""
        key: Any
        if kind == "RSA":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            public = json.loads(ECAlgorithm.to_jwk(key.public_key()))
        self.private[kid] = key
        if publish:
            self.published.append({**public, "kid": kid, "use": "sig"})

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a good token, changed; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": "seedcore", "sub": "ann", "iat": now, "exp": now + 300,
            "seedcore_scopes": "read", **changed,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, kid: str = "a", alg: str = "RS256", **changed: Any) -> str:
        """A signed token."""
        return jwt.encode(self.claims(**changed), self.private[kid], algorithm=alg, headers={"kid": kid})

    def close(self) -> None:
        """Stop serving."""
        self.http.shutdown()
        self.http.server_close()
