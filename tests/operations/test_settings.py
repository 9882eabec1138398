"""Every variable in one place; a wrong one is named at the start (Q6-Q14, U20-U30, X1-X2)."""

from pathlib import Path

import pytest

from commands.exports import (
    COMPOSE_VARIABLES,
    env_example,
    environment_names,
    settings_table,
)
from db.session import InvalidDatabaseUrl, asyncpg_url
from settings import (
    AuthMode,
    InvalidSettings,
    Settings,
    load_settings,
)
from tests.factories import environment, make_settings
from tests.servers import run_auspex

ROOT = Path(__file__).parent.parent.parent

CHECKLIST = set(
    """
SECRET_KEY DEBUG ALLOWED_HOSTS POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD POSTGRES_HOST
POSTGRES_PORT DB_CONN_MAX_AGE MODEL_PATH ENABLE_MODEL_TRAIN_ENDPOINT MODEL_TRAIN_TOKEN
TRAIN_ALLOWED_CIDRS ATTENDEE_THRESHOLD GRAPHIQL REDIS_HOST REDIS_PORT REDIS_URL TIME_ZONE WEB_PORT
CELERY_BROKER_URL CELERY_RESULT_BACKEND BROKER_URL RESULT_URL PGADMIN_EMAIL PGADMIN_PASSWORD
PGADMIN_PORT ALLOW_BASIC_AUTH SEED_DEMO_DATA PROMO_HOLD_SECONDS RATE_LIMIT_FORECAST
ACCESS_TOKEN_EXPIRE_MINUTES PASSWORD_MIN_LENGTH MAX_DEPOSIT DATABASE_URL RABBIT_HOST QUEUE_NAME
TEST_MODE APP_ENV APP_NAME API_PREFIX FRONTEND_ORIGIN AUTH_MODE SUPABASE_PROJECT_REF
SUPABASE_JWKS_URL SUPABASE_AUDIENCE SUPABASE_JWT_ALGS PORT MODEL_DIR ATTENDEE_MODEL_PATH
COURSE_MODEL_PATH SHORTAGE_MODEL_PATH CURRENCY CREDITS_PER_UNIT PERSISTED_ONLY
""".split()  # noqa: SIM905 - a list of 54 quoted names reads worse
)


def variables_of(text: str) -> set[str]:
    lines = (line.removeprefix("# ") for line in text.splitlines())
    return {
        line.partition("=")[0] for line in lines if "=" in line and line.split("=")[0].isupper()
    }


def test_env_example_has_every_variable_and_no_other() -> None:
    known = {name for field in Settings.model_fields for name in environment_names(field)}
    assert variables_of(env_example()) == known | set(COMPOSE_VARIABLES)


def test_every_variable_of_the_checklist_is_read() -> None:
    assert variables_of(env_example()) >= CHECKLIST


def test_every_variable_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_files_written_from_the_settings_are_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text() == env_example()
    assert (ROOT / "docs" / "settings.md").read_text() == settings_table()


def test_env_example_copied_is_a_working_configuration(tmp_path: Path) -> None:
    copied = tmp_path / ".env"
    copied.write_text(env_example())
    with environment({}):
        assert load_settings(copied).debug is True


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        make_settings().port = 1


def refusal(**variables: str) -> str:
    with environment(variables), pytest.raises(InvalidSettings) as refused:
        load_settings(env_file=None)
    return str(refused.value)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "SECRET_KEY"),
        ({"DEBUG": "maybe"}, "DEBUG"),
        ({"DEBUG": "1", "PORT": "http"}, "PORT"),
        ({"DEBUG": "1", "PORT": "70000"}, "PORT"),
        ({"DEBUG": "1", "TIME_ZONE": "Mars/Olympus"}, "TIME_ZONE"),
        ({"DEBUG": "1", "APP_ENV": "staging"}, "APP_ENV"),
        ({"DEBUG": "1", "CURRENCY": "pesos"}, "CURRENCY"),
        ({"DEBUG": "1", "ENABLE_MODEL_TRAIN_ENDPOINT": "true"}, "MODEL_TRAIN_TOKEN"),
        ({"DEBUG": "1", "TRAIN_ALLOWED_CIDRS": "10.0.0.0/99"}, "TRAIN_ALLOWED_CIDRS"),
        ({"DEBUG": "1", "SUPABASE_JWT_ALGS": "HS256"}, "SUPABASE_JWT_ALGS"),
        ({"DEBUG": "1", "AUTH_MODE": "supabase"}, "SUPABASE_PROJECT_REF"),
        ({"DEBUG": "1", "OIDC_ISSUER": "https://id.example"}, "OIDC_AUDIENCE"),
        ({"DEBUG": "1", "BROKER_URL": "kafka://x"}, "BROKER_URL"),
        ({"DEBUG": "1", "REDIS_URL": "http://x"}, "REDIS_URL"),
        ({"DEBUG": "1", "REDIS_URL": "redis://:red/issecret@x"}, "REDIS_URL"),
        ({"DEBUG": "1", "DATABASE_URL": "postgresql://x:port/y"}, "DATABASE_URL"),
        ({"APP_ENV": "prod", "SECRET_KEY": "short-and-guessable"}, "SECRET_KEY"),
        ({"DEBUG": "1", "DATABASE_URL": "mysql://x/y"}, "DATABASE_URL"),
        ({"DEBUG": "1", "DATABASE_URL": "postgresql://x/y?sslmode=perhaps"}, "DATABASE_URL"),
        ({"APP_ENV": "prod", "SECRET_KEY": "dev_secret"}, "SECRET_KEY"),
        ({"APP_ENV": "prod", "SECRET_KEY": "x" * 40, "DEBUG": "true"}, "DEBUG"),
        ({"DEBUG": "1", "ATTENDEE_THRESHOLD": "1.5"}, "ATTENDEE_THRESHOLD"),
        ({"DEBUG": "1", "RATE_LIMIT_FORECAST": "often"}, "RATE_LIMIT_FORECAST"),
    ],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], named: str) -> None:
    assert named in refusal(**variables)


