"""Registering, logging in, and who one is (checklist C2-C7, U5, U43, F41)."""

import asyncio
from base64 import b64encode
from datetime import timedelta
from uuid import uuid4

import httpx
import jwt
import pytest
from sqlalchemy import func, select

from db.models import User
from db.models.accounts import Role
from db.session import Database
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_user, right_now

REGISTER = """
mutation register($input: RegisterInput!) {
  register(input: $input) {
    accessToken tokenType expiresIn
    user { uuid username email role profile { isNewUser isFrequent segments timeZone } }
    userErrors { code message field }
  }
}
"""
LOGIN = """
mutation login($input: LoginInput!) {
  login(input: $input) { accessToken tokenType expiresIn userErrors { code message field } }
}
"""
ANA = {"username": "ana", "email": "ana@example.com", "password": "test123"}


async def accounts(database: Database) -> int:
    async with database.read() as reader:
        return (await reader.execute(select(func.count()).select_from(User))).scalar_one()


async def test_registering_signs_in(api: Api) -> None:
    answer = (await api(REGISTER, input=ANA))["register"]
    assert answer["userErrors"] == []
    assert (answer["tokenType"], answer["expiresIn"]) == ("bearer", 3600)
    assert answer["user"]["profile"] == {
        "isNewUser": True,
        "isFrequent": False,
        "segments": ["NEW"],
        "timeZone": "America/Bogota",
    }
    me = (await api.as_(answer["accessToken"])("{ me { uuid username email role } }"))["me"]
    assert me == {
        "uuid": answer["user"]["uuid"],
        "username": "ana",
        "email": "ana@example.com",
        "role": "USER",
    }


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"username": ""}, "REQUIRED", "username"),
        ({"username": "an"}, "TOO_SHORT", "username"),
        ({"username": "a" * 41}, "INVALID", "username"),
        ({"username": "a@b.example"}, "INVALID", "username"),
        ({"username": "a\u0007b"}, "INVALID", "username"),
        ({"email": "ana"}, "INVALID", "email"),
        ({"email": "ana@"}, "INVALID", "email"),
        ({"password": "five5"}, "TOO_SHORT", "password"),
        ({"password": "é" * 600}, "INVALID", "password"),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_is_stored(
    api: Api, services: Services, change: dict[str, str], code: str, field: str
) -> None:
    answer = (await api(REGISTER, input=ANA | change))["register"]
    assert answer["accessToken"] is None
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [(code, ["input", field])]
    assert await accounts(services.database) == 0


async def test_all_wrong_values_are_named_at_once(api: Api) -> None:
    wrong = {"username": "x", "email": "x", "password": "x"}
    answer = (await api(REGISTER, input=wrong))["register"]
    assert {e["field"][1] for e in answer["userErrors"]} == {"username", "email", "password"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "other@example.com", "username": "ANA"}, "username"),
        ({"email": "ANA@example.com", "username": "other"}, "email"),
    ],
)
async def test_a_name_or_address_is_taken_whatever_its_case(
    api: Api, services: Services, change: dict[str, str], field: str
) -> None:
    await api(REGISTER, input=ANA)
    answer = (await api(REGISTER, input=ANA | change))["register"]
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [("TAKEN", ["input", field])]
    assert await accounts(services.database) == 1


async def test_of_people_registering_one_name_at_once_one_gets_it(
    api: Api, services: Services
) -> None:
    answers = await asyncio.gather(*(api(REGISTER, input=ANA) for _ in range(8)))
    won = [a for a in answers if a["register"]["accessToken"]]
    assert len(won) == 1
    assert await accounts(services.database) == 1


@pytest.mark.parametrize("name", ["ana", "ANA", "ana@example.com", " ana "])
async def test_logging_in_takes_the_name_or_the_address(api: Api, name: str) -> None:
    await api(REGISTER, input=ANA)
    answer = (await api(LOGIN, input={"username": name, "password": "test123"}))["login"]
    assert answer["userErrors"] == []
    assert (await api.as_(answer["accessToken"])("{ me { username } }"))["me"]["username"] == "ana"


async def test_unknown_user_and_wrong_password_are_told_alike(api: Api) -> None:
    await api(REGISTER, input=ANA)
    wrong = (await api(LOGIN, input={"username": "ana", "password": "wrong!!"}))["login"]
    unknown = (await api(LOGIN, input={"username": "nobody", "password": "wrong!!"}))["login"]
    assert wrong == unknown
    assert wrong["userErrors"][0]["code"] == "BAD_CREDENTIALS"
    assert wrong["accessToken"] is None


async def test_the_eleventh_login_in_five_minutes_has_to_wait(api: Api) -> None:
    wrong = {"username": "ana", "password": "wrong!!"}
    for _ in range(10):
        assert (await api(LOGIN, input=wrong)).code is None
    answer = await api(LOGIN, input=wrong)
    assert answer.code == "RATE_LIMITED"
    assert answer.errors[0]["extensions"]["retryAfter"] > 0


