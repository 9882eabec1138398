"""An identity provider on 127.0.0.1: real HTTP, keys made here."""

import asyncio
import base64
import hmac
import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

SUBJECT = UUID("7d3c2f4e-0c51-4b0e-9a39-52c4f6a0e7aa")
KEYS_PATH = "/auth/v1/.well-known/jwks.json"


def jwk(kid: str, private: PrivateKey, **changes: object) -> dict[str, Any]:
    if isinstance(private, RSAPrivateKey):
        entry = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        entry = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {**entry, "kid": kid, "use": "sig", **changes}


class JwksServer:
    """Answers every path with `documents[path]`; counts what it was asked for."""

    def __init__(self) -> None:
        self.documents: dict[str, object] = {}
        self.asked: list[str] = []
        self._answers = threading.Event()
        self._answers.set()
        self.status = 200
        self.headers: dict[str, str] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def issuer(self) -> str:
        return f"{self.address}/auth/v1"

    @property
    def keys_url(self) -> str:
        return self.address + KEYS_PATH

    @property
    def fetches(self) -> int:
        return self.asked.count(KEYS_PATH)

    def publish(self, *keys: Mapping[str, Any]) -> None:
        self.documents[KEYS_PATH] = {"keys": keys}

    def hold(self) -> None:
        """Takes requests, and answers none until `release`."""
        self._answers.clear()

    def release(self) -> None:
        self._answers.set()

    async def until_asked(self, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while len(self.asked) < times:  # noqa: ASYNC110 - it is asked in other threads
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer._answers.wait(60)
                document = outer.documents.get(self.path)
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                with suppress(OSError):  # whoever asked has hung up
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        return Handler


def sign(
    claims: Mapping[str, Any], private: PrivateKey, kid: str | None = "rsa-1", alg: str = "RS256"
) -> str:
    return jwt.encode(dict(claims), private, alg, {"kid": kid} if kid else None)


def claims(issuer: str, now: datetime, **changes: object) -> dict[str, Any]:
    """Good ones; `changes` replace some, None takes one away."""
    good = {
        "iss": issuer,
        "aud": "authenticated",
        "sub": str(SUBJECT),
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(hours=1)).timestamp()),
        "email": "ana@example.com",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def by_hand(header: Mapping[str, Any], payload: object, key: bytes = b"") -> str:
    """A token that no library would make: any header, and an HMAC (or no) signature."""
    signed = ".".join(map(_encode, (json.dumps(header).encode(), _body(payload))))
    signature = hmac.digest(key, signed.encode(), "sha256") if key else b""
    return f"{signed}.{_encode(signature)}"


def _body(payload: object) -> bytes:
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
