"""`auspex import-catalogue FILE`: a merchant's whole catalogue from a CSV file."""

import csv
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.models.accounts import Role
from db.session import Database
from tests.factories import make_user
from tests.market import make_promo, make_stock
from tests.servers import run_auspex

pytestmark = pytest.mark.slow

COLUMNS = "store,latitude,longitude,time_zone,product,description,stock,base_price,owner"
CORNER = "Corner,4.65,-74.06,America/Bogota,Tea,Green,10,1500.50,merchant"


@pytest.fixture
def variables(database_url: str, redis_address: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_address}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.csv"


@pytest.fixture
async def merchant(database: Database) -> None:
    await make_user(database, username="merchant", email="merchant@example.com")


def write(file: Path, *rows: str, columns: str = COLUMNS) -> Path:
    file.write_text("\n".join([columns, *rows, ""]), encoding="utf-8")
    return file


def load(file: Path, variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return run_auspex("import-catalogue", str(file), *options, **variables)


def refused(file: Path) -> list[tuple[str, str]]:
    """Line and reason."""
    report = file.with_name(f"{file.name}.refused.csv")
    with report.open(encoding="utf-8", errors="surrogateescape", newline="") as opened:
        return [(row["line"], row["reason"]) for row in csv.DictReader(opened)]


EVERYTHING = """
SELECT users.username, users.role, stores.name, ST_Y(geom::geometry), ST_X(geom::geometry),
       time_zone, products.name, description, on_hand, base_price::text
FROM store_products
JOIN stores ON stores.id = store_id JOIN products ON products.id = product_id
JOIN users ON users.id = stores.owner_id AND users.id = products.owner_id
ORDER BY store_products.id
"""


async def rows(database: Database, statement: str = EVERYTHING) -> list[tuple[Any, ...]]:
    async with database.read() as reader:
        return [tuple(row) for row in await reader.execute(text(statement))]


async def counts(database: Database) -> tuple[Any, ...]:
    tables = ("stores", "products", "store_products", "stock_adjustments")
    (row,) = await rows(
        database, "SELECT " + ", ".join(f"(SELECT count(*) FROM {t})" for t in tables)
    )
    return row


@pytest.mark.usefixtures("merchant")
async def test_a_file_becomes_stores_products_and_stock_of_their_owner(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    write(
        file,
        CORNER,
        "Corner,4.65,-74.06,America/Bogota,Coffee,,0,2000,MERCHANT@example.com",
        "Plaza,-33.45,-70.66,,Tea,,5,1400,merchant",
    )
    ended = load(file, variables)
    assert ended.returncode == 0, ended.stderr
    assert "3 rows read, 0 refused." in ended.stdout
    who = ("merchant", "MERCHANT")
    assert await rows(database) == [
        (*who, "Corner", 4.65, -74.06, "America/Bogota", "Tea", "Green", 10, "1500.50"),
        (*who, "Corner", 4.65, -74.06, "America/Bogota", "Coffee", None, 0, "2000.00"),
        (*who, "Plaza", -33.45, -70.66, "America/Bogota", "Tea", "Green", 5, "1400.00"),
    ]
    assert not file.with_name("catalogue.csv.refused.csv").exists()


@pytest.mark.usefixtures("merchant")
async def test_a_second_run_adds_nothing_and_changes_nothing(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    everything = [
        f"Store {n % 50},4.{n % 50:02},-74.06,,Product {n // 50},,{n % 7},{n}.25,merchant"
        for n in range(2_500)
    ]
    write(file, *everything)
    state = "SELECT (SELECT max(updated_at) FROM {0}), (SELECT max(id) FROM {0})"
    tables = ("stores", "products", "store_products")
    seen = []
    for _ in range(2):
        ended = load(file, variables)
        assert ended.returncode == 0, ended.stderr
        assert "2,500 rows read, 0 refused." in ended.stdout
        assert await counts(database) == (50, 50, 2_500, 0)
        seen.append([await rows(database, state.format(table)) for table in tables])
    assert seen[0] == seen[1]


@pytest.mark.usefixtures("merchant")
async def test_a_changed_file_changes_what_is_there(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    load(write(file, CORNER), variables)
    load(write(file, "Corner,5.5,-73,,Tea,Black,12,999.99,merchant"), variables)
    who = ("merchant", "MERCHANT")
    assert await rows(database) == [
        (*who, "Corner", 5.5, -73, "America/Bogota", "Tea", "Black", 12, "999.99")
    ]
    assert await counts(database) == (1, 1, 1, 1)
    told = "SELECT delta, reason FROM stock_adjustments"
    assert await rows(database, told) == [(2, "import")]


@pytest.mark.usefixtures("merchant")
async def test_refused_rows_are_told_by_line_and_the_rest_is_loaded(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    write(
        file,
        ",4.65,-74.06,,Tea,,1,1,merchant",
        "Corner,95,-181,,Tea,,1,1,merchant",
        "Corner,north,-74.06,,Tea,,1,1,merchant",
        "Corner,nan,-74.06,,Tea,,1,1,merchant",
        "Corner,4.65,-74.06,Bogota,Tea,,1,1,merchant",
        f"Corner,4.65,-74.06,,{'x' * 201},,1,1,merchant",
        f"Corner,4.65,-74.06,,Tea,{'x' * 2_001},1,1,merchant",
        "Corner,4.65,-74.06,,Tea,,-1,1.999,merchant",
        "Corner,4.65,-74.06,,Tea,,1.5,1e3,merchant",
        "Corner,4.65,-74.06,,Tea,,99999999999,1,merchant",
        "Corner,4.65,-74.06,,Tea,,1,1,nobody",
        "Corner,4.65,-74.06,,Tea,,1,1,",
        "Corner,4.65,-74.06",
        CORNER,
    )
    ended = load(file, variables)
    assert ended.returncode == 0, ended.stderr
    assert "14 rows read, 13 refused." in ended.stdout
    told = refused(file)
    expected = [
        "store is required",
        "latitude must be between -90 and 90, got 95.0; longitude must be between",
        "latitude must be a number such as 12.50, got 'north'",
        "latitude must be a number",
        "time_zone must be an IANA time zone",
        "product may have 200 characters at most",
        "description may have 2000 characters at most",
        "stock must be between 0 and 2147483647, got -1; base_price may have 2 fraction digits",
        "stock must be a whole number, got '1.5'; base_price must be a number",
        "stock must be between 0 and 2147483647",
        "owner: there is no account 'nobody'",
        "owner is required",
        "the row has 3 cells, the header 9",
    ]
    assert [line for line, _ in told] == [str(number) for number in range(2, 15)]
    for (_, reason), beginning in zip(told, expected, strict=True):
        assert reason.startswith(beginning)
    assert [(row[2], row[6]) for row in await rows(database)] == [("Corner", "Tea")]


@pytest.mark.usefixtures("merchant")
async def test_the_report_can_be_mended_and_loaded(
    variables: dict[str, str], database: Database, file: Path, tmp_path: Path
) -> None:
    report = tmp_path / "to mend.csv"
    bad = CORNER.replace("4.65", "95")
    ended = load(write(file, bad, CORNER), variables, "--report", str(report))
    assert ended.returncode == 0, ended.stderr
    assert str(report) in ended.stdout
    report.write_text(report.read_text().replace(",95,", ",5,"))
    assert load(report, variables).returncode == 0
    assert [row[3] for row in await rows(database)] == [5.0]


async def test_units_that_are_held_are_not_taken_away(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    owner = await make_user(database, username="merchant", role=Role.MERCHANT)
    stock = await make_stock(database, units=5, price="7.00", owner_id=owner.id, name="Corner")
    async with database.transaction() as session:
        await session.execute(text("UPDATE store_products SET held = 3"))
    (product,) = (await rows(database, "SELECT name FROM products"))[0]
    row = f"Corner,4.65,-74.06,,{product},,{{}},9,merchant"
    ended = load(write(file, row.format(2), CORNER), variables)
    assert ended.returncode == 0, ended.stderr
    ((line, reason),) = refused(file)
    assert (line, reason) == ("2", "stock must be at least 3, the units that are held, got 2")
    kept = f"SELECT on_hand, base_price::text FROM store_products WHERE id = {stock.id}"
    assert await rows(database, kept) == [(5, "7.00")]
    load(write(file, row.format(3)), variables)
    assert await rows(database, kept) == [(3, "9.00")]


async def test_units_that_are_added_are_offered_to_who_waits(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    owner = await make_user(database, username="merchant", role=Role.MERCHANT)
    stock = await make_stock(database, units=0, owner_id=owner.id, name="Corner")
    promo = await make_promo(database, stock)
    waiting = await make_user(database)
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO waitlist_entries (promo_id, user_id, quantity, joined_at) "
                "VALUES (:promo, :user, 2, now())"
            ),
            {"promo": promo, "user": waiting.id},
        )
    (product,) = (await rows(database, "SELECT name FROM products"))[0]
    ended = load(write(file, f"Corner,4.65,-74.06,,{product},,3,9,merchant"), variables)
    assert ended.returncode == 0, ended.stderr
    assert await rows(database, "SELECT on_hand, held FROM store_products") == [(3, 2)]
    assert await rows(database, "SELECT status FROM waitlist_entries") == [("OFFERED",)]


@pytest.mark.usefixtures("merchant")
async def test_what_spreadsheets_write_is_read(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    """A byte order mark, CRLF, quoted line breaks, capitals and spaces in the header."""
    header = COLUMNS.replace("store,", "Store ,").replace("owner", "OWNER,note")
    row = CORNER.replace("Green", '"Green, ""fine""\r\nfrom Boyacá"') + ",ignored"
    file.write_bytes(f"\ufeff{header}\r\n{row}\r\n\r\n,,,,,,,,,\r\n{row}\r\n".encode())
    ended = load(file, variables)
    assert ended.returncode == 0, ended.stderr
    assert "2 rows read, 0 refused." in ended.stdout
    assert [row[7] for row in await rows(database)] == ['Green, "fine"\r\nfrom Boyacá']


@pytest.mark.usefixtures("merchant")
async def test_a_row_in_another_encoding_costs_only_itself(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    latin = CORNER.replace("Tea", "Café").encode("latin-1")
    file.write_bytes(b"\n".join([COLUMNS.encode(), latin, CORNER.encode()]))
    ended = load(file, variables)
    assert ended.returncode == 0, ended.stderr
    assert refused(file) == [("2", "the row is not UTF-8 text")]
    report = file.with_name(f"{file.name}.refused.csv")
    assert latin in report.read_bytes()
    assert [row[6] for row in await rows(database)] == ["Tea"]


@pytest.mark.usefixtures("merchant")
async def test_the_owner_may_be_given_once_for_all(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    columns = COLUMNS.removesuffix(",owner")
    write(file, CORNER.removesuffix(",merchant"), columns=columns)
    ended = load(file, variables, "--owner", "merchant@example.com")
    assert ended.returncode == 0, ended.stderr
    assert [row[0] for row in await rows(database)] == ["merchant"]


@pytest.mark.usefixtures("merchant")
@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        ("", (), "no column store, latitude"),
        ("a;b;c\n1;2;3\n", (), "no column store"),
        (COLUMNS.replace("latitude,", "") + "\n", (), "it has no column latitude"),
        (COLUMNS.removesuffix(",owner") + "\n", (), "no column owner (or give --owner)"),
        (COLUMNS + ",stock\n", (), "two columns stock"),
        (f"{COLUMNS}\n{CORNER}\n", ("--owner", "nobody"), "there is no account 'nobody'"),
        (f"{COLUMNS}\n{CORNER}x\n", (), "every row was refused"),
    ],
)
async def test_a_file_that_can_not_be_loaded_says_why_and_fails(
    variables: dict[str, str],
    database: Database,
    file: Path,
    content: str,
    options: tuple[str, ...],
    told: str,
) -> None:
    file.write_text(content)
    ended = load(file, variables, *options)
    assert ended.returncode == 1
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert await counts(database) == (0, 0, 0, 0)


async def test_a_file_that_is_not_there_is_named(variables: dict[str, str], file: Path) -> None:
    ended = load(file, variables)
    assert ended.returncode == 1
    assert str(file) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_is_away_is_told(variables: dict[str, str], file: Path) -> None:
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    ended = load(write(file, CORNER), {**variables, "DATABASE_URL": away})
    assert ended.returncode == 1
    assert "The database is away" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_of_two_accounts_with_one_address_the_local_one_is_meant(
    variables: dict[str, str], database: Database, file: Path
) -> None:
    outside = "INSERT INTO users (id, issuer, email) VALUES (gen_random_uuid(), :issuer, :email)"
    async with database.transaction() as session:
        for issuer in ("https://one.example", "https://two.example"):
            for email in ("ana@example.com", "eva@example.com"):
                await session.execute(text(outside), {"issuer": issuer, "email": email})
    await make_user(database, username="ana", email="ana@example.com")
    addressed = [CORNER.replace("merchant", f"{name}@example.com") for name in ("ana", "eva")]
    ended = load(write(file, *addressed), variables)
    assert ended.returncode == 0, ended.stderr
    assert [row[0] for row in await rows(database)] == ["ana"]
    assert refused(file) == [("3", "owner: several accounts have the address 'eva@example.com'")]
