"""People of an outside identity provider (checklist U2-U9, U43, U76, X4, X5)."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import select

from db.models import User
from db.models.accounts import Role
from schema.edge.services import Services
from tests.accounts.test_accounts import LOGIN, REGISTER
from tests.auth.jwks_server import SUBJECT, JwksServer, claims, jwk, sign
from tests.clients import Api, SignIn
from tests.factories import make_user, right_now

RSA_KEY = rsa.generate_private_key(65_537, 2_048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ME = "{ me { uuid email username role profile { timeZone } } }"


@pytest.fixture
def provider() -> Iterator[JwksServer]:
    server = JwksServer()
    server.publish(jwk("rsa-1", RSA_KEY), jwk("ec-1", EC_KEY))
    yield server
    server.stop()


@pytest.fixture
def settings_variables(provider: JwksServer) -> dict[str, str]:
    return {"SUPABASE_JWKS_URL": provider.keys_url}


def token(provider: JwksServer, **changes: object) -> str:
    return sign(claims(provider.issuer, right_now(), **changes), RSA_KEY)


async def people(services: Services) -> list[tuple[object, ...]]:
    async with services.database.read() as reader:
        rows = await reader.execute(select(User.id, User.email, User.role, User.issuer))
        return [tuple(row) for row in rows]


async def test_the_first_sight_of_a_subject_makes_its_row(
    provider: JwksServer, services: Services, api: Api
) -> None:
    person = api.as_(token(provider))
    me = (await person(ME))["me"]
    assert me == {
        "uuid": str(SUBJECT),
        "email": "ana@example.com",
        "username": None,
        "role": "USER",
        "profile": {"timeZone": "America/Bogota"},
    }
    assert (await person(ME))["me"] == me
    assert await people(services) == [(SUBJECT, "ana@example.com", "USER", provider.issuer)]


async def test_es256_is_believed_as_well(provider: JwksServer, api: Api) -> None:
    signed = sign(claims(provider.issuer, right_now()), EC_KEY, "ec-1", "ES256")
    assert (await api.as_(signed)(ME))["me"]["uuid"] == str(SUBJECT)


async def test_an_account_without_an_address_has_none(provider: JwksServer, api: Api) -> None:
    assert (await api.as_(token(provider, email=None))(ME))["me"]["email"] is None


async def test_a_changed_address_follows_the_provider(provider: JwksServer, api: Api) -> None:
    await api.as_(token(provider))(ME)
    moved = await api.as_(token(provider, email="ana@new.example"))(ME)
    assert moved["me"]["email"] == "ana@new.example"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"nbf": 2**31},
        {"aud": "somebody else"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"sub": "not a uuid"},
        {"sub": None},
        {"iat": None},
    ],
)
async def test_a_wrong_claim_is_unauthenticated_and_makes_no_row(
    provider: JwksServer, services: Services, api: Api, changes: dict[str, object]
) -> None:
    assert (await api.as_(token(provider, **changes))(ME)).code == "UNAUTHENTICATED"
    assert await people(services) == []


async def test_a_role_in_the_token_counts_for_nothing(provider: JwksServer, api: Api) -> None:
    me = (await api.as_(token(provider, role="ADMIN", app_metadata={"role": "ADMIN"}))(ME))["me"]
    assert me["role"] == "USER"


async def test_a_provider_cannot_speak_for_a_local_account(
    provider: JwksServer, services: Services, api: Api
) -> None:
    admin = await make_user(services.database, role=Role.ADMIN)
    stolen = token(provider, sub=str(admin.id))
    assert (await api.as_(stolen)(ME)).code == "UNAUTHENTICATED"
    assert [row[3] for row in await people(services)] == ["local"]


async def test_an_address_registered_here_does_not_lock_its_owner_out(
    provider: JwksServer, api: Api
) -> None:
    squatter = {"username": "squat", "email": "ana@example.com", "password": "test123"}
    assert (await api(REGISTER, input=squatter))["register"]["accessToken"]
    me = (await api.as_(token(provider))(ME))["me"]
    assert me["email"] == "ana@example.com"
    assert me["uuid"] == str(SUBJECT)


async def test_local_accounts_live_beside_outside_ones(
    provider: JwksServer, sign_in: SignIn
) -> None:
    person, user = await sign_in()
    assert (await person(ME))["me"]["uuid"] == str(user.id)


async def test_a_local_token_for_an_outside_person_is_not_ours_to_give(
    provider: JwksServer, services: Services, api: Api
) -> None:
    await api.as_(token(provider))(ME)
    forged, _ = services.tokens.issue(SUBJECT, right_now())
    assert (await api.as_(forged)(ME)).code == "UNAUTHENTICATED"


class TestOutsideOnly:
    @pytest.fixture
    def settings_variables(self, provider: JwksServer) -> dict[str, str]:
        return {"SUPABASE_JWKS_URL": provider.keys_url, "AUTH_MODE": "supabase"}

    async def test_registering_and_logging_in_are_switched_off(self, api: Api) -> None:
        account = {"username": "ana", "email": "a@example.com", "password": "test123"}
        assert (await api(REGISTER, input=account)).code == "FEATURE_DISABLED"
        login = {"username": "ana", "password": "test123"}
        assert (await api(LOGIN, input=login)).code == "FEATURE_DISABLED"

    async def test_local_tokens_are_not_believed(self, services: Services, api: Api) -> None:
        user = await make_user(services.database)
        signed, _ = services.tokens.issue(user.id, right_now())
        assert (await api.as_(signed)(ME)).code == "UNAUTHENTICATED"


class TestAnyIssuer:
    @pytest.fixture
    def settings_variables(self, provider: JwksServer) -> dict[str, str]:
        discovery = "/auth/v1/.well-known/openid-configuration"
        provider.documents[discovery] = {"issuer": provider.issuer, "jwks_uri": provider.keys_url}
        return {"OIDC_ISSUER": provider.issuer, "OIDC_AUDIENCE": "auspex-app"}

    async def test_an_openid_provider_is_found_by_its_discovery_document(
        self, provider: JwksServer, api: Api
    ) -> None:
        assert (await api.as_(token(provider, aud="auspex-app"))(ME))["me"]
        assert (await api.as_(token(provider))(ME)).code == "UNAUTHENTICATED"


async def test_tokens_of_many_people_make_many_rows_once(
    provider: JwksServer, services: Services, api: Api
) -> None:
    subjects = [uuid4() for _ in range(3)]
    for subject in subjects * 2:
        await api.as_(token(provider, sub=str(subject)))(ME)
    assert {row[0] for row in await people(services)} == set(subjects)


async def test_a_token_of_the_day_before_is_unauthenticated(provider: JwksServer, api: Api) -> None:
    old = claims(provider.issuer, right_now() - timedelta(days=1))
    assert (await api.as_(sign(old, RSA_KEY))(ME)).code == "UNAUTHENTICATED"
