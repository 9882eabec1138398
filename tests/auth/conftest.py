from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.auth.clocks import Clock
from tests.auth.jwks_server import JwksServer, jwk
from tests.databases import redis_url as numbered_redis_url

RATE_LIMIT_REDIS = 14
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@pytest.fixture(scope="session")
def other_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@pytest.fixture(scope="session")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def idp(rsa_key: rsa.RSAPrivateKey, ec_key: ec.EllipticCurvePrivateKey) -> Iterator[JwksServer]:
    """An identity provider with the keys `rsa-1` and `ec-1`."""
    server = JwksServer()
    server.publish(jwk("rsa-1", rsa_key), jwk("ec-1", ec_key))
    yield server
    server.stop()


@pytest.fixture
def redis_url() -> str:
    """A database that no other test empties while these count in it."""
    return numbered_redis_url(RATE_LIMIT_REDIS)


@pytest.fixture
def caller() -> str:
    """Somebody whom no other test counts."""
    return uuid4().hex
