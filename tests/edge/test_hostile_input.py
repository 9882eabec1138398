"""What a stranger once broke, and must not again."""

import socket
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from commands.order import TrainedFile
from db.models.accounts import Role
from db.session import Database, create_engine
from schema.edge.connections import write_cursor
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import ATTENDEE, right_now
from tests.market import make_promo, make_stock
from tests.promos.offers import CREATE, UPDATE, count_promos, offer, stored

NUL = "x\u0000y"


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query q($v: String) { model(key: $v) { key } }", {"v": NUL}),
        ('{ model(key: "x\\u0000y") { key } }', {}),
        ("query q($v: ID!) { node(id: $v) { id } }", {"v": NUL}),
        (
            "mutation l($v: LoginInput!) { login(input: $v) { tokenType } }",
            {"v": {"username": NUL, "password": "x"}},
        ),
    ],
)
async def test_a_nul_in_a_text_is_bad_user_input(
    api: Api, query: str, variables: dict[str, Any]
) -> None:
    answer = await api(query, **variables)
    assert answer.code == "BAD_USER_INPUT"
    assert "NUL" in answer.errors[0]["message"]


async def test_a_text_that_only_spells_the_escape_is_fine(api: Api) -> None:
    answer = await api("query q($v: String) { model(key: $v) { key } }", v="\\u0000")
    assert answer["model"] is None


async def test_a_nul_in_the_token_form_is_an_invalid_request(http: httpx.AsyncClient) -> None:
    response = await http.post("/token", data={"username": NUL, "password": "x"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_a_cursor_beyond_the_keys_of_the_database_is_bad_user_input(api: Api) -> None:
    after = urlsafe_b64encode(b"[9223372036854775808]").decode()
    assert (
        await api("query q($a: String) { models(after: $a) { nodes { key } } }", a=after)
    ).code == ("BAD_USER_INPUT")


@pytest.mark.parametrize(
    "instant", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z"]
)
async def test_a_cursor_at_the_end_of_all_time_is_bad_user_input(
    sign_in: SignIn, instant: str
) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    for query in (
        "query q($a: String) { promos(after: $a) { nodes { id } } }",
        "query q($a: String) { me { reservations(after: $a) { nodes { id } } } }",
    ):
        answer = await merchant(query, a=write_cursor((instant, 1)))
        assert answer.code == "BAD_USER_INPUT"
        assert "not a cursor of this list" in answer.errors[0]["message"]


@pytest.mark.parametrize(
    "instant",
    [
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-23:59",
        "2999-12-31T23:00:00-02:00",
        "1900-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("field", ["startsAt", "endsAt"])
async def test_an_instant_beyond_the_years_of_the_product_is_bad_user_input(
    sign_in: SignIn, services: Services, field: str, instant: str
) -> None:
    merchant, owner = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=owner.id)
    promo = await make_promo(services.database, stock)
    before = await stored(services.database, promo)
    made = await merchant(CREATE, input=offer(stock, **{field: instant}))
    changed = await merchant(UPDATE, id=str(promo), input={field: instant})
    for answer in (made, changed):
        assert answer.code == "BAD_USER_INPUT"
        assert f"$input' has invalid value at .{field}" in answer.errors[0]["message"]
        assert "1900 to 2999" in answer.errors[0]["message"]
    assert await stored(services.database, promo) == before
    assert await count_promos(services.database) == 1


async def test_the_first_and_the_last_instant_are_accepted(
    sign_in: SignIn, services: Services
) -> None:
    merchant, owner = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=owner.id)
    ends = {"startsAt": "1900-01-01T00:00:00Z", "endsAt": "2999-12-31T23:59:59.999999Z"}
    promo = (await merchant(CREATE, input=offer(stock, **ends)))["createPromo"]["promo"]
    assert promo["startsAt"] == "1900-01-01T00:00:00.000000Z"
    assert promo["endsAt"] == "2999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize("column", ["starts_at", "ends_at"])
async def test_the_database_keeps_no_promo_without_an_end(database: Database, column: str) -> None:
    promo = await make_promo(database)
    sign = "-" if column == "starts_at" else ""
    with pytest.raises(IntegrityError, match="flash_promos_finite_check"):
        async with database.transaction() as session:
            await session.execute(
                text(f"UPDATE flash_promos SET {column} = '{sign}infinity' WHERE id = :id"),
                {"id": promo},
            )


@pytest.mark.parametrize("depth", [260, 900])
async def test_variables_nested_without_end_are_bad_user_input(
    http: httpx.AsyncClient, depth: int
) -> None:
    nested = "[" * depth + "]" * depth
    body = f'{{"query": "query q($n: JSON) {{ __typename }}", "variables": {{"n": {nested}}}}}'
    response = await http.post(
        "/graphql", content=body, headers={"Content-Type": "application/json"}
    )
    error = response.json()["errors"][0]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "250 levels" in error["message"]


@pytest.mark.parametrize("id_", ["", " ", "x"])
async def test_an_id_that_is_none_is_bad_user_input(sign_in: SignIn, id_: str) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    alias = """mutation a($id: ID) {
      setModelAlias(modelId: "1", alias: SHADOW, versionId: $id) { model { id } }
    }"""
    listed = "query q($id: ID) { promos(filter: {storeId: $id}) { totalCount } }"
    start, end = right_now().isoformat(), (right_now() + timedelta(hours=1)).isoformat()
    input_ = {"storeProductId": id_, "startsAt": start, "endsAt": end}
    for field, answer in (
        ("storeProductId", await admin(CREATE, input=input_)),
        ("storeId", await admin(listed, id=id_)),
        ("versionId", await admin(alias, id=id_)),
    ):
        assert answer.code == "BAD_USER_INPUT"
        assert answer.errors[0]["extensions"]["field"] == [field]


PRICE = """mutation p($id: ID!, $price: Decimal) {
  updateStoreProduct(id: $id, input: {basePrice: $price}) { storeProduct { basePrice { amount } } }
}"""


@pytest.mark.parametrize(
    "price",
    ["1_000", "\u0661\u0662", "\uff11\uff12", "1e2", " 1", "1\n", "NaN", "Infinity", "", "."],
)
async def test_a_decimal_is_written_with_digits_sign_and_point(
    sign_in: SignIn, services: Services, price: str
) -> None:
    merchant, owner = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=owner.id, price="7.00")
    assert (await merchant(PRICE, id=str(stock.id), price=price)).code == "BAD_USER_INPUT"
    async with services.database.read() as reader:
        kept = await reader.execute(text("SELECT base_price FROM store_products"))
        assert str(kept.scalar_one()) == "7.00"


@pytest.mark.parametrize(
    ("price", "kept"), [("+12.50", "12.50"), ("12.", "12.00"), (".5", "0.50"), (3, "3.00")]
)
async def test_decimals_in_their_usual_forms_are_read(
    sign_in: SignIn, services: Services, price: str | int, kept: str
) -> None:
    merchant, owner = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=owner.id)
    answer = (await merchant(PRICE, id=str(stock.id), price=price))["updateStoreProduct"]
    assert answer["storeProduct"]["basePrice"]["amount"] == kept


