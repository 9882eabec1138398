"""Accounts that operators make, and the demo's."""

import asyncio
import secrets
from typing import Annotated

import typer

from auth.passwords import Passwords
from commands.operator import now, open_database, settings_with_logs
from db.errors import InputRejected
from db.models.accounts import Role
from db.queries.accounts import local_user_by_login
from db.transactions import accounts
from settings import Settings

DEMO_ACCOUNTS = (
    ("demo", "demo@example.com", "demo-1234", Role.USER),
    ("merchant", "merchant@example.com", "merchant-1234", Role.MERCHANT),
    ("admin", "admin@example.com", "admin-1234", Role.ADMIN),
)


async def ensure_account(
    settings: Settings, username: str, email: str, password: str, role: Role
) -> None:
    wanted = accounts.registration(username, email, password, settings.least_password_length)
    password_hash = await Passwords().hash(password)
    async with open_database(settings) as database, database.transaction() as session:
        await accounts.ensure_account(
            session,
            wanted,
            password_hash=password_hash,
            role=role,
            time_zone=settings.time_zone,
            now=now(),
        )


def create_admin(
    email: Annotated[str, typer.Option(prompt=True, help="E-mail address: names the account.")],
    username: Annotated[str | None, typer.Option(help="If empty: the part before the @.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="ADMIN_PASSWORD", help="If empty: one is made up and printed."),
    ] = None,
) -> None:
    """Make an ADMIN account, or make an existing one ADMIN with a new password."""
    settings = settings_with_logs()
    chosen = password or secrets.token_urlsafe(12)
    name = username or email.partition("@")[0]
    try:
        asyncio.run(ensure_account(settings, name, email, chosen, Role.ADMIN))
    except InputRejected as error:
        raise typer.BadParameter(error.message) from None
    typer.echo(f"{email} is ADMIN." + ("" if password else f" Password: {chosen}"))


def init_db() -> None:
    """Load the demo data (SEED_DEMO_DATA): accounts, models. Adds nothing that is there."""
    settings = settings_with_logs()
    if not settings.seed_demo_data:
        typer.echo("SEED_DEMO_DATA is off: nothing was loaded.")
        return
    if settings.production:
        raise SystemExit("Demo accounts have known passwords: refused when APP_ENV=prod.")
    made = asyncio.run(_make_missing_accounts(settings))
    typer.echo(f"{made} demo accounts made, {len(DEMO_ACCOUNTS) - made} were there.")


async def _make_missing_accounts(settings: Settings) -> int:
    made = 0
    for username, email, password, role in DEMO_ACCOUNTS:
        async with open_database(settings) as database, database.read() as reader:
            known = await local_user_by_login(reader, email)
        if known is None:
            await ensure_account(settings, username, email, password, role)
            made += 1
    return made


def demo_accounts() -> None:
    """Print the demo accounts, in development."""
    settings = settings_with_logs()
    if settings.production or not settings.seed_demo_data:
        return
    for username, _, password, role in DEMO_ACCOUNTS:
        typer.echo(f"  {role:<9} {username:<9} password {password}")


COMMANDS = {
    "create-admin": create_admin,
    "create-superuser": create_admin,
    "init-db": init_db,
    "demo-accounts": demo_accounts,
}
