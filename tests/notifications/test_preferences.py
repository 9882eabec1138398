"""What people decide about their notices: caps, quiet hours, kinds."""

from datetime import time
from typing import Any

import pytest

from db.errors import InputRejected
from db.models.notifications import NotificationKind
from db.session import Database
from db.transactions.preferences import quiet_hours
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import right_now
from tests.notifications.rounds import counted, tell

FIELDS = """promosEnabled shortagesEnabled dailyCap quietFrom quietTo lowBalanceThreshold
  sentToday"""
SHOW = f"{{ me {{ notificationPreferences {{ {FIELDS} }} }} }}"
CHANGE = f"""
mutation change($input: NotificationPreferencesInput!) {{
  updateNotificationPreferences(input: $input) {{
    preferences {{ {FIELDS} }} userErrors {{ code field message }}
  }}
}}
"""
DEFAULTS = {
    "promosEnabled": True,
    "shortagesEnabled": True,
    "dailyCap": 3,
    "quietFrom": None,
    "quietTo": None,
    "lowBalanceThreshold": None,
    "sentToday": 0,
}


@pytest.fixture
def database(services: Services) -> Database:
    return services.database


async def change(api: Api, **input: Any) -> dict[str, Any]:
    """The preferences after an accepted change."""
    answer = (await api(CHANGE, input=input))["updateNotificationPreferences"]
    assert answer["userErrors"] == []
    changed: dict[str, Any] = answer["preferences"]
    return changed


async def refused(api: Api, **input: Any) -> list[tuple[str, str]]:
    """(code, field) of each problem."""
    answer = (await api(CHANGE, input=input))["updateNotificationPreferences"]
    assert answer["preferences"] is None
    assert all(error["field"][-1] in error["message"] for error in answer["userErrors"])
    return [(error["code"], error["field"][-1]) for error in answer["userErrors"]]


async def shown(api: Api) -> Any:
    return (await api(SHOW))["me"]["notificationPreferences"]


async def test_a_new_person_has_the_defaults(sign_in: SignIn) -> None:
    api, _ = await sign_in()
    assert await shown(api) == DEFAULTS


async def test_what_is_given_changes_and_the_rest_stays(sign_in: SignIn) -> None:
    api, _ = await sign_in()
    everything = {
        "promosEnabled": False,
        "shortagesEnabled": False,
        "dailyCap": 7,
        "quietFrom": "22:30",
        "quietTo": "07:00",
        "lowBalanceThreshold": "12.50",
    }
    assert await change(api, **everything) == {**everything, "sentToday": 0}
    assert await change(api, dailyCap=8) == {**everything, "dailyCap": 8, "sentToday": 0}
    assert await change(api) == await shown(api)


async def test_null_clears_what_can_be_empty(sign_in: SignIn) -> None:
    api, _ = await sign_in()
    await change(api, quietFrom="22:30", quietTo="07:00", lowBalanceThreshold="1")
    assert await change(api, quietFrom=None, lowBalanceThreshold=None) == DEFAULTS


async def test_null_is_refused_where_there_must_be_a_value(sign_in: SignIn) -> None:
    api, _ = await sign_in()
    problems = await refused(api, promosEnabled=None, shortagesEnabled=None, dailyCap=None)
    assert sorted(problems) == [
        ("REQUIRED", "dailyCap"),
        ("REQUIRED", "promosEnabled"),
        ("REQUIRED", "shortagesEnabled"),
    ]
    assert await shown(api) == DEFAULTS


@pytest.mark.parametrize("cap", [0, 100])
async def test_the_cap_has_limits_that_belong_to_it(sign_in: SignIn, cap: int) -> None:
    api, _ = await sign_in()
    assert (await change(api, dailyCap=cap))["dailyCap"] == cap


async def test_all_problems_come_at_once_and_nothing_changes(sign_in: SignIn) -> None:
    api, _ = await sign_in()
    problems = await refused(
        api,
        promosEnabled=False,
        dailyCap=101,
        quietFrom="9:00",
        quietTo="10:00",
        lowBalanceThreshold="-0.01",
    )
    assert sorted(problems) == [
        ("INVALID", "quietFrom"),
        ("OUT_OF_RANGE", "dailyCap"),
        ("OUT_OF_RANGE", "lowBalanceThreshold"),
    ]
    assert await refused(api, dailyCap=-1) == [("OUT_OF_RANGE", "dailyCap")]
    assert await refused(api, lowBalanceThreshold="0.001") == [("INVALID", "lowBalanceThreshold")]
    assert await refused(api, lowBalanceThreshold="1" + "0" * 30) == [
        ("OUT_OF_RANGE", "lowBalanceThreshold")
    ]
    assert await shown(api) == DEFAULTS


