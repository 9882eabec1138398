"""The inbox: newest first, read state, only one's own (N7, FEATURES §3.6)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.models.accounts import Role
from db.models.notifications import NotificationKind
from db.session import Database
from schema.edge.ids import global_id
from schema.edge.services import Services
from tests.clients import SignIn
from tests.factories import right_now
from tests.market import make_promo, make_stock
from tests.notifications.rounds import NOON, tell
from tests.statements import counted

INBOX = """
query inbox($first: Int! = 20, $after: String, $unread: Boolean! = false,
            $kinds: [NotificationKind!]) {
  me { notifications(first: $first, after: $after, unreadOnly: $unread, kinds: $kinds) {
    nodes { id kind title body sentDate createdAt readAt distanceMeters }
    pageInfo { hasNextPage endCursor }
    totalCount
  } }
}
"""
MARK = """
mutation mark($ids: [ID!]!) {
  markNotificationsRead(ids: $ids) {
    notifications { id readAt } userErrors { code field message }
  }
}
"""
SUBJECTS = """
{ me { notifications(first: 40) { nodes { title subject {
  __typename
  ... on Promo { id price { amount } }
  ... on Reservation { id quantity }
} } } } }
"""
KINDS = [NotificationKind.LOW_BALANCE, NotificationKind.PREDICTION_READY]


@pytest.fixture
def database(services: Services) -> Database:
    """The application's own, so that its statements can be counted."""
    return services.database


async def some(database: Database, user: UUID, count: int = 3, **of: Any) -> list[str]:
    """Global ids of fresh notices, oldest first."""
    made = [await tell(database, user, **of) for _ in range(count)]
    return [global_id("Notification", id_) for id_ in made]


def ids(answer: Any) -> list[str]:
    return [node["id"] for node in answer["me"]["notifications"]["nodes"]]


