"""Holds as a client sees them."""

from typing import Any

import pytest

from db.models.accounts import Role
from db.models.promos import PromoStatus
from db.session import Database
from schema.edge.ids import global_id
from tests.clients import Api, SignIn
from tests.holds.audit import counters
from tests.market import BOGOTA, make_promo, make_stock, north_of, place_user
from tests.statements import counted

ERRORS = """userErrors { code message field
  ... on StockError { unitsLeft waitlistOpen }
  ... on HoldError { status expiredAt }
  ... on EligibilityError { reasons distanceMeters }
  ... on AdmissionError { decision waitlistEntry { status position } } }"""
RESERVE = f"""mutation ($input: ReserveInput!) {{ reserve(input: $input) {{
  reservation {{ id token status quantity unitPrice {{ amount currency }} secondsRemaining
    expiresAt closedAt admission promo {{ id remaining }} user {{ uuid }}
    storeProduct {{ stock onHand held }} }}
  waitlistEntry {{ status position quantity }} {ERRORS} }} }}"""
CHECKOUT = f"""mutation ($input: CheckoutInput!) {{ checkout(input: $input) {{
  reservation {{ id status secondsRemaining closedAt storeProduct {{ stock onHand held }} }}
  {ERRORS} }} }}"""
CANCEL = f"""mutation ($token: String!) {{ cancelReservation(token: $token) {{
  reservation {{ id status storeProduct {{ stock onHand held }} }} {ERRORS} }} }}"""


async def reserve(api: Api, promo: object, **more: Any) -> Any:
    return (await api(RESERVE, input={"promoId": str(promo), **more}))["reserve"]


def errors(payload: dict[str, Any]) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


async def test_a_person_holds_buys_and_sees_the_stock_move(
    database: Database, sign_in: SignIn
) -> None:
    stock = await make_stock(database, units=10, price="1000.00")
    promo = await make_promo(database, stock, discount_percent=20)
    api, user = await sign_in()
    held = (await reserve(api, promo, quantity=2))["reservation"]
    assert held["status"] == "HELD"
    assert held["unitPrice"] == {"amount": "800.00", "currency": "COP"}
    assert 55 <= held["secondsRemaining"] <= 60
    assert held["closedAt"] is None
    assert held["admission"] == "ADMIT"
    assert held["user"]["uuid"] == str(user.id)
    assert held["storeProduct"] == {"stock": 8, "onHand": 10, "held": 2}
    assert held["promo"]["remaining"] == 8

    bought = (await api(CHECKOUT, input={"token": held["token"]}))["checkout"]["reservation"]
    assert (bought["status"], bought["secondsRemaining"]) == ("CONFIRMED", 0)
    assert bought["storeProduct"] == {"stock": 8, "onHand": 8, "held": 0}
    again = (await api(CHECKOUT, input={"token": held["token"]}))["checkout"]
    assert (again["reservation"]["id"], again["userErrors"]) == (held["id"], [])


async def test_giving_back_shows_the_units_again(database: Database, sign_in: SignIn) -> None:
    promo = await make_promo(database, units=3)
    api, _ = await sign_in()
    held = (await reserve(api, promo))["reservation"]
    given = (await api(CANCEL, token=held["token"]))["cancelReservation"]["reservation"]
    assert given["status"] == "CANCELLED"
    assert given["storeProduct"] == {"stock": 3, "onHand": 3, "held": 0}
    refused = (await api(CHECKOUT, input={"token": held["token"]}))["checkout"]
    assert refused["reservation"] is None
    (error,) = refused["userErrors"]
    assert (error["code"], error["field"]) == ("HOLD_CLOSED", ["input", "token"])
    assert (error["status"], error["expiredAt"]) == ("CANCELLED", None)


async def test_out_of_stock_says_how_many_are_left(database: Database, sign_in: SignIn) -> None:
    promo = await make_promo(database, units=3)
    api, _ = await sign_in()
    payload = await reserve(api, promo, quantity=4)
    assert payload["reservation"] is None
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"]) == ("OUT_OF_STOCK", ["input", "quantity"])
    assert (error["unitsLeft"], error["waitlistOpen"]) == (3, True)
    assert "3" in error["message"]
    assert await counters(database, promo) == {"on_hand": 3, "held": 0, "taken": 0}


async def test_join_waitlist_takes_a_place_where_nothing_is_left(
    database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, await make_stock(database, units=0))
    api, _ = await sign_in()
    payload = await reserve(api, promo, quantity=2, joinWaitlist=True)
    assert payload["userErrors"] == []
    assert payload["waitlistEntry"] == {"status": "WAITING", "position": 1, "quantity": 2}


