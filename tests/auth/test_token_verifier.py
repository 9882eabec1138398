"""Which tokens are believed. Every refusal is by a real key, over a real key server."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth.errors import ProviderUnavailable, Unauthenticated
from auth.providers import Provider
from auth.tokens import LocalTokens
from auth.verifier import Claims, TokenVerifier
from tests.auth.jwks_server import SUBJECT, JwksServer, by_hand, claims, jwk, sign

LOCAL = LocalTokens("dev_secret", timedelta(minutes=60))


@pytest.fixture
def verifier(idp: JwksServer) -> TokenVerifier:
    return TokenVerifier(LOCAL, [Provider(idp.issuer, "authenticated", jwks_url=idp.keys_url)])


async def refused(verifier: TokenVerifier, token: str, now: datetime) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token, now)
    assert token not in caught.value.message
    return caught.value.message


async def test_accepts_the_providers_rsa_and_ec_signatures(
    verifier: TokenVerifier,
    idp: JwksServer,
    rsa_key: rsa.RSAPrivateKey,
    ec_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> None:
    good = claims(idp.issuer, now)
    expected = Claims(SUBJECT, idp.issuer, "ana@example.com", now + timedelta(hours=1))
    assert await verifier.verify(sign(good, rsa_key), now) == expected
    assert await verifier.verify(sign(good, ec_key, "ec-1", "ES256"), now) == expected
    listed = claims(idp.issuer, now, aud=["other", "authenticated"])
    assert await verifier.verify(sign(listed, rsa_key), now) == expected


async def test_a_local_token_dies_with_its_hour(verifier: TokenVerifier, now: datetime) -> None:
    user = uuid4()
    token, seconds = LOCAL.issue(user, now)
    assert seconds == 3_600
    assert (await verifier.verify(token, now + timedelta(seconds=3_599))).subject == user
    message = await refused(verifier, token, now + timedelta(minutes=60))
    assert message == "The access token has expired."
    await refused(verifier, token, now + timedelta(minutes=61))


async def test_without_now_it_goes_by_the_clock(verifier: TokenVerifier) -> None:
    token, _ = LOCAL.issue(uuid4(), datetime.now(UTC))
    await verifier.verify(token)
    old, _ = LOCAL.issue(uuid4(), datetime.now(UTC) - timedelta(hours=2))
    with pytest.raises(Unauthenticated, match="expired"):
        await verifier.verify(old)


async def test_refuses_a_local_token_under_another_secret(
    verifier: TokenVerifier, now: datetime
) -> None:
    token, _ = LocalTokens("another", timedelta(hours=1)).issue(uuid4(), now)
    assert "signature" in await refused(verifier, token, now)


async def test_without_local_accounts_local_tokens_are_strangers(
    idp: JwksServer, now: datetime
) -> None:
    verifier = TokenVerifier(None, [Provider(idp.issuer, "authenticated", jwks_url=idp.keys_url)])
    assert "issuer" in await refused(verifier, LOCAL.issue(uuid4(), now)[0], now)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exp": None}, "no exp"),
        ({"iat": None}, "no iat"),
        ({"sub": None}, "no sub"),
        ({"aud": None}, "no aud"),
        ({"iss": None}, "issuer is unknown"),
        ({"iss": "https://evil.example/auth/v1"}, "issuer is unknown"),
        ({"iss": ["a", "b"]}, "issuer is unknown"),
        ({"sub": "auth0|1234"}, "not a UUID"),
        ({"sub": "{" + str(SUBJECT) + "}"}, "not a UUID"),
        ({"sub": SUBJECT.hex}, "not a UUID"),
        ({"sub": 7}, "not a UUID"),
        ({"aud": "other"}, "another audience"),
        ({"aud": ["other"]}, "another audience"),
        ({"aud": {"authenticated": 1}}, "another audience"),
        ({"exp": 1_000_000}, "expired"),
        ({"exp": "tomorrow"}, "not a time"),
        ({"exp": True}, "not a time"),
        ({"exp": 10**30}, "not a time"),
        ({"exp": -1}, "not a time"),
        ({"iat": []}, "not a time"),
        ({"nbf": {}}, "not a time"),
    ],
)
async def test_refuses_wrong_claims_under_a_good_signature(
    *,
    verifier: TokenVerifier,
    idp: JwksServer,
    rsa_key: rsa.RSAPrivateKey,
    now: datetime,
    changes: dict[str, Any],
    said: str,
) -> None:
    body = json.dumps(claims(idp.issuer, now, **changes)).encode()
    token = jwt.PyJWS().encode(body, rsa_key, "RS256", {"kid": "rsa-1"})
    assert said in await refused(verifier, token, now)


@pytest.mark.parametrize("value", [b"Infinity", b"NaN", b"1e400"])
async def test_refuses_times_that_are_no_numbers(
    verifier: TokenVerifier, now: datetime, value: bytes
) -> None:
    body = json.dumps(claims("auspex", now, aud="auspex", exp=0)).encode()
    body = body.replace(b'"exp": 0', b'"exp": ' + value)
    token = by_hand({"alg": "HS256", "typ": "JWT"}, body, LOCAL.key)
    assert "not a time" in await refused(verifier, token, now)


@pytest.mark.parametrize("name", ["nbf", "iat"])
async def test_the_future_may_begin_ten_seconds_early(
    verifier: TokenVerifier,
    idp: JwksServer,
    rsa_key: rsa.RSAPrivateKey,
    now: datetime,
    name: str,
) -> None:
    second = int(now.timestamp())
    await verifier.verify(sign(claims(idp.issuer, now, **{name: second + 10}), rsa_key), now)
    early = sign(claims(idp.issuer, now, **{name: second + 11}), rsa_key)
    assert "not valid yet" in await refused(verifier, early, now)


async def test_refuses_hmac_keyed_with_the_public_key(
    verifier: TokenVerifier, idp: JwksServer, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}
    for key in (public, public.strip()):
        forged = by_hand(header, claims(idp.issuer, now), key)
        assert "algorithm" in await refused(verifier, forged, now)
    assert idp.fetches == 0  # refused before a key was looked for


async def test_refuses_hmac_in_a_providers_name_with_our_own_key(
    verifier: TokenVerifier, idp: JwksServer, now: datetime
) -> None:
    token = by_hand({"alg": "HS256", "typ": "JWT"}, claims(idp.issuer, now), LOCAL.key)
    assert "algorithm" in await refused(verifier, token, now)


async def test_refuses_a_provider_that_speaks_in_our_name(
    verifier: TokenVerifier, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    token = sign(claims("auspex", now, aud="auspex"), rsa_key)
    assert "algorithm" in await refused(verifier, token, now)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 5, ["RS256"], "RS512", "PS256"])
async def test_refuses_unsigned_tokens_and_other_algorithms(
    verifier: TokenVerifier, idp: JwksServer, now: datetime, alg: object
) -> None:
    for issuer in (idp.issuer, "auspex"):
        for key in (b"", b"x" * 32):
            token = by_hand({"alg": alg, "kid": "rsa-1"}, claims(issuer, now), key)
            await refused(verifier, token, now)
    assert idp.fetches == 0


async def test_refuses_another_key_under_a_known_id(
    verifier: TokenVerifier, idp: JwksServer, other_rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    token = sign(claims(idp.issuer, now), other_rsa_key, "rsa-1")
    assert "signature" in await refused(verifier, token, now)


async def test_never_follows_the_tokens_own_pointers(
    verifier: TokenVerifier, idp: JwksServer, other_rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    elsewhere = f"{idp.address}/stolen"
    for pointers in (
        {"kid": elsewhere, "jku": elsewhere, "x5u": elsewhere},
        {"kid": "rsa-1", "jwk": jwk("rsa-1", other_rsa_key)},
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1"},
    ):
        token = jwt.encode(claims(idp.issuer, now), other_rsa_key, "RS256", pointers)
        await refused(verifier, token, now)
    assert set(idp.asked) == {"/auth/v1/.well-known/jwks.json"}


async def test_refuses_an_ec_key_for_an_rsa_signature(
    verifier: TokenVerifier,
    idp: JwksServer,
    rsa_key: rsa.RSAPrivateKey,
    ec_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> None:
    good = claims(idp.issuer, now)
    assert "unknown key" in await refused(verifier, sign(good, rsa_key, "ec-1"), now)
    assert "unknown key" in await refused(verifier, sign(good, ec_key, "rsa-1", "ES256"), now)


async def test_refuses_an_algorithm_that_this_provider_may_not_use(
    idp: JwksServer, ec_key: ec.EllipticCurvePrivateKey, now: datetime
) -> None:
    provider = Provider(idp.issuer, "authenticated", ("RS256",), idp.keys_url)
    token = sign(claims(idp.issuer, now), ec_key, "ec-1", "ES256")
    assert "algorithm" in await refused(TokenVerifier(None, [provider]), token, now)


async def test_one_provider_cannot_sign_for_another(
    idp: JwksServer, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    second = JwksServer()
    second.publish(jwk("rsa-1", other_rsa_key))
    try:
        both = [
            Provider(server.issuer, "authenticated", jwks_url=server.keys_url)
            for server in (idp, second)
        ]
        verifier = TokenVerifier(LOCAL, both)
        await verifier.verify(sign(claims(second.issuer, now), other_rsa_key), now)
        token = sign(claims(second.issuer, now), rsa_key)
        assert "signature" in await refused(verifier, token, now)
    finally:
        second.stop()


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "....",
        "a.b.c",
        "é.é.é",
        "\ud800.a.b",
        "\x00.\x00.\x00",
        "x" * 8_193,
        by_hand({"alg": "HS256"}, []),
        by_hand({"alg": "HS256"}, "text"),
        by_hand({"alg": "HS256"}, b"\xff\xfe"),
        by_hand({"alg": "HS256"}, b"[" * 5_000),
        by_hand({"alg": "HS256"}, b'{"iss":' * 700),
        by_hand({"alg": "HS256"}, b'{"iss": ' + b"9" * 5_000 + b"}"),
        by_hand({"alg": "HS256", "kid": 5}, {"iss": "auspex"}),
        by_hand({"alg": "HS256", "crit": ["exp"], "exp": 1}, {"iss": "auspex"}),
        by_hand({"alg": "HS256", "crit": ["b64"], "b64": False}, b""),
    ],
    ids=range(18),
)
async def test_garbage_is_refused_and_nothing_falls(
    verifier: TokenVerifier, now: datetime, token: str
) -> None:
    with pytest.raises(Unauthenticated):
        await verifier.verify(token, now)


@pytest.mark.parametrize(
    "email", [None, "", 5, "a" * 255, "a\x00@b.c", "a\nb@c.d", "\ud800@b.c", ["a@b.c"]]
)
async def test_an_email_that_could_not_be_stored_is_left_out(
    verifier: TokenVerifier, now: datetime, email: object
) -> None:
    payload = claims("auspex", now, aud="auspex", email=email)
    token = by_hand({"alg": "HS256", "typ": "JWT"}, payload, LOCAL.key)
    assert (await verifier.verify(token, now)).email is None


async def test_a_provider_out_of_reach_says_so(rsa_key: rsa.RSAPrivateKey, now: datetime) -> None:
    issuer = "http://127.0.0.1:9/auth/v1"
    verifier = TokenVerifier(LOCAL, [Provider.supabase("", issuer=issuer)])
    with pytest.raises(ProviderUnavailable) as caught:
        await verifier.verify(sign(claims(issuer, now), rsa_key), now)
    assert (caught.value.code, caught.value.status) == ("UNAUTHENTICATED", 401)
    assert "can't be reached" in caught.value.message
    await verifier.verify(LOCAL.issue(uuid4(), now)[0], now)  # the others come in all the same
    await verifier.close()


def test_two_issuers_of_one_name_are_refused(idp: JwksServer) -> None:
    provider = Provider(idp.issuer, "a", jwks_url=idp.keys_url)
    with pytest.raises(ValueError, match="same name"):
        TokenVerifier(LOCAL, [provider, provider])
    with pytest.raises(ValueError, match="same name"):
        TokenVerifier(LOCAL, [Provider("auspex", "a", jwks_url=idp.keys_url)])
