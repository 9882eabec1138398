"""Scoring over the API (checklist Q1, Q21-Q48)."""

import asyncio
from typing import Any

import pytest

from commands.order import TrainedFile
from db.models.accounts import Role
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import ATTENDEE, attendee

SCORE = """
query score($input: AttendeeInput!) {
  score(input: $input) {
    attendanceProbability resellerProbability riskLabel modelVersion isMock
    explain { feature impact value }
  }
}
"""
SCORES = """
query scores($inputs: [AttendeeInput!]!) {
  scores(inputs: $inputs) { attendanceProbability resellerProbability riskLabel modelVersion }
}
"""


@pytest.fixture
async def trained(champion: TrainedFile, services: Services, api: Api) -> None:
    """The server of this test has loaded the champion."""
    await services.champions.refresh()


async def test_the_example_of_the_source_is_an_attendee(trained: None, api: Api) -> None:
    answer = (await api(SCORE, input=ATTENDEE))["score"]
    assert answer["riskLabel"] == "ATTENDEE"
    assert answer["attendanceProbability"] > 0.5
    assert answer["modelVersion"] == "v1"
    assert answer["isMock"] is False


async def test_the_two_probabilities_sum_to_one(trained: None, api: Api) -> None:
    answer = (await api(SCORE, input=ATTENDEE))["score"]
    total = answer["attendanceProbability"] + answer["resellerProbability"]
    assert total == pytest.approx(1, abs=1e-9)
    assert 0 <= answer["attendanceProbability"] <= 1


async def test_a_reseller_is_told_from_an_attendee(trained: None, api: Api) -> None:
    reseller = attendee(
        accountAgeDays=3,
        purchasesLast12Months=40,
        canceledOrders=12,
        ticketsPerOrderAvg=6.5,
        distanceToVenueKm=900.0,
        paymentFailuresRatio=0.5,
        eventAffinityScore=0.1,
        nightPurchaseRatio=0.9,
        resaleReportsCount=6,
        attendanceRate=0.05,
    )
    answer = (await api(SCORE, input=reseller))["score"]
    assert answer["riskLabel"] == "RESELLER"
    assert answer["resellerProbability"] > 0.5


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("email", "maria", "e-mail"),
        ("age", -1, "0 and 120"),
        ("age", 121, "0 and 120"),
        ("country", "Chile", "ISO 3166"),
        ("country", "XX", "ISO 3166"),
        ("city", " ", "empty"),
        ("accountAgeDays", -1, "at least 0"),
        ("purchasesLast12Months", -1, "at least 0"),
        ("canceledOrders", -1, "at least 0"),
        ("ticketsPerOrderAvg", -0.1, "at least 0"),
        ("distanceToVenueKm", -0.1, "at least 0"),
        ("paymentFailuresRatio", 1.01, "0 and 1"),
        ("eventAffinityScore", -0.01, "0 and 1"),
        ("nightPurchaseRatio", 2, "0 and 1"),
        ("resaleReportsCount", -1, "at least 0"),
        ("attendanceRate", 1.5, "0 and 1"),
    ],
)
async def test_a_value_out_of_range_is_named_with_its_limit(
    api: Api, field: str, value: Any, says: str
) -> None:
    answer = await api(SCORE, input=attendee(**{field: value}))
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == ["input", field]
    assert f"input.{field}" in answer.errors[0]["message"]
    assert says in answer.errors[0]["message"]


@pytest.mark.parametrize("field", list(ATTENDEE))
async def test_a_missing_field_is_refused(api: Api, field: str) -> None:
    input = {name: value for name, value in ATTENDEE.items() if name != field}
    answer = await api(SCORE, input=input)
    assert answer.code == "BAD_USER_INPUT"
    assert field in answer.errors[0]["message"]


async def test_without_a_model_the_answer_is_a_mock_of_one_half(api: Api) -> None:
    answer = (await api(SCORE, input=ATTENDEE))["score"]
    assert answer["isMock"] is True
    assert answer["attendanceProbability"] == answer["resellerProbability"] == 0.5
    health = (await api("{ health { status mockModels } }"))["health"]
    assert health["mockModels"] == ["attendance"]


async def test_a_list_is_scored_in_its_order_and_like_one_by_one(
    trained: None, sign_in: SignIn
) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    inputs = [attendee(attendanceRate=rate / 10, resaleReportsCount=rate % 4) for rate in range(11)]
    listed = (await merchant(SCORES, inputs=inputs))["scores"]
    singles = await asyncio.gather(*(merchant(SCORE, input=one) for one in inputs))
    assert [one["attendanceProbability"] for one in listed] == pytest.approx(
        [single["score"]["attendanceProbability"] for single in singles], abs=1e-12
    )


async def test_five_hundred_rows_are_scored_and_501_are_refused(
    trained: None, sign_in: SignIn
) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    assert len((await merchant(SCORES, inputs=[ATTENDEE] * 500))["scores"]) == 500
    for rows in (0, 501):
        answer = await merchant(SCORES, inputs=[ATTENDEE] * rows)
        assert answer.code == "BAD_USER_INPUT"
        assert "1 to 500" in answer.errors[0]["message"]


async def test_a_wrong_row_of_a_list_is_named_by_its_number(sign_in: SignIn) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    answer = await merchant(SCORES, inputs=[ATTENDEE, attendee(age=999)])
    assert answer.errors[0]["extensions"]["field"] == ["inputs", "1", "age"]


async def test_a_list_is_for_merchants(sign_in: SignIn) -> None:
    person, _ = await sign_in()
    assert (await person(SCORES, inputs=[ATTENDEE])).code == "FORBIDDEN"


@pytest.mark.parametrize(
    ("role", "explained"),
    [(None, False), (Role.USER, False), (Role.MERCHANT, True), (Role.ADMIN, True)],
)
async def test_only_staff_see_why(
    trained: None, api: Api, sign_in: SignIn, role: Role | None, explained: bool
) -> None:
    client = (await sign_in(role))[0] if role else api
    answer = (await client(SCORE, input=ATTENDEE))["score"]
    assert (answer["explain"] is not None) is explained


async def test_an_explanation_is_signed_and_largest_first(trained: None, sign_in: SignIn) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    impacts = (await merchant(SCORE, input=ATTENDEE))["score"]["explain"]
    sizes = [abs(one["impact"]) for one in impacts]
    assert sizes == sorted(sizes, reverse=True)
    assert {one["feature"]: one["value"] for one in impacts}["attendance_rate"] == 0.92


async def test_the_sixty_first_score_in_a_minute_waits(api: Api) -> None:
    for _ in range(60):
        assert (await api(SCORE, input=ATTENDEE)).code is None
    answer = await api(SCORE, input=ATTENDEE)
    assert answer.code == "RATE_LIMITED"
    assert answer.errors[0]["extensions"]["status"] == 429


class TestThreshold:
    @pytest.fixture
    def settings_variables(self) -> dict[str, str]:
        return {"ATTENDEE_THRESHOLD": "0.4"}

    async def test_the_label_follows_the_threshold(self, api: Api) -> None:
        answer = (await api(SCORE, input=ATTENDEE))["score"]
        assert (answer["resellerProbability"], answer["riskLabel"]) == (0.5, "RESELLER")