@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"quantity": 0}, "OUT_OF_RANGE", "quantity"),
        ({"quantity": -1}, "OUT_OF_RANGE", "quantity"),
        ({"quantity": 3}, "LIMIT_PER_USER", "quantity"),
        ({"idempotencyKey": ""}, "OUT_OF_RANGE", "idempotencyKey"),
        ({"idempotencyKey": "k" * 256}, "OUT_OF_RANGE", "idempotencyKey"),
    ],
)
async def test_a_refusal_names_the_field(
    database: Database, sign_in: SignIn, more: dict[str, Any], code: str, field: str
) -> None:
    promo = await make_promo(database, max_per_user=2)
    api, _ = await sign_in()
    (error,) = (await reserve(api, promo, **more))["userErrors"]
    assert (error["code"], error["field"]) == (code, ["input", field])
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_a_promo_that_is_not_there_or_does_not_run(
    database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, status=PromoStatus.SCHEDULED)
    api, _ = await sign_in()
    assert errors(await reserve(api, promo)) == ["PROMO_NOT_ACTIVE"]
    assert errors(await reserve(api, 4711)) == ["NOT_FOUND"]


async def test_an_enforced_audience_names_the_reasons(database: Database, sign_in: SignIn) -> None:
    promo = await make_promo(database, enforce_audience=True)
    api, user = await sign_in()
    (error,) = (await reserve(api, promo))["userErrors"]
    assert (error["code"], error["reasons"]) == ("INELIGIBLE", ["NO_LOCATION"])
    await place_user(database, user.id, north_of(BOGOTA, 3_000))
    (error,) = (await reserve(api, promo))["userErrors"]
    assert error["reasons"] == ["TOO_FAR"]
    assert error["distanceMeters"] == pytest.approx(3_000, abs=1)
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_a_key_repeats_the_answer_and_refuses_another_request(
    database: Database, sign_in: SignIn
) -> None:
    promo, other = await make_promo(database), await make_promo(database)
    api, _ = await sign_in()
    first = await reserve(api, promo, idempotencyKey="tap")
    again = await reserve(api, promo, idempotencyKey="tap")
    assert first["reservation"]["token"] == again["reservation"]["token"]
    payload = await reserve(api, other, idempotencyKey="tap")
    assert errors(payload) == ["IDEMPOTENCY_KEY_REUSED"]
    assert await counters(database, other) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_a_checkout_key_of_another_hold_is_refused(
    database: Database, sign_in: SignIn
) -> None:
    api, _ = await sign_in()
    tokens = []
    for _ in range(2):
        promo = await make_promo(database)
        tokens.append((await reserve(api, promo))["reservation"]["token"])
    inputs = [{"token": token, "idempotencyKey": "pay"} for token in tokens]
    assert errors((await api(CHECKOUT, input=inputs[0]))["checkout"]) == []
    assert errors((await api(CHECKOUT, input=inputs[0]))["checkout"]) == []
    refused = (await api(CHECKOUT, input=inputs[1]))["checkout"]
    assert errors(refused) == ["IDEMPOTENCY_KEY_REUSED"]


READ = "query ($token: String!) { reservation(token: $token) { status } }"


async def test_a_hold_is_seen_by_its_owner_and_admins_only(
    database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database)
    owner, user = await sign_in()
    stranger, _ = await sign_in(Role.MERCHANT)
    admin, _ = await sign_in(Role.ADMIN)
    held = (await reserve(owner, promo))["reservation"]
    token = held["token"]
    assert (await owner(READ, token=token))["reservation"] == {"status": "HELD"}
    assert (await admin(READ, token=token))["reservation"] == {"status": "HELD"}
    assert (await stranger(READ, token=token))["reservation"] is None
    secret = await admin("query ($t: String!) { reservation(token: $t) { token } }", t=token)
    assert secret.code == "FORBIDDEN"
    by_id = "query ($id: ID!) { node(id: $id) { ... on Reservation { status } } }"
    assert (await owner(by_id, id=held["id"]))["node"] == {"status": "HELD"}
    assert (await stranger(by_id, id=held["id"]))["node"] is None
    for mutation, variables in (
        (CHECKOUT, {"input": {"token": token}}),
        (CANCEL, {"token": token}),
    ):
        answer = await stranger(mutation, **variables)
        (payload,) = (answer.data or {}).values()
        assert errors(payload) == ["NOT_FOUND"]
    assert await counters(database, promo) == {"on_hand": 10, "held": 1, "taken": 1}
    assert user.id


async def test_nobody_reserves_without_an_account(api: Api, database: Database) -> None:
    promo = await make_promo(database)
    assert (await api(RESERVE, input={"promoId": str(promo)})).code == "UNAUTHENTICATED"
    assert (await api(READ, token="x")).code == "UNAUTHENTICATED"


