import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.folder import DataFolder
from dev.shared_services import SharedServices, services_down, services_up, shared_services
from dev.sql import create_scratch_database, drop_database, run_sql

PSQL = "psql"
# These services outlive the objects that started them, on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """`shared_services` ends with ignoring them. The tests after these, and whatever processes
    those start, would ignore them as well."""
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def data(reachable_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder.open({"AUSPEX_DATA": str(reachable_path / "data")})
    yield folder
    services_down(folder, {})


def runs(folder: DataFolder) -> list[bool]:
    services = SharedServices(folder, {})
    return [service.reuse() for service in (services.postgres, services.redis)]


def test_the_last_one_out_stops_them(data: DataFolder) -> None:
    first, second = SharedServices(data, {}), SharedServices(data, {})
    urls = first.start()
    assert second.start() == urls
    first.stop()
    assert runs(data) == [True, True]
    second.stop()
    assert runs(data) == [False, False]


def test_kept_ones_stay_until_they_are_put_down(
    data: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    services_up(data, {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("=")[0] for line in lines] == [
        "export TEST_DATABASE_URL",
        "export TEST_REDIS_URL",
    ]
    with shared_services(data, {}):
        pass
    assert runs(data) == [True, True]
    services_down(data, {})
    assert runs(data) == [False, False]


def test_given_addresses_are_used_and_nothing_is_started(data: DataFolder) -> None:
    given = {"TEST_DATABASE_URL": "postgresql://elsewhere/db", "TEST_REDIS_URL": "redis://there"}
    services = SharedServices(data, given)
    assert services.start().as_environment() == given
    services.stop()
    assert runs(data) == [False, False]


def test_scratch_database_is_empty_and_goes_away(data: DataFolder) -> None:
    with shared_services(data, {}) as urls:
        scratch = create_scratch_database(PSQL, urls.database)
        run_sql(PSQL, scratch, "CREATE EXTENSION postgis")
        drop_database(PSQL, urls.database, scratch)
        found = run_sql(
            PSQL, urls.database, "SELECT count(*) FROM pg_database WHERE datname LIKE 'scratch%'"
        )
    assert found == "0"
