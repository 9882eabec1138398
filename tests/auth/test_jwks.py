"""When the keys are fetched, and what happens meanwhile."""

import asyncio
from datetime import datetime
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.testing import capture_logs

from auth.errors import ProviderUnavailable, Unauthenticated
from auth.jwks import COOLDOWN_SECONDS, FIRST_RETRY_SECONDS, LIFESPAN_SECONDS, STALE_SECONDS, Jwks
from auth.providers import Provider
from auth.verifier import TokenVerifier
from tests.auth.clocks import Clock
from tests.auth.jwks_server import JwksServer, claims, jwk, sign


@pytest.fixture
def provider(idp: JwksServer) -> Provider:
    return Provider(idp.issuer, "authenticated", jwks_url=idp.keys_url)


@pytest.fixture
def jwks(provider: Provider, clock: Clock) -> Jwks:
    return Jwks(provider, timeout_seconds=30, clock=clock)


async def settled(jwks: Jwks) -> None:
    """The background refresh, if there is one, has ended."""
    if jwks._flight:
        await jwks._flight


async def test_fifty_at_once_make_one_fetch(
    provider: Provider, idp: JwksServer, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    idp.hold()
    verifier = TokenVerifier(None, [provider])
    token = sign(claims(idp.issuer, now), rsa_key)
    waiting = asyncio.gather(*(verifier.verify(token, now) for _ in range(50)))
    await idp.until_asked()
    idp.release()
    await waiting
    assert idp.fetches == 1


async def test_a_hundred_random_ids_make_one_fetch(
    provider: Provider, idp: JwksServer, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    verifier = TokenVerifier(None, [provider])
    for _ in range(100):
        with pytest.raises(Unauthenticated, match="unknown key"):
            await verifier.verify(sign(claims(idp.issuer, now), rsa_key, uuid4().hex), now)
    assert idp.fetches == 1
    await verifier.verify(sign(claims(idp.issuer, now), rsa_key), now)


async def test_unknown_ids_ask_again_once_a_cool_down(
    jwks: Jwks, idp: JwksServer, clock: Clock
) -> None:
    await jwks.key("rsa-1", "RS256")
    clock.seconds += COOLDOWN_SECONDS
    for _ in range(100):
        with pytest.raises(Unauthenticated):
            await jwks.key(uuid4().hex, "RS256")
    assert idp.fetches == 2


async def test_random_ids_leave_nothing_behind(jwks: Jwks, idp: JwksServer) -> None:
    await jwks.key("rsa-1", "RS256")
    before = set(vars(jwks))
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            await jwks.key(uuid4().hex, "RS256")
    assert set(vars(jwks)) == before
    assert len(jwks._keys) == 2


async def test_a_rotated_key_works_after_the_cool_down(
    jwks: Jwks, idp: JwksServer, clock: Clock, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    await jwks.key("rsa-1", "RS256")
    idp.publish(jwk("rsa-2", other_rsa_key))
    clock.seconds += COOLDOWN_SECONDS - 1
    with pytest.raises(Unauthenticated, match="unknown key"):
        await jwks.key("rsa-2", "RS256")
    clock.seconds += 1
    assert await jwks.key("rsa-2", "RS256") == other_rsa_key.public_key()
    with pytest.raises(Unauthenticated, match="unknown key"):
        await jwks.key("rsa-1", "RS256")


async def test_old_keys_serve_while_new_ones_come(
    jwks: Jwks, idp: JwksServer, clock: Clock, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    old = await jwks.key("rsa-1", "RS256")
    idp.publish(jwk("rsa-1", other_rsa_key))
    idp.hold()
    clock.seconds += LIFESPAN_SECONDS + 1
    assert await asyncio.wait_for(jwks.key("rsa-1", "RS256"), 10) == old
    await idp.until_asked(2)
    idp.release()
    await settled(jwks)
    assert await jwks.key("rsa-1", "RS256") == other_rsa_key.public_key()
    assert idp.fetches == 2


async def test_old_keys_serve_while_the_provider_is_down(
    jwks: Jwks, idp: JwksServer, clock: Clock
) -> None:
    key = await jwks.key("rsa-1", "RS256")
    idp.status = 503
    for _ in range(20):
        clock.seconds += LIFESPAN_SECONDS + 1
        assert await jwks.key("rsa-1", "RS256") == key
        assert await jwks.key("rsa-1", "RS256") == key
        await settled(jwks)
    assert idp.fetches == 21  # the first one, and one a cool-down


async def test_keys_that_nobody_confirmed_for_a_day_serve_no_more(
    jwks: Jwks, idp: JwksServer, clock: Clock
) -> None:
    key = await jwks.key("rsa-1", "RS256")
    idp.status = 503
    clock.seconds += STALE_SECONDS + 1
    with pytest.raises(ProviderUnavailable):
        await jwks.key("rsa-1", "RS256")
    idp.status = 200
    clock.seconds += COOLDOWN_SECONDS
    assert await jwks.key("rsa-1", "RS256") == key


async def test_a_provider_that_was_never_up_is_asked_every_few_seconds(
    jwks: Jwks, idp: JwksServer, clock: Clock
) -> None:
    idp.status = 500
    for _ in range(100):
        with pytest.raises(ProviderUnavailable):
            await jwks.key(uuid4().hex, "RS256")
    assert idp.fetches == 1
    idp.status = 200
    clock.seconds += FIRST_RETRY_SECONDS
    await jwks.key("rsa-1", "RS256")
    assert idp.fetches == 2


async def test_an_empty_key_set_does_not_replace_a_good_one(
    jwks: Jwks, idp: JwksServer, clock: Clock
) -> None:
    key = await jwks.key("rsa-1", "RS256")
    idp.publish()
    clock.seconds += LIFESPAN_SECONDS + 1
    await jwks.key("rsa-1", "RS256")
    await settled(jwks)
    assert await jwks.key("rsa-1", "RS256") == key


async def test_a_slow_provider_does_not_hold_up_the_loop(
    provider: Provider, idp: JwksServer, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    idp.hold()
    verifier = TokenVerifier(None, [provider])
    waiting = asyncio.create_task(verifier.verify(sign(claims(idp.issuer, now), rsa_key), now))
    # On a blocked loop nobody would come to release it, and the download would fail.
    await idp.until_asked()
    assert not waiting.done()
    idp.release()
    await waiting


async def test_a_caller_that_hangs_up_does_not_cancel_the_fetch(
    jwks: Jwks, idp: JwksServer
) -> None:
    idp.hold()
    first = asyncio.create_task(jwks.key("rsa-1", "RS256"))
    second = asyncio.create_task(jwks.key("rsa-1", "RS256"))
    await idp.until_asked()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    idp.release()
    assert await second
    assert idp.fetches == 1


async def test_without_an_id_only_a_single_key_can_be_meant(
    jwks: Jwks,
    idp: JwksServer,
    clock: Clock,
    rsa_key: rsa.RSAPrivateKey,
    other_rsa_key: rsa.RSAPrivateKey,
) -> None:
    assert await jwks.key(None, "RS256") == rsa_key.public_key()
    idp.publish(jwk("rsa-1", rsa_key), jwk("rsa-2", other_rsa_key))
    clock.seconds += LIFESPAN_SECONDS + 1
    await jwks.key(None, "RS256")
    await settled(jwks)
    with pytest.raises(Unauthenticated):
        await jwks.key(None, "RS256")


async def test_keys_of_the_wrong_kind_are_passed_over(
    jwks: Jwks, idp: JwksServer, rsa_key: rsa.RSAPrivateKey
) -> None:
    weak = rsa.generate_private_key(65_537, 1_024)
    idp.publish(
        jwk("good", rsa_key),
        jwk("weak", weak),
        jwk("encrypts", rsa_key, use="enc"),
        jwk("other-alg", rsa_key, alg="RS512"),
        jwk("curve", ec.generate_private_key(ec.SECP384R1())),
        jwk("misnamed", ec.generate_private_key(ec.SECP384R1()), alg="ES256"),
        {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0", "alg": "RS256"},
        {"kty": "oct", "kid": "hmac", "k": "c2VjcmV0"},
        {"kty": "unheard-of", "kid": "new"},
        {"kty": "RSA", "kid": "broken", "n": 5, "e": None},
        {"kty": ["RSA"], "kid": {}},
        {"kid": "no-kty"},
    )
    assert await jwks.key("good", "RS256")
    for kid in ("weak", "encrypts", "other-alg", "symmetric", "hmac", "new", "broken"):
        with pytest.raises(Unauthenticated, match="unknown key"):
            await jwks.key(kid, "RS256")
    for kid in ("curve", "misnamed"):
        with pytest.raises(Unauthenticated, match="unknown key"):
            await jwks.key(kid, "ES256")


async def test_a_failed_fetch_is_logged_without_the_token(
    provider: Provider, idp: JwksServer, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    idp.status = 500
    token = sign(claims(idp.issuer, now), rsa_key)
    with capture_logs() as logs, pytest.raises(ProviderUnavailable):
        await TokenVerifier(None, [provider]).verify(token, now)
    (entry,) = logs
    assert entry["event"] == "jwks_fetch_failed"
    assert entry["reason"] == "HTTP status 500"
    assert token.rpartition(".")[2] not in str(logs)


async def test_closing_ends_a_fetch_under_way(jwks: Jwks, idp: JwksServer) -> None:
    idp.hold()
    waiting = asyncio.create_task(jwks.key("rsa-1", "RS256"))
    await idp.until_asked()
    await jwks.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    idp.release()