async def test_a_token_past_its_hour_is_unauthenticated(api: Api, services: Services) -> None:
    user = await make_user(services.database)
    for age, code in ((59, None), (61, "UNAUTHENTICATED")):
        issued = right_now() - timedelta(minutes=age)
        token, _ = services.tokens.issue(user.id, issued)
        assert (await api.as_(token)("{ me { id } }")).code == code


async def test_a_token_of_a_deleted_account_is_unauthenticated(
    api: Api, services: Services
) -> None:
    token, _ = services.tokens.issue(uuid4(), right_now())
    assert (await api.as_(token)("{ me { id } }")).code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Bearer", "Token abc", "Basic !!!", "Bearer a.b.c"]
)
async def test_a_malformed_authorization_is_unauthenticated(api: Api, header: str) -> None:
    answer = await api("{ me { id } }", headers={"Authorization": header})
    assert answer.code == "UNAUTHENTICATED"


async def test_a_wrong_token_does_not_close_public_fields(api: Api) -> None:
    answer = await api.as_("nonsense")("{ health { status } }")
    assert answer["health"] == {"status": "ok"}


async def test_a_token_signed_by_somebody_else_is_unauthenticated(
    api: Api, services: Services
) -> None:
    user = await make_user(services.database)
    claims = {"sub": str(user.id), "iss": "auspex", "aud": "auspex", "exp": 2**31, "iat": 0}
    forged = jwt.encode(claims, "k" * 32, "HS256")
    assert (await api.as_(forged)("{ me { id } }")).code == "UNAUTHENTICATED"


async def test_basic_is_off_unless_switched_on(api: Api) -> None:
    await api(REGISTER, input=ANA)
    basic = "Basic " + b64encode(b"ana:test123").decode()
    answer = await api("{ me { id } }", headers={"Authorization": basic})
    assert answer.code == "UNAUTHENTICATED"


class TestBasic:
    @pytest.fixture
    def settings_variables(self) -> dict[str, str]:
        return {"ALLOW_BASIC_AUTH": "true"}

    @pytest.mark.parametrize(
        ("password", "code"), [("test123", None), ("wrong", "UNAUTHENTICATED")]
    )
    async def test_basic_works_where_it_is_on(
        self, api: Api, password: str, code: str | None
    ) -> None:
        await api(REGISTER, input=ANA)
        basic = "Basic " + b64encode(f"ana:{password}".encode()).decode()
        assert (await api("{ me { id } }", headers={"Authorization": basic})).code == code


UPDATE_PROFILE = """
mutation update($input: ProfileInput!) {
  updateProfile(input: $input) {
    profile { location { latitude longitude } timeZone } userErrors { code field message }
  }
}
"""
HOME = {"latitude": 4.6097, "longitude": -74.0817}


async def test_a_profile_keeps_what_is_not_given_and_forgets_a_null_location(
    sign_in: SignIn,
) -> None:
    person, _ = await sign_in()
    await person(UPDATE_PROFILE, input={"location": HOME})
    kept = (await person(UPDATE_PROFILE, input={"timeZone": "Europe/Madrid"}))["updateProfile"]
    assert kept["profile"] == {"location": HOME, "timeZone": "Europe/Madrid"}
    gone = (await person(UPDATE_PROFILE, input={"location": None}))["updateProfile"]
    assert gone["profile"] == {"location": None, "timeZone": "Europe/Madrid"}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"location": {"latitude": 90.1, "longitude": 0}}, "OUT_OF_RANGE", "latitude"),
        ({"location": {"latitude": 0, "longitude": -180.5}}, "OUT_OF_RANGE", "longitude"),
        ({"timeZone": "Mars/Olympus"}, "INVALID", "timeZone"),
        ({"timeZone": ""}, "INVALID", "timeZone"),
        ({"username": "x"}, "TOO_SHORT", "username"),
    ],
)
async def test_a_wrong_profile_value_is_named_and_nothing_changes(
    sign_in: SignIn, change: dict[str, object], code: str, field: str
) -> None:
    person, _ = await sign_in()
    await person(UPDATE_PROFILE, input={"location": HOME})
    answer = (await person(UPDATE_PROFILE, input=change))["updateProfile"]
    assert answer["profile"] is None
    assert [(e["code"], e["field"][-1]) for e in answer["userErrors"]] == [(code, field)]
    mine = await person("{ me { profile { location { latitude } timeZone } } }")
    assert mine["me"]["profile"] == {
        "location": {"latitude": HOME["latitude"]},
        "timeZone": "America/Bogota",
    }


async def test_a_new_name_that_is_taken_is_refused(sign_in: SignIn) -> None:
    _, other = await sign_in()
    person, me = await sign_in()
    taken = {"username": (other.username or "").upper()}
    answer = (await person(UPDATE_PROFILE, input=taken))["updateProfile"]
    assert answer["userErrors"][0]["code"] == "TAKEN"
    assert (await person("{ me { username } }"))["me"]["username"] == me.username


