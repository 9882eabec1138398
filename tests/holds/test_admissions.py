"""Scored admission: who is held at once, who waits, who is refused, and what is kept of it."""

from typing import Any

import pytest
from sqlalchemy import text

from commands.order import TrainedFile
from db.models.accounts import Role
from db.models.predictions import AdmissionDecision
from db.models.promos import PromoStatus
from db.queries.admissions import Applicant
from db.session import Database
from db.transactions.admissions import decide_admission
from resolvers.admissions import TYPICAL, known_over_claimed
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import attendee
from tests.holds.audit import counters
from tests.holds.test_api import errors, reserve
from tests.market import BOGOTA, make_promo, make_stock, north_of, place_user
from tests.statements import counted

SCORED: dict[str, Any] = {"admission_mode": "SCORED"}
CERTAIN = {**SCORED, "admit_above": 0.0}
NEVER = {**SCORED, "admit_above": 1.0, "deny_below": 1.0}
LATER = {**SCORED, "admit_above": 1.0, "deny_below": 0.0}


@pytest.mark.parametrize(
    ("probability", "decision"),
    [(0.7, "ADMIT"), (0.5, "ADMIT"), (0.4999, "WAITLIST"), (0.2, "WAITLIST"), (0.1999, "DENY")],
)
def test_the_band_between_the_thresholds_waits(probability: float, decision: str) -> None:
    assert decide_admission(probability, 0.5, 0.2) == AdmissionDecision(decision)


def test_by_default_nobody_is_denied() -> None:
    assert decide_admission(0.0, 0.5, 0.0) is AdmissionDecision.WAITLIST


def applicant(**facts: Any) -> Applicant:
    known: dict[str, Any] = {
        "mode": "SCORED",
        "running": True,
        "decision": None,
        "score_id": None,
        "probability": None,
        "admit_above": 0.5,
        "deny_below": 0.0,
        "answered": False,
        "email": "real@example.com",
        "account_age_days": 3,
        "purchases_last_12_months": 1,
        "canceled_orders": 9,
        "tickets_per_order_avg": None,
        "night_purchase_ratio": None,
        "distance_meters": 1_500.0,
    }
    return Applicant(**{**known, **facts})


def test_what_the_server_knows_overrides_what_a_client_claims() -> None:
    claimed = {**TYPICAL, "account_age_days": 4_000, "canceled_orders": 0, "attendance_rate": 0.9}
    payload = known_over_claimed(claimed, applicant())
    assert (payload["account_age_days"], payload["canceled_orders"]) == (3, 9)
    assert payload["email"] == "real@example.com"
    assert payload["distance_to_venue_km"] == 1.5
    assert payload["attendance_rate"] == 0.9


def test_what_nobody_knows_is_left_to_the_claim() -> None:
    payload = known_over_claimed({**TYPICAL, "tickets_per_order_avg": 3.0}, applicant())
    assert payload["tickets_per_order_avg"] == 3.0


async def kept(database: Database) -> list[Any]:
    async with database.read() as reader:
        rows = await reader.execute(
            text("SELECT decision, version, is_mock, input, explain FROM predictions ORDER BY id")
        )
        return list(rows.all())


async def test_who_is_admitted_holds_at_once_and_the_score_is_kept(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **CERTAIN)
    api, user = await sign_in()
    await place_user(database, user.id, north_of(BOGOTA, 1_000))
    payload = await reserve(api, promo, attendee=attendee(accountAgeDays=4_000))
    assert payload["reservation"]["admission"] == "ADMIT"
    (row,) = await kept(database)
    assert (row.decision, row.version, row.is_mock) == ("ADMIT", "v1", False)
    assert row.input["account_age_days"] == 0
    assert row.input["distance_to_venue_km"] == pytest.approx(1, abs=0.01)
    assert len(row.explain) > 3
    async with database.read() as reader:
        linked = await reader.execute(
            text("SELECT count(*) FROM reservations JOIN predictions p ON p.id = score_id")
        )
        assert linked.scalar_one() == 1


async def test_who_is_denied_holds_nothing_and_can_not_try_again_with_other_claims(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **NEVER)
    api, _ = await sign_in()
    for claim in (attendee(attendanceRate=0.1), attendee(attendanceRate=1.0)):
        (error,) = (await reserve(api, promo, attendee=claim))["userErrors"]
        assert (error["code"], error["decision"]) == ("ADMISSION_DENIED", "DENY")
        assert error["waitlistEntry"] is None
    assert len(await kept(database)) == 1
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_the_band_between_is_put_on_the_waitlist(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **LATER)
    api, _ = await sign_in()
    for _ in range(2):
        (error,) = (await reserve(api, promo, quantity=2))["userErrors"]
        assert (error["code"], error["decision"]) == ("ADMISSION_WAITLISTED", "WAITLIST")
        assert error["waitlistEntry"] == {"status": "WAITING", "position": 1}
    assert len(await kept(database)) == 1
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_a_promo_that_does_not_run_scores_nobody(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, status=PromoStatus.ENDED, **NEVER)
    api, _ = await sign_in()
    assert errors(await reserve(api, promo)) == ["PROMO_NOT_ACTIVE"]
    assert await kept(database) == []


async def test_an_open_promo_scores_nobody(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database)
    api, _ = await sign_in()
    assert errors(await reserve(api, promo, attendee=attendee())) == []
    assert await kept(database) == []


async def test_without_a_model_the_mock_scores_and_says_so(
    database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **SCORED)
    api, _ = await sign_in()
    assert errors(await reserve(api, promo)) == []
    (row,) = await kept(database)
    assert (row.is_mock, row.version) == (True, "mock")