async def test_sent_today_counts_what_the_cap_counts(database: Database, sign_in: SignIn) -> None:
    api, user = await sign_in()
    for kind in (NotificationKind.LOW_BALANCE, NotificationKind.PREDICTION_READY):
        await tell(database, user.id, kind, now=right_now())
    assert (await shown(api))["sentToday"] == 1


async def test_the_cap_can_fall_under_what_was_sent_and_rise_again(
    database: Database, sign_in: SignIn
) -> None:
    api, user = await sign_in()
    kind = NotificationKind.LOW_BALANCE
    for _ in range(3):
        await tell(database, user.id, kind, now=right_now())
    assert (await change(api, dailyCap=1))["sentToday"] == 3
    assert await tell(database, user.id, kind, now=right_now()) is None
    await change(api, dailyCap=4)
    assert await tell(database, user.id, kind, now=right_now()) is not None
    assert await counted(database, user.id) == 4


async def test_preferences_need_a_person(api: Api) -> None:
    assert (await api(CHANGE, input={"dailyCap": 1})).code == "UNAUTHENTICATED"


TEN, SEVEN = time(22), time(7)
NONE = (None, None)


@pytest.mark.parametrize(
    ("stored", "changes", "result"),
    [
        (NONE, {"quiet_from": "22:00", "quiet_to": "07:00"}, (TEN, SEVEN)),
        ((TEN, SEVEN), {"quiet_from": "23:59"}, (time(23, 59), SEVEN)),
        ((TEN, SEVEN), {"quiet_to": "00:00"}, (TEN, time(0))),
        ((TEN, SEVEN), {"quiet_from": None}, NONE),
        ((TEN, SEVEN), {"quiet_to": None}, NONE),
        ((TEN, SEVEN), {"quiet_from": None, "quiet_to": None}, NONE),
        (NONE, {"quiet_to": None}, NONE),
    ],
)
def test_quiet_hours_are_both_set_or_neither(stored: Any, changes: Any, result: Any) -> None:
    assert quiet_hours(stored, changes) == result


@pytest.mark.parametrize(
    ("stored", "changes", "code", "field"),
    [
        (NONE, {"quiet_from": "22:00"}, "REQUIRED", "quietTo"),
        (NONE, {"quiet_to": "22:00"}, "REQUIRED", "quietFrom"),
        (NONE, {"quiet_from": "22:00", "quiet_to": None}, "REQUIRED", "quietTo"),
        ((TEN, SEVEN), {"quiet_from": None, "quiet_to": "06:00"}, "REQUIRED", "quietFrom"),
        (NONE, {"quiet_from": "22:00", "quiet_to": "22:00"}, "INVALID", "quietTo"),
        ((TEN, SEVEN), {"quiet_from": "07:00"}, "INVALID", "quietTo"),
        (NONE, {"quiet_from": "24:00", "quiet_to": "07:00"}, "INVALID", "quietFrom"),
        (NONE, {"quiet_from": "22:00", "quiet_to": "7:00"}, "INVALID", "quietTo"),
        (NONE, {"quiet_from": "22:00", "quiet_to": "07:00:00"}, "INVALID", "quietTo"),
        (NONE, {"quiet_from": "22:60", "quiet_to": "07:00"}, "INVALID", "quietFrom"),
        (NONE, {"quiet_from": "２２:00", "quiet_to": "07:00"}, "INVALID", "quietFrom"),  # noqa: RUF001
        (NONE, {"quiet_from": "", "quiet_to": "07:00"}, "INVALID", "quietFrom"),
    ],
)
def test_quiet_hours_that_make_no_sense_are_refused(
    stored: Any, changes: Any, code: str, field: str
) -> None:
    with pytest.raises(InputRejected) as refused:
        quiet_hours(stored, changes)
    assert [(p.code, p.field[-1]) for p in refused.value.problems] == [(code, field)]
