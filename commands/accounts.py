"""Accounts that operators make."""

import asyncio
import secrets
from typing import Annotated

import typer

from auth.passwords import Passwords
from commands.operator import now, open_database, settings_with_logs
from db.errors import InputRejected
from db.models.accounts import Role
from db.transactions import accounts
from settings import Settings


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


COMMANDS = {
    "create-admin": create_admin,
    "create-superuser": create_admin,
}