async def test_an_attendee_that_can_not_be_is_named(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **SCORED)
    api, _ = await sign_in()
    answer = await api(
        "mutation ($input: ReserveInput!) { reserve(input: $input) { reservation { id } } }",
        input={"promoId": str(promo), "attendee": attendee(age=300)},
    )
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == ["input", "attendee", "age"]
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}


ADMISSIONS = """query ($id: ID!) { promo(id: $id) { admissions(first: 5) { totalCount nodes {
  kind status version isMock input explain { feature impact value } user { uuid } model { key }
  result { ... on AttendeeScore { attendanceProbability riskLabel explain { impact } } } } }
  stats { denied } } }"""


async def test_the_owner_sees_the_scores_with_their_reasons_and_nobody_else_does(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    owner, merchant = await sign_in(Role.MERCHANT)
    promo = await make_promo(database, await make_stock(database, owner_id=merchant.id), **NEVER)
    buyer, user = await sign_in()
    await reserve(buyer, promo)
    shown = (await owner(ADMISSIONS, id=str(promo)))["promo"]
    (admission,) = shown["admissions"]["nodes"]
    assert shown["admissions"]["totalCount"] == shown["stats"]["denied"] == 1
    assert (admission["kind"], admission["status"]) == ("ATTENDANCE", "SUCCEEDED")
    assert admission["user"]["uuid"] == str(user.id)
    assert admission["model"]["key"] == "attendance"
    assert 0 < admission["result"]["attendanceProbability"] < 1
    impacts = [impact["impact"] for impact in admission["explain"]]
    assert [abs(i) for i in impacts] == sorted((abs(i) for i in impacts), reverse=True)
    assert [impact["impact"] for impact in admission["result"]["explain"]] == impacts
    other, _ = await sign_in(Role.MERCHANT)
    await refused(other, promo)
    await refused(buyer, promo)


async def refused(api: Api, promo: int) -> None:
    answer = await api(
        "query ($id: ID!) { promo(id: $id) { admissions { totalCount } } }", id=promo
    )
    assert answer.code == "FORBIDDEN"


REASONS = "explain { feature value }"
PRIVATE = f"""query ($id: ID!) {{ promo(id: $id) {{ admissions {{ nodes {{
  input {REASONS} user {{ uuid email username profile {{ location {{ latitude }} timeZone }} }}
  result {{ ... on AttendeeScore {{ {REASONS} }} }} }} }} }} }}"""
HOME = north_of(BOGOTA, 1_400)


async def admission_of(reader: Api, promo: int) -> Any:
    (shown,) = (await reader(PRIVATE, id=str(promo)))["promo"]["admissions"]["nodes"]
    return shown


def values(reasons: list[dict[str, Any]]) -> dict[str, Any]:
    return {reason["feature"]: reason["value"] for reason in reasons}


async def test_a_merchant_reads_neither_the_address_nor_the_home_of_who_was_scored(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    owner, merchant = await sign_in(Role.MERCHANT)
    promo = await make_promo(database, await make_stock(database, owner_id=merchant.id), **CERTAIN)
    buyer, user = await sign_in()
    await place_user(database, user.id, HOME)
    await reserve(buyer, promo)
    shown = await admission_of(owner, promo)
    assert shown["user"] == {
        "uuid": str(user.id),
        "email": None,
        "username": user.username,
        "profile": {"location": None, "timeZone": "America/Bogota"},
    }
    (row,) = await kept(database)
    assert row.input["distance_to_venue_km"] == pytest.approx(1.4, abs=0.01)
    whole = {name: value for name, value in row.input.items() if name != "email"}
    assert shown["input"] == {**whole, "distance_to_venue_km": 1}
    for reasons in (values(shown["explain"]), values(shown["result"]["explain"])):
        assert (reasons["email"], reasons["distance_to_venue_km"]) == (None, 1)
        assert reasons["account_age_days"] == row.input["account_age_days"]


async def test_an_admin_reads_all_of_an_admission(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    promo = await make_promo(database, **CERTAIN)
    buyer, user = await sign_in()
    await place_user(database, user.id, HOME)
    await reserve(buyer, promo)
    await all_is_shown(admin, promo, user.email, database)


async def test_who_was_scored_reads_all_of_the_own_admission(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    owner, merchant = await sign_in(Role.MERCHANT)
    promo = await make_promo(database, await make_stock(database, owner_id=merchant.id), **CERTAIN)
    await place_user(database, merchant.id, HOME)
    await reserve(owner, promo)
    await all_is_shown(owner, promo, merchant.email, database)


async def all_is_shown(reader: Api, promo: int, email: str | None, database: Database) -> None:
    shown = await admission_of(reader, promo)
    (row,) = await kept(database)
    assert shown["input"] == row.input
    assert shown["user"]["email"] == row.input["email"] == email
    assert shown["user"]["profile"]["location"] == {"latitude": pytest.approx(HOME[0])}
    for reasons in (values(shown["explain"]), values(shown["result"]["explain"])):
        assert reasons == {impact["feature"]: impact["value"] for impact in row.explain}
        assert reasons["email"] == email


async def test_what_is_kept_from_a_merchant_costs_no_statement(
    champion: TrainedFile, services: Services, sign_in: SignIn
) -> None:
    owner, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    promo = await make_promo(services.database, stock, **CERTAIN)
    for _ in range(3):
        await reserve((await sign_in())[0], promo)
    sent = []
    for fields in ("uuid", "uuid email"):
        with counted(services.database) as statements:
            answer = await owner(
                "query ($id: ID!) { promo(id: $id) { admissions { nodes { input "
                f"user {{ {fields} }} }} }} }} }}",
                id=str(promo),
            )
        assert len(answer["promo"]["admissions"]["nodes"]) == 3
        sent.append(len(statements))
    assert sent[0] == sent[1] <= 4