MINE = """query ($first: Int!, $after: String, $status: ReservationStatus) {
  me { reservations(first: $first, after: $after, status: $status) {
    totalCount nodes { id status promo { id storeProduct { store { name } product { name } } } }
    pageInfo { hasNextPage endCursor } } } }"""


async def test_my_holds_newest_first_in_pages(database: Database, sign_in: SignIn) -> None:
    api, _ = await sign_in()
    ids = []
    for _ in range(5):
        promo = await make_promo(database)
        ids.append((await reserve(api, promo))["reservation"]["id"])
    first = (await api(MINE, first=3))["me"]["reservations"]
    assert [node["id"] for node in first["nodes"]] == ids[:1:-1]
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (5, True)
    rest = (await api(MINE, first=3, after=first["pageInfo"]["endCursor"]))["me"]["reservations"]
    assert [node["id"] for node in rest["nodes"]] == ids[1::-1]
    bought = (await api(MINE, first=3, status="CONFIRMED"))["me"]["reservations"]
    assert (bought["totalCount"], bought["nodes"]) == (0, [])


@pytest.mark.parametrize("count", [2, 15])
async def test_my_holds_cost_the_same_statements_whatever_their_number(
    services: Any, database: Database, sign_in: SignIn, count: int
) -> None:
    api, _ = await sign_in()
    for _ in range(count):
        await reserve(api, await make_promo(database))
    with counted(services.database) as statements:
        await api(MINE.replace("totalCount ", ""), first=20)
    assert len(statements) <= 4, statements


async def test_anothers_holds_are_shown_to_admins_only(database: Database, sign_in: SignIn) -> None:
    owner, user = await sign_in()
    await reserve(owner, await make_promo(database))
    query = """query ($id: ID!) { node(id: $id) { ... on User {
      reservations { totalCount } waitlist { id } } } }"""
    asked = global_id("User", user.id)
    admin, _ = await sign_in(Role.ADMIN)
    shown = (await admin(query, id=asked))["node"]
    assert shown == {"reservations": {"totalCount": 1}, "waitlist": []}
    stranger, _ = await sign_in(Role.MERCHANT)
    assert (await stranger(query, id=asked))["node"] is None


WAIT = f"""mutation ($promo: ID!, $quantity: Int! = 1) {{
  joinWaitlist(promoId: $promo, quantity: $quantity) {{
    waitlistEntry {{ id status position quantity offer {{ status quantity }} promo {{ id }} }}
    {ERRORS} }} }}"""
LEAVE = f"""mutation ($promo: ID!) {{ leaveWaitlist(promoId: $promo) {{
  waitlistEntry {{ status position }} {ERRORS} }} }}"""


async def test_waiting_being_offered_and_leaving(database: Database, sign_in: SignIn) -> None:
    promo = await make_promo(database, units=1)
    holder, _ = await sign_in()
    waiter, _ = await sign_in()
    held = (await reserve(holder, promo))["reservation"]
    entry = (await waiter(WAIT, promo=str(promo)))["joinWaitlist"]["waitlistEntry"]
    assert (entry["status"], entry["position"], entry["offer"]) == ("WAITING", 1, None)

    await holder(CANCEL, token=held["token"])
    mine = (await waiter("{ me { waitlist { status offer { status quantity token } } } }"))["me"]
    (offered,) = mine["waitlist"]
    assert offered["status"] == "OFFERED"
    assert (offered["offer"]["status"], offered["offer"]["quantity"]) == ("HELD", 1)

    left = (await waiter(LEAVE, promo=str(promo)))["leaveWaitlist"]["waitlistEntry"]
    assert left == {"status": "LEFT", "position": None}
    assert await counters(database, promo) == {"on_hand": 1, "held": 0, "taken": 0}


@pytest.mark.parametrize(
    ("promo", "quantity", "code", "field"),
    [("4711", 1, "NOT_FOUND", "promoId"), (None, 0, "OUT_OF_RANGE", "quantity")],
)
async def test_a_place_that_can_not_be(
    database: Database, sign_in: SignIn, promo: str | None, quantity: int, code: str, field: str
) -> None:
    api, _ = await sign_in()
    asked = promo or str(await make_promo(database))
    (error,) = (await api(WAIT, promo=asked, quantity=quantity))["joinWaitlist"]["userErrors"]
    assert (error["code"], error["field"]) == (code, [field])
    refused = (await api(LEAVE, promo=asked))["leaveWaitlist"]
    assert errors(refused) == ["NOT_FOUND"]
