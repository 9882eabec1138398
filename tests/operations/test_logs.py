"""No secret, token or database address reaches a log (U17, U18)."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from logs import configure_logs

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def production_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, structure = root.handlers, root.level, structlog.get_config()
    configure_logs(app_name="Auspex", level="INFO", readable=False)
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**structure)


def test_a_line_is_json_with_level_time_and_application(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(app_name="Auspex", level="INFO", readable=False)
    structlog.get_logger("x").info("hold.expired", promo=3)
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "hold.expired"
    assert (line["app"], line["level"], line["promo"]) == ("Auspex", "info", 3)
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, TOKEN),
        ({"password": "hunter2"}, "hunter2"),
        ({"model_train_token": "hunter2"}, "hunter2"),
        ({"database_url": "postgresql://me:hunter2@db/x"}, "hunter2"),
        ({"note": f"got {TOKEN} from the client"}, TOKEN),
        ({"note": "header was Basic bWU6aHVudGVyMg=="}, "bWU6aHVudGVyMg=="),
        ({"note": "connect to redis://:hunter2@cache:6379/0 failed"}, "hunter2"),
        ({"note": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"}, "aGFzaA"),
    ],
)
def test_secrets_are_left_out(
    capsys: pytest.CaptureFixture[str], fields: dict[str, str], secret: str
) -> None:
    configure_logs(app_name="Auspex", level="INFO", readable=False)
    structlog.get_logger("x").info("something", **fields)
    assert secret not in capsys.readouterr().err


def test_secrets_in_tracebacks_and_in_other_libraries_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs(app_name="Auspex", level="INFO", readable=False)
    try:
        int("no route to postgresql://me:hunter2@db/x")
    except ValueError:
        logging.getLogger("sqlalchemy").exception("pool failed with %s", f"Bearer {TOKEN}")
    written = capsys.readouterr().err
    assert "no route to" in written
    assert "hunter2" not in written
    assert TOKEN not in written