async def test_looking_at_the_audience_of_promos_is_dear(sign_in: SignIn) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)

    async def cost_of(field: str) -> int:
        answer = await merchant(f'{{ rateLimit {{ cost }} promo(id: "1") {{ {field} }} }}')
        return int(answer["rateLimit"]["cost"])

    usual = await cost_of("price { __typename }")
    assert await cost_of("audience { __typename }") == usual + 19


def chain(links: int) -> str:
    parts = [f"fragment f{n} on Query {{ ...f{n + 1} }}" for n in range(links)]
    return "{ ...f0 } " + " ".join(
        [*parts, f"fragment f{links} on Query {{ health {{ status }} }}"]
    )


@pytest.mark.parametrize("links", [100, 480])
async def test_a_long_chain_of_fragments_is_too_complex(api: Api, links: int) -> None:
    assert (await api(chain(links))).code == "QUERY_TOO_COMPLEX"


async def test_a_chain_within_the_limit_is_answered(api: Api) -> None:
    assert (await api(chain(90)))["health"] == {"status": "ok"}


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ " + " ".join(f"nope{n}" for n in range(25)) + " }", {}),
        ("query q($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": [{}] * 60}),
        ('subscription { trainingRunUpdated(id: "x") { id } }', {}),
        ("query a { health { status } } query b { health { status } }", {}),
        (" ", {}),
    ],
)
async def test_a_mistake_of_the_client_is_never_a_fault_of_the_server(
    api: Api, query: str, variables: dict[str, Any]
) -> None:
    assert (await api(query, **variables)).code == "BAD_USER_INPUT"


async def test_an_operation_of_another_name_is_named(http: httpx.AsyncClient) -> None:
    body = {"query": "query a { health { status } }", "operationName": "b"}
    error = (await http.post("/graphql", json=body)).json()["errors"][0]
    assert error["extensions"]["field"] == ["operationName"]