def test_all_wrong_variables_are_named_at_once() -> None:
    message = refusal(DEBUG="1", PORT="http", TIME_ZONE="Mars")
    assert "PORT" in message
    assert "TIME_ZONE" in message


def test_a_refusal_does_not_repeat_secrets() -> None:
    message = refusal(DEBUG="1", DATABASE_URL="mysql://me:hunter2@db/x")
    assert "hunter2" not in message


@pytest.mark.slow
def test_a_server_with_a_wrong_setting_says_so_and_ends() -> None:
    ended = run_auspex("serve", PORT="99999")
    assert ended.returncode != 0
    assert "PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_database_url_wins_over_its_parts() -> None:
    both = make_settings(DATABASE_URL="postgresql://a:b@c/d", POSTGRES_HOST="elsewhere")
    assert both.database_url == "postgresql://a:b@c/d"
    parts = make_settings(POSTGRES_HOST="h", POSTGRES_USER="u", POSTGRES_PASSWORD="p@ss/word")
    assert parts.database_url == "postgresql://u:p%40ss%2Fword@h:5432/auspex"


def test_the_address_of_source_4_works_as_given() -> None:
    url, _ = asyncpg_url("postgresql+psycopg2://app:app@ml_postgres:5432/app")
    assert (url.drivername, url.host, url.database) == ("postgresql+asyncpg", "ml_postgres", "app")


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-full"])
def test_sslmode_becomes_the_argument_of_asyncpg(mode: str) -> None:
    url, arguments = asyncpg_url(f"postgres://a:b@h/d?sslmode={mode}")
    assert "sslmode" not in url.query
    assert "ssl" in arguments


def test_an_unusable_address_is_refused_without_repeating_it() -> None:
    for address in ("mysql://me:hunter2@h/d", "not an address hunter2"):
        with pytest.raises(InvalidDatabaseUrl) as refused:
            asyncpg_url(address)
        assert "hunter2" not in str(refused.value)


def test_the_broker_is_found_in_order() -> None:
    assert make_settings(REDIS_HOST="redis").broker_url == "redis://redis:6379/0"
    assert make_settings(RABBIT_HOST="rabbitmq").broker_url == "amqp://guest:guest@rabbitmq:5672"
    assert make_settings(CELERY_BROKER_URL="redis://old").broker_url == "redis://old"
    named = make_settings(BROKER_URL="redis://new", CELERY_BROKER_URL="redis://old")
    assert named.broker_url == "redis://new"


def test_a_bare_model_path_is_the_attendees_and_with_supabase_also_the_courses() -> None:
    plain = make_settings(MODEL_PATH="/m/model.pkl")
    assert plain.artifact_path("attendance") == Path("/m/model.pkl")
    assert plain.artifact_path("course") == plain.model_dir / "course.joblib"
    outside = make_settings(
        MODEL_PATH="/m/model.pkl", AUTH_MODE="supabase", SUPABASE_PROJECT_REF="abc"
    )
    assert outside.artifact_path("course") == Path("/m/model.pkl")


def test_auth_mode_follows_what_is_configured() -> None:
    assert make_settings().auth_mode is AuthMode.LOCAL
    assert make_settings(SUPABASE_PROJECT_REF="abc").auth_mode is AuthMode.BOTH


def test_passwords_may_be_shorter_in_development() -> None:
    assert make_settings().least_password_length == 6
    production = make_settings(APP_ENV="prod", DEBUG="false", SECRET_KEY="x" * 40)
    assert production.least_password_length == 8