async def test_the_inbox_is_newest_first_in_pages(database: Database, sign_in: SignIn) -> None:
    api, user = await sign_in()
    made = await some(database, user.id, 5)
    first = await api(INBOX, first=2)
    assert ids(first) == made[:2:-1]
    page = first["me"]["notifications"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (5, True)
    rest = await api(INBOX, first=10, after=page["pageInfo"]["endCursor"])
    assert ids(rest) == made[2::-1]
    assert rest["me"]["notifications"]["pageInfo"]["hasNextPage"] is False


async def test_a_notice_has_its_fields(database: Database, sign_in: SignIn) -> None:
    api, user = await sign_in()
    (made,) = await some(database, user.id, 1)
    (node,) = (await api(INBOX))["me"]["notifications"]["nodes"]
    assert node == {
        "id": made,
        "kind": "PREDICTION_READY",
        "title": "A title",
        "body": "A body",
        "sentDate": "2026-03-10",
        "createdAt": "2026-03-10T17:00:00.000000Z",
        "readAt": None,
        "distanceMeters": None,
    }


async def test_it_can_be_narrowed_to_kinds_and_to_what_is_unread(
    database: Database, sign_in: SignIn
) -> None:
    api, user = await sign_in()
    low, ready = [(await some(database, user.id, 1, kind=kind))[0] for kind in KINDS]
    assert ids(await api(INBOX, kinds=["LOW_BALANCE"])) == [low]
    assert ids(await api(INBOX, kinds=["LOW_BALANCE", "PREDICTION_READY"])) == [ready, low]
    assert ids(await api(INBOX, kinds=["PROMO"])) == []
    await api(MARK, ids=[low])
    unread = await api(INBOX, unread=True)
    assert ids(unread) == [ready]
    assert unread["me"]["notifications"]["totalCount"] == 1


async def test_it_holds_nobody_elses_notices(database: Database, sign_in: SignIn) -> None:
    (api, user), (_, other) = await sign_in(), await sign_in()
    await some(database, other.id)
    assert (await api(INBOX))["me"]["notifications"]["totalCount"] == 0
    made = await some(database, user.id)
    assert ids(await api(INBOX)) == made[::-1]


async def test_of_another_person_only_an_admin_sees_it(database: Database, sign_in: SignIn) -> None:
    (_, user), (admin, _) = await sign_in(), await sign_in(Role.ADMIN)
    made = await some(database, user.id)
    query = """query of($id: ID!) { node(id: $id) { ... on User {
        notifications { nodes { id } } notificationPreferences { dailyCap } } } }"""
    answer = await admin(query, id=global_id("User", user.id))
    assert [node["id"] for node in answer["node"]["notifications"]["nodes"]] == made[::-1]
    assert answer["node"]["notificationPreferences"] == {"dailyCap": 3}


async def test_another_person_met_on_the_way_keeps_theirs(
    database: Database, sign_in: SignIn
) -> None:
    """A hold leads to its user, a promo to its store's owner: those links open no inbox."""
    (api, _), (_, owner) = await sign_in(), await sign_in(Role.MERCHANT)
    await some(database, owner.id)
    for field in ("notifications { totalCount }", "notificationPreferences { dailyCap }"):
        query = f"query of($id: ID!) {{ node(id: $id) {{ ... on User {{ {field} }} }} }}"
        answer = await api(query, id=global_id("User", owner.id))
        assert answer["node"] is None


@pytest.mark.parametrize("first", [0, 101])
async def test_a_page_has_1_to_100_rows(sign_in: SignIn, first: int) -> None:
    api, _ = await sign_in()
    assert (await api(INBOX, first=first)).code == "BAD_USER_INPUT"


async def test_a_notice_is_fetched_by_its_id_by_its_person_only(
    database: Database, sign_in: SignIn
) -> None:
    (api, user), (other, _), (admin, _) = (
        await sign_in(),
        await sign_in(),
        await sign_in(Role.ADMIN),
    )
    (made,) = await some(database, user.id, 1)
    query = "query one($id: ID!) { node(id: $id) { id ... on Notification { title } } }"
    assert (await api(query, id=made))["node"] == {"id": made, "title": "A title"}
    assert (await other(query, id=made))["node"] is None
    assert (await admin(query, id=made))["node"] is None


async def test_marking_as_read_keeps_the_first_time(database: Database, sign_in: SignIn) -> None:
    api, user = await sign_in()
    made = await some(database, user.id)
    first = (await api(MARK, ids=made[:2]))["markNotificationsRead"]
    assert first["userErrors"] == []
    assert [node["id"] for node in first["notifications"]] == made[:2]
    again = (await api(MARK, ids=[made[1], made[0], made[1]]))["markNotificationsRead"]
    assert again["notifications"] == [first["notifications"][1], first["notifications"][0]]
    assert ids(await api(INBOX, unread=True)) == made[2:]


async def test_raw_ids_are_accepted(database: Database, sign_in: SignIn) -> None:
    api, user = await sign_in()
    raw = await tell(database, user.id)
    marked = (await api(MARK, ids=[str(raw)]))["markNotificationsRead"]
    assert marked["notifications"][0]["readAt"] is not None


async def test_of_what_is_not_ones_own_nothing_is_marked(
    database: Database, sign_in: SignIn
) -> None:
    (api, user), (_, other) = await sign_in(), await sign_in()
    own, foreign = await some(database, user.id, 1), await some(database, other.id, 1)
    answer = await api(MARK, ids=[*own, *foreign, "999999"])
    refused = answer["markNotificationsRead"]
    assert refused["notifications"] is None
    assert [(e["code"], e["field"]) for e in refused["userErrors"]] == [
        ("NOT_FOUND", ["ids", "1"]),
        ("NOT_FOUND", ["ids", "2"]),
    ]
    async with database.read() as reader:
        marked = await reader.execute(
            text("SELECT count(*) FROM notifications WHERE read_at IS NOT NULL")
        )
        assert marked.scalar_one() == 0


async def test_at_most_100_are_marked_at_once(database: Database, sign_in: SignIn) -> None:
    api, user = await sign_in()
    (made,) = await some(database, user.id, 1)
    assert (await api(MARK, ids=[made] * 101)).code == "BAD_USER_INPUT"
    assert ids(await api(INBOX, unread=True)) == [made]
    assert (await api(MARK, ids=[made] * 100))["markNotificationsRead"]["userErrors"] == []


async def test_marking_needs_a_person(api: Any) -> None:
    assert (await api(MARK, ids=["1"])).code == "UNAUTHENTICATED"


async def test_subjects_of_a_page_cost_one_statement_a_kind(
    database: Database, sign_in: SignIn
) -> None:
    api, user = await sign_in()
    stock = await make_stock(database, units=40)
    for _ in range(20):
        promo = await make_promo(database, stock)
        await tell(database, user.id, promo_id=promo)
        hold = await held(database, promo, stock.id, user.id)
        kind = NotificationKind.WAITLIST_OFFER
        await tell(database, user.id, kind, promo_id=promo, reservation_id=hold)
    with counted(database) as statements:
        nodes = (await api(SUBJECTS))["me"]["notifications"]["nodes"]
    assert [node["subject"]["__typename"] for node in nodes] == ["Reservation", "Promo"] * 20
    assert len({node["subject"]["id"] for node in nodes}) == 40
    assert nodes[1]["subject"]["price"] == {"amount": "1000.00"}
    assert len(statements) <= 4


async def held(database: Database, promo: int, stock: int, user: UUID) -> int:
    now = right_now()
    insert = text(
        "INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity,"
        " unit_price, created_at, expires_at)"
        " VALUES (gen_random_uuid()::text, :promo, :stock, :user, 1, 10, :now, :expires)"
        " RETURNING id"
    )
    values = {"promo": promo, "stock": stock, "user": user, "now": now}
    async with database.transaction() as session:
        found = await session.execute(insert, {**values, "expires": now + timedelta(seconds=50)})
        return int(found.scalar_one())


async def test_a_notice_without_a_subject_has_none(database: Database, sign_in: SignIn) -> None:
    api, user = await sign_in()
    await tell(database, user.id, now=NOON)
    (node,) = (await api(SUBJECTS))["me"]["notifications"]["nodes"]
    assert node["subject"] is None