@pytest.mark.parametrize("aliases", [1, 30])
async def test_long_lists_are_refused_before_they_are_converted(api: Api, aliases: int) -> None:
    fields = " ".join(f"a{n}: scores(inputs: $i) {{ riskLabel }}" for n in range(aliases))
    query = f"query q($i: [AttendeeInput!]!) {{ {fields} }}"
    answer = await api(query, i=[ATTENDEE] * 1_000)
    assert answer.code == "BAD_USER_INPUT"
    assert "1 to 500" in answer.errors[0]["message"]


async def test_many_lists_of_allowed_length_cost_too_much(api: Api) -> None:
    fields = " ".join(f"a{n}: scores(inputs: $i) {{ riskLabel }}" for n in range(20))
    answer = await api(f"query q($i: [AttendeeInput!]!) {{ {fields} }}", i=[ATTENDEE] * 500)
    assert answer.code == "QUERY_TOO_COMPLEX"


async def test_explanations_of_a_whole_list_can_be_asked_for_once(
    champion: TrainedFile, services: Services, sign_in: SignIn
) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    await services.champions.refresh()
    one = "{name}: scores(inputs: $i) {{ explain {{ feature }} }}"
    query = "query q($i: [AttendeeInput!]!) {{ {fields} }}".format
    asked = query(fields=one.format(name="a"))
    assert len((await merchant(asked, i=[ATTENDEE] * 100))["a"]) == 100
    twice = query(fields=" ".join(one.format(name=name) for name in "abc"))
    assert (await merchant(twice, i=[ATTENDEE] * 500)).code == "QUERY_TOO_COMPLEX"


REGISTER = "mutation r($i: RegisterInput!) { register(input: $i) { accessToken } }"


async def test_new_accounts_do_not_lift_the_limit_on_new_accounts(api: Api) -> None:
    client = api
    for number in range(10):
        name = f"person{number}"
        account = {"username": name, "email": f"{name}@example.com", "password": "test123"}
        made = await client(REGISTER, i=account)
        client = api.as_(made["register"]["accessToken"])
    extra = {"username": "extra", "email": "extra@example.com", "password": "test123"}
    assert (await client(REGISTER, i=extra)).code == "RATE_LIMITED"


async def test_wrong_passwords_of_others_lock_nobody_out(api: Api, services: Services) -> None:
    owner = {"username": "owner", "email": "owner@example.com", "password": "test123"}
    await api(REGISTER, i=owner)
    login = "mutation l($i: LoginInput!) { login(input: $i) { accessToken } }"
    for _ in range(12):
        await api(login, i={"username": "owner", "password": "wrong-one"})
    transport: Any = api.http._transport
    elsewhere = httpx.ASGITransport(transport.app, client=("203.0.113.7", 1234))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://auspex.test") as http:
        answer = await Api(http)(login, i={"username": "owner", "password": "test123"})
    assert answer["login"]["accessToken"]


@pytest.fixture
def lose_the_database(services: Services) -> Callable[[], None]:
    def lose() -> None:
        nowhere: AsyncEngine = create_engine("postgresql://nobody@127.0.0.1:1/none")
        services.database._reads = nowhere

    return lose


async def test_a_database_that_is_away_is_service_unavailable(
    sign_in: SignIn, lose_the_database: Callable[[], None]
) -> None:
    person, _ = await sign_in()
    lose_the_database()
    for client in (person, Api(person.http)):
        answer = await client("{ models { nodes { key } } }")
        assert answer.code == "SERVICE_UNAVAILABLE"
        assert answer.errors[0]["extensions"]["status"] == 503
        assert answer.errors[0]["extensions"]["retryAfter"] > 0
        assert answer.status == 200


@pytest.mark.slow
def test_headers_without_end_are_refused(server_url: str) -> None:
    place = urlsplit(server_url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")
        try:
            for _ in range(64):
                connection.sendall(b"a" * 65_536)
            answer = connection.recv(100)
        except (ConnectionResetError, BrokenPipeError):
            return  # closed while we were still sending
    assert answer == b"" or b" 431 " in answer


async def test_a_reason_that_is_a_novel_is_refused(sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    answer = await admin(
        """mutation s($r: String) {
          setModelAlias(modelId: "1", alias: SHADOW, reason: $r) { userErrors { code field } }
        }""",
        r="x" * 501,
    )
    assert answer["setModelAlias"]["userErrors"] == [{"code": "OUT_OF_RANGE", "field": ["reason"]}]
