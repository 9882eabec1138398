"""Against a running system: the one at API_BASE_URL if that is set, else one of our own (C46)."""

import os
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from tests.clients import Api

pytestmark = pytest.mark.slow

EXAMPLE = """
{
  score(input: {
    email: "maria.perez@example.com", age: 29, country: "CL", city: "Santiago",
    accountAgeDays: 820, purchasesLast12Months: 6, canceledOrders: 0, ticketsPerOrderAvg: 2.0,
    distanceToVenueKm: 7.5, paymentFailuresRatio: 0.02, eventAffinityScore: 0.81,
    nightPurchaseRatio: 0.15, resaleReportsCount: 0, attendanceRate: 0.92
  }) { attendanceProbability resellerProbability riskLabel modelVersion isMock }
}
"""


@pytest.fixture
def base_url(request: pytest.FixtureRequest) -> str:
    return os.environ.get("API_BASE_URL") or str(request.getfixturevalue("server_url"))


@pytest.fixture
async def running(base_url: str) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(base_url=base_url.rstrip("/"), timeout=60) as http:
        yield Api(http)


async def test_it_is_healthy_and_ready(running: Api) -> None:
    assert (await running.http.get("/healthz")).json() == {"status": "ok"}
    assert (await running.http.get("/readyz")).status_code == 200
    assert (await running("{ health { status } }"))["health"] == {"status": "ok"}


async def test_the_first_query_of_the_readme_scores_with_the_trained_model(running: Api) -> None:
    answer = (await running(EXAMPLE))["score"]
    assert (answer["riskLabel"], answer["isMock"]) == ("ATTENDEE", False)


async def test_somebody_registers_and_logs_in(running: Api) -> None:
    name = f"visitor{uuid4().hex[:10]}"
    account = {"username": name, "email": f"{name}@example.com", "password": "test123-long"}
    made = await running(
        "mutation r($i: RegisterInput!) { register(input: $i) { userErrors { code } } }",
        i=account,
    )
    assert made["register"]["userErrors"] == []
    logged_in = await running(
        "mutation l($i: LoginInput!) { login(input: $i) { accessToken } }",
        i={"username": name, "password": "test123-long"},
    )
    me = await running.as_(logged_in["login"]["accessToken"])("{ me { username role } }")
    assert me["me"] == {"username": name, "role": "USER"}