UPDATE_USER = """
mutation update($id: ID!, $input: UserInput!) {
  updateUser(id: $id, input: $input) {
    user { role profile { isNewUser isFrequent segments } } userErrors { code field }
  }
}
"""


async def test_an_admin_overrides_the_derived_flags_and_gives_them_back(sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    _, user = await sign_in()
    frequent = {"isNewUser": False, "isFrequent": True}
    answer = (await admin(UPDATE_USER, id=str(user.id), input=frequent))["updateUser"]
    assert answer["user"]["profile"] == {**frequent, "segments": ["FREQUENT"]}
    back = (await admin(UPDATE_USER, id=str(user.id), input={"isNewUser": None}))["updateUser"]
    assert back["user"]["profile"]["isNewUser"] is True
    assert back["user"]["profile"]["isFrequent"] is True


async def test_a_role_given_by_an_admin_counts_from_the_next_request(sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    person, user = await sign_in()
    query = '{ trainingRun(id: "00000000-0000-4000-8000-000000000001") { id } }'
    assert (await person(query)).code == "FORBIDDEN"
    await admin(UPDATE_USER, id=str(user.id), input={"role": "ADMIN"})
    assert (await person(query)).code is None


async def test_only_an_admin_changes_people(sign_in: SignIn) -> None:
    person, user = await sign_in(Role.MERCHANT)
    answer = await person(UPDATE_USER, id=str(user.id), input={"role": "ADMIN"})
    assert answer.code == "FORBIDDEN"
    assert (await person("{ me { role } }"))["me"]["role"] == "MERCHANT"


async def test_an_unknown_person_is_not_found(sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    answer = (await admin(UPDATE_USER, id=str(uuid4()), input={"role": "USER"}))["updateUser"]
    assert answer["userErrors"] == [{"code": "NOT_FOUND", "field": ["id"]}]


async def test_another_person_does_not_exist_for_node(sign_in: SignIn) -> None:
    person, _ = await sign_in()
    other, _ = await sign_in()
    their_id = (await other("{ me { id } }"))["me"]["id"]
    query = "query q($id: ID!) { node(id: $id) { id } }"
    assert (await person(query, id=their_id))["node"] is None
    assert (await other(query, id=their_id))["node"] == {"id": their_id}


PRIVATE = "username email profile { location { latitude longitude } timeZone }"


@pytest.mark.parametrize("header", [None, "another's", "nonsense"])
async def test_whoever_signs_in_reads_the_own_address_and_place(
    api: Api, sign_in: SignIn, header: str | None
) -> None:
    """The request has no token, or one that says nothing about who signs in."""
    made = (await api(REGISTER, input=ANA))["register"]
    assert made["user"]["email"] == ANA["email"]
    await api.as_(made["accessToken"])(UPDATE_PROFILE, input={"location": HOME})
    tokens = {"another's": (await sign_in())[0].token, "nonsense": "nonsense"}
    client = api.as_(tokens[header] or "") if header else api
    query = f"mutation l($input: LoginInput!) {{ login(input: $input) {{ user {{ {PRIVATE} }} }} }}"
    credentials = {"username": "ana", "password": ANA["password"]}
    assert (await client(query, input=credentials))["login"]["user"] == {
        "username": "ana",
        "email": ANA["email"],
        "profile": {"location": HOME, "timeZone": "America/Bogota"},
    }


async def test_address_and_place_are_read_by_the_person_and_an_admin(sign_in: SignIn) -> None:
    person, user = await sign_in()
    admin, _ = await sign_in(Role.ADMIN)
    await person(UPDATE_PROFILE, input={"location": HOME})
    whole = {
        "username": user.username,
        "email": user.email,
        "profile": {"location": HOME, "timeZone": "America/Bogota"},
    }
    me = (await person(f"{{ me {{ id {PRIVATE} }} }}"))["me"]
    query = f"query q($id: ID!) {{ node(id: $id) {{ ... on User {{ {PRIVATE} }} }} }}"
    their_id = me.pop("id")
    assert me == whole
    for reader in (person, admin):
        assert (await reader(query, id=their_id))["node"] == whole


async def test_the_token_route_speaks_oauth(http: httpx.AsyncClient, api: Api) -> None:
    await api(REGISTER, input=ANA)
    good = await http.post("/token", data={"username": "ana", "password": "test123"})
    assert good.json()["token_type"] == "bearer"
    assert (await api.as_(good.json()["access_token"])("{ me { username } }"))["me"]
    bad = await http.post("/token", data={"username": "ana", "password": "nope"})
    assert (bad.status_code, bad.json()["error"]) == (400, "invalid_grant")
    assert (await http.post("/token", data={"username": "ana"})).status_code == 400
