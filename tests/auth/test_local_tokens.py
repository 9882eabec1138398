from datetime import datetime, timedelta
from uuid import uuid4

import jwt
import pytest

from auth.tokens import LocalTokens


@pytest.mark.parametrize("secret", ["dev_secret", "x", "ñ" * 500])
def test_any_secret_makes_a_full_key(secret: str, now: datetime) -> None:
    tokens = LocalTokens(secret, timedelta(hours=1))
    assert len(tokens.key) == 32
    tokens.issue(uuid4(), now)  # PyJWT would warn of a short key, and warnings are errors here


def test_says_who_when_and_for_whom(now: datetime) -> None:
    user = uuid4()
    tokens = LocalTokens("dev_secret", timedelta(minutes=60))
    token, expires_in = tokens.issue(user, now)
    second = int(now.timestamp())
    assert expires_in == 3_600
    assert jwt.decode(token, options={"verify_signature": False}) == {
        "iss": "auspex",
        "aud": "auspex",
        "sub": str(user),
        "iat": second,
        "exp": second + 3_600,
    }
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_refuses_an_empty_secret() -> None:
    with pytest.raises(ValueError, match="empty"):
        LocalTokens("", timedelta(hours=1))
