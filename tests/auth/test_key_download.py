"""What we take from a provider over HTTP, and what we leave."""

import socket
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from auth.key_download import LARGEST_ANSWER, DownloadError, download_keys
from auth.providers import Provider
from tests.auth.jwks_server import KEYS_PATH, JwksServer, jwk

PATIENT = 30.0
"""Seconds, where how long it may take is not what the test is about."""

DISCOVERY_PATH = "/auth/v1/.well-known/openid-configuration"


def provider_at(idp: JwksServer) -> Provider:
    return Provider(idp.issuer, "authenticated", jwks_url=idp.keys_url)


def test_finds_the_keys_through_discovery(idp: JwksServer) -> None:
    idp.documents[DISCOVERY_PATH] = {"issuer": idp.issuer, "jwks_uri": idp.keys_url}
    keys = download_keys(Provider(idp.issuer, "me"), PATIENT)
    assert [key.key_id for key in keys] == ["rsa-1", "ec-1"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"issuer": "http://other", "jwks_uri": "http://127.0.0.1/"}, "another issuer"),
        ({}, "another issuer"),
        ({"jwks_uri": "file:///etc/passwd"}, "no usable jwks_uri"),
        ({"jwks_uri": "ftp://127.0.0.1/keys"}, "no usable jwks_uri"),
        ({"jwks_uri": 5}, "no usable jwks_uri"),
        ({"jwks_uri": None}, "no usable jwks_uri"),
    ],
)
def test_refuses_a_wrong_discovery_document(
    idp: JwksServer, document: dict[str, object], said: str
) -> None:
    own = {"issuer": idp.issuer} if "jwks_uri" in document and "issuer" not in document else {}
    idp.documents[DISCOVERY_PATH] = own | document
    with pytest.raises(DownloadError, match=said):
        download_keys(Provider(idp.issuer, "me"), PATIENT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_follows_no_redirect(idp: JwksServer, rsa_key: rsa.RSAPrivateKey, status: int) -> None:
    idp.documents["/elsewhere"] = {"keys": [jwk("evil", rsa_key)]}
    idp.status = status
    idp.headers["Location"] = "/elsewhere"
    with pytest.raises(DownloadError, match=f"HTTP status {status}"):
        download_keys(provider_at(idp), PATIENT)
    assert idp.asked == [KEYS_PATH]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"<html>", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        ({}, "not a key set"),
        ({"keys": "rsa"}, "not a key set"),
        ({"keys": []}, "no usable key"),
        ({"keys": [1, None, "a", [], {}]}, "no usable key"),
        (b" " * (LARGEST_ANSWER + 1), "too large"),
    ],
)
def test_refuses_what_is_no_key_set(idp: JwksServer, document: object, said: str) -> None:
    idp.documents[KEYS_PATH] = document
    with pytest.raises(DownloadError, match=said):
        download_keys(provider_at(idp), PATIENT)


def test_gives_up_on_silence(idp: JwksServer) -> None:
    idp.hold()
    with pytest.raises(DownloadError, match="TimeoutError"):
        download_keys(provider_at(idp), 0.2)


def test_gives_up_on_a_trickle() -> None:
    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4_096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            try:
                for _ in range(600):
                    connection.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                pass  # hung up, as it should

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.perf_counter()
        with pytest.raises(DownloadError, match="took too long"):
            # Enough for each byte by far, and not for all of them.
            download_keys(Provider(address, "me", jwks_url=address), 1.5)
        assert time.perf_counter() - began < 20
        thread.join()


def test_nobody_listens() -> None:
    with pytest.raises(DownloadError, match="URLError"):
        download_keys(Provider("http://127.0.0.1:9", "me", jwks_url="http://127.0.0.1:9/k"), 1)


@pytest.mark.parametrize("address", ["http://", "http://[::1", "http://a b/", "http://h:port/"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(DownloadError):
        download_keys(Provider("http://127.0.0.1:9", "me", jwks_url=address), 1)
