import pytest

from auth.errors import (
    FeatureDisabled,
    Forbidden,
    ProviderUnavailable,
    RateLimited,
    RequestFault,
    Unauthenticated,
)
from auth.permissions import allows
from db.models.accounts import Role


@pytest.mark.parametrize(
    ("role", "granted"),
    [
        ("USER", [Role.USER]),
        ("MERCHANT", [Role.USER, Role.MERCHANT]),
        ("ADMIN", [Role.USER, Role.MERCHANT, Role.ADMIN]),
        ("ROOT", []),
        ("admin", []),
        ("", []),
    ],
)
def test_a_role_may_do_what_lower_roles_may(role: str, granted: list[Role]) -> None:
    assert [required for required in Role if allows(role, required)] == granted


@pytest.mark.parametrize(
    ("fault", "code", "status", "data"),
    [
        (Unauthenticated(), "UNAUTHENTICATED", 401, {}),
        (ProviderUnavailable(), "UNAUTHENTICATED", 401, {}),
        (Forbidden(), "FORBIDDEN", 403, {}),
        (FeatureDisabled(), "FEATURE_DISABLED", 403, {}),
        (RateLimited(7), "RATE_LIMITED", 429, {"retryAfter": 7}),
    ],
)
def test_faults_say_what_a_client_needs(
    fault: RequestFault, code: str, status: int, data: dict[str, object]
) -> None:
    assert (fault.code, fault.status, fault.data) == (code, status, data)
    assert fault.message


def test_the_refusal_that_clients_know_by_heart() -> None:
    assert Forbidden().message == "No tiene permisos suficientes para realizar esta acción"
    assert RateLimited(7).message == "Too many requests. Try again in 7 s."
